//! How much each of many has of something that is shared.
//!
//! Guarantee: who has nothing is not remembered, so memory is bounded by what is shared.

use std::{collections::HashMap, hash::Hash};

/// Counts by key.
pub(crate) struct Tally<K>(HashMap<K, usize>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Tally<K> {
    /// The count of `key`.
    pub(crate) fn of(&self, key: &K) -> usize {
        self.0.get(key).copied().unwrap_or_default()
    }

    /// The counts of all keys together.
    pub(crate) fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// Counts `more` for `key`.
    pub(crate) fn add(&mut self, key: K, more: usize) {
        *self.0.entry(key).or_default() += more;
    }

    /// Takes `less` back, of what was counted for `key`.
    pub(crate) fn take_back(&mut self, key: &K, less: usize) {
        if let Some(count) = self.0.get_mut(key) {
            *count -= less;
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }

    /// True if nobody has anything.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_given_all_back_is_not_remembered() {
        let mut tally = Tally::default();
        for (key, more) in [('a', 2), ('b', 5), ('a', 1)] {
            tally.add(key, more);
        }
        assert_eq!((tally.of(&'a'), tally.of(&'b'), tally.of(&'c')), (3, 5, 0));
        assert_eq!(tally.total(), 8);
        tally.take_back(&'a', 1);
        assert_eq!((tally.of(&'a'), tally.total()), (2, 7));
        tally.take_back(&'a', 2);
        tally.take_back(&'b', 5);
        tally.take_back(&'c', 1);
        assert!(tally.is_empty());
    }
}
