//! The writes that a vendor takes, each with its mapping to the vendor's words.
//!
//! Guarantee: a mapping is pure, and is called with the type that it was added for. A vendor takes
//! no write that it has no mapping for.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
};

use model::{Issue, vocabulary::Vocabulary};

use crate::Prepared;

/// A write that was mapped, or the problems that are in the vendor's way.
pub type Mapped = Result<Prepared, Vec<Issue>>;

/// The mapping of a write that is checked: of a `prospect::Checked`, say.
pub type Mapping<T> = fn(&T, &Vocabulary) -> Mapped;

/// The mappings of a vendor, by the type that each is of.
#[derive(Default)]
pub struct Mappings(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl Mappings {
    /// The same, with the mapping of one more kind of write.
    #[must_use]
    pub fn with<T: 'static>(mut self, mapping: Mapping<T>) -> Self {
        self.0.insert(TypeId::of::<T>(), Box::new(mapping));
        self
    }

    /// The mapping of a kind of write; `None` when the vendor does not take it.
    pub fn get<T: 'static>(&self) -> Option<Mapping<T>> {
        let mapping = self.0.get(&TypeId::of::<T>())?;
        mapping.downcast_ref::<Mapping<T>>().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;
    struct Other;

    #[test]
    fn a_write_without_a_mapping_is_not_taken() {
        let refused: Mapping<One> = |_, _| Err(vec![Issue::custom("a", "no word for it")]);
        let mappings = Mappings::default().with(refused);
        let mapping = mappings.get::<One>().expect("it was added");
        let vocabulary = Vocabulary::default();
        assert!(mapping(&One, &vocabulary).is_err_and(|issues| issues.len() == 1));
        assert!(mappings.get::<Other>().is_none());
    }
}
