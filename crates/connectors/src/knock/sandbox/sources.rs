//! The source titles that each community has at present: the seed's, until they are replaced, and again after a
//! reset or a restart.
//!
//! Guarantee: a community has at least one source, none is blank and none is there twice.

use std::collections::HashSet;

use super::directory::{CommunityIndex, Directory};

pub(super) struct Sources {
    /// By place of the community.
    lists: Vec<Titles>,
}

#[derive(Default)]
struct Titles {
    in_order: Vec<String>,
    known: HashSet<String>,
}

impl Sources {
    pub(super) fn new(directory: &Directory) -> Self {
        let communities = directory.communities().iter();
        Self {
            lists: communities
                .map(|community| Titles::new(community.sources.clone()))
                .collect(),
        }
    }

    pub(super) fn has(&self, community: CommunityIndex, title: &str) -> bool {
        let titles = self.lists.get(community.get());
        titles.is_some_and(|titles| titles.known.contains(title))
    }

    pub(super) fn titles(&self, community: CommunityIndex) -> &[String] {
        let titles = self.lists.get(community.get());
        titles.map_or(&[], |titles| &titles.in_order)
    }

    /// Each community's titles, in the order of the seed.
    pub(super) fn all(&self) -> impl Iterator<Item = &[String]> {
        self.lists.iter().map(|titles| titles.in_order.as_slice())
    }

    /// # Errors
    /// In words, and nothing is replaced, when the list is not one that a community may have.
    pub(super) fn replace(
        &mut self,
        community: CommunityIndex,
        titles: Vec<String>,
    ) -> Result<(), String> {
        check_titles(&titles)?;
        if let Some(held) = self.lists.get_mut(community.get()) {
            *held = Titles::new(titles);
        }
        Ok(())
    }
}

impl Titles {
    fn new(in_order: Vec<String>) -> Self {
        let known = in_order.iter().cloned().collect();
        Self { in_order, known }
    }
}

/// What is wrong with a list of titles, in words; `Ok` when nothing is.
pub(super) fn check_titles(titles: &[String]) -> Result<(), String> {
    if titles.is_empty() {
        return Err("has no source".to_owned());
    }
    let mut seen = HashSet::new();
    for title in titles {
        // A title that is sent is trimmed, so one with blanks around it could never be named.
        if title.is_empty() || title.trim() != title {
            return Err("has a source that is blank or has blanks around it".to_owned());
        }
        if !seen.insert(title) {
            return Err(format!("repeats a source: {title}"));
        }
    }
    Ok(())
}
