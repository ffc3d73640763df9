//! The problems of one request, as a 400 lists them.
//!
//! Guarantee: however many a body has, [`LISTED_MAX`] are kept and shown, and one more line says
//! how many there are besides.

use model::{Issue, issue::Step};
use serde_json::Value;

/// Problems that one answer lists: enough to mend any honest body, and an answer that a hostile one
/// cannot blow up.
pub const LISTED_MAX: usize = 100;

/// Problems that were found.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    listed: Vec<Issue>,
    unlisted: usize,
}

impl Problems {
    /// Adds one, which is only counted when the list is full.
    pub fn add(&mut self, issue: Issue) {
        if self.listed.len() < LISTED_MAX {
            self.listed.push(issue);
        } else {
            self.unlisted += 1;
        }
    }

    /// Adds those of `other`.
    pub fn join(&mut self, other: Self) {
        self.extend(other.listed);
        self.unlisted += other.unlisted;
    }

    /// The same, as those of the item with this index.
    #[must_use]
    pub fn at(mut self, index: usize) -> Self {
        for issue in &mut self.listed {
            issue.path.insert(0, Step::Index(index));
        }
        self
    }

    /// The same, but for those of the kept ones for which this holds.
    #[must_use]
    pub fn without(mut self, is_out: impl Fn(&Issue) -> bool) -> Self {
        self.listed.retain(|issue| !is_out(issue));
        self
    }

    /// Those that are kept, in the order in which they were found.
    pub fn listed(&self) -> &[Issue] {
        &self.listed
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.listed.len() + self.unlisted
    }

    /// How many there are besides those that are kept, as one more problem.
    pub fn rest(&self) -> Option<Issue> {
        let count = self.unlisted;
        let why = format!("There are {count} more problems. Mend those above first");
        (count > 0).then(|| Issue::new("custom", Vec::new(), why, Value::Null))
    }
}

impl Extend<Issue> for Problems {
    fn extend<T: IntoIterator<Item = Issue>>(&mut self, issues: T) {
        issues.into_iter().for_each(|issue| self.add(issue));
    }
}

impl FromIterator<Issue> for Problems {
    fn from_iter<T: IntoIterator<Item = Issue>>(issues: T) -> Self {
        let mut problems = Self::default();
        problems.extend(issues);
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_beyond_the_list_are_counted() {
        let some = |count: usize| -> Problems {
            (0..count)
                .map(|n| Issue::custom("x", n.to_string()))
                .collect()
        };
        for (counts, listed, rest) in [
            (&[][..], 0, None),
            (&[LISTED_MAX], LISTED_MAX, None),
            (&[LISTED_MAX, 1], LISTED_MAX, Some("There are 1 more")),
            (&[1, 250, 99], LISTED_MAX, Some("There are 250 more")),
        ] {
            let mut all = Problems::default();
            for (index, count) in counts.iter().enumerate() {
                all.join(some(*count).at(index));
            }
            assert_eq!(all.listed().len(), listed);
            assert_eq!(all.count(), counts.iter().sum::<usize>());
            assert_eq!(all.is_empty(), listed == 0);
            let told = all.rest().map(|issue| issue.message);
            assert_eq!(told.is_some(), rest.is_some());
            assert!(
                told.unwrap_or_default()
                    .starts_with(rest.unwrap_or_default())
            );
            if let Some(first) = all.listed().first() {
                assert_eq!(first.path, [Step::Index(0), Step::from("x")]);
            }
        }
    }
}
