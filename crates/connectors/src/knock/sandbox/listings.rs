//! The units that a community advertises.
//!
//! Guarantee: one listing a url within a community; sending it again changes it and keeps its id.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::assumptions::{LISTING_URL_END, LISTING_URL_STARTS};
use super::fields::{Fields, Refusal, needed};
use super::ids::Id;
use super::moment::{Moment, ToldTime};

type Text = Box<str>;

/// The body of `POST /community/{id}/listing`, checked.
pub(super) struct ListingDraft {
    pub(super) title: Text,
    pub(super) url: Text,
    pub(super) publish_date: ToldTime,
    pub(super) is_listed: bool,
}

impl ListingDraft {
    pub(super) fn read(members: &mut Map<String, Value>) -> Result<Self, Refusal> {
        let mut fields = Fields(members);
        let title = fields.required("title")?;
        let url = fields.required("url")?;
        if !is_listing_url(&url) {
            return Err(Refusal(format!(
                "url must be an http or https address that ends in {LISTING_URL_END}"
            )));
        }
        Ok(Self {
            title,
            url,
            publish_date: needed("publishDate", fields.time("publishDate")?)?,
            is_listed: needed("isListed", fields.flag("isListed")?)?,
        })
    }
}

fn is_listing_url(url: &str) -> bool {
    let rest = LISTING_URL_STARTS
        .iter()
        .find_map(|start| url.strip_prefix(start));
    let page = rest.and_then(|rest| rest.strip_suffix(LISTING_URL_END));
    page.is_some_and(|page| !page.is_empty() && !page.contains(char::is_whitespace))
}

/// An advertised unit. Also the shape of its line of the journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listing {
    pub(super) id: Id,
    pub(super) community_id: Text,
    pub(super) title: Text,
    pub(super) url: Text,
    pub(super) publish_date: ToldTime,
    pub(super) is_listed: bool,
    pub(super) created_at: Moment,
    pub(super) updated_at: Moment,
    /// How often it was sent again.
    pub(super) updates: u64,
}

#[derive(Default)]
pub(super) struct Listings {
    by_id: BTreeMap<u64, Listing>,
    /// By community and url.
    ids: BTreeMap<(Text, Text), Id>,
}

impl Listings {
    pub(super) fn len(&self) -> u64 {
        self.by_id.len() as u64
    }

    /// Oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Listing> {
        self.by_id.values()
    }

    pub(super) fn get(&self, id: Id) -> Option<&Listing> {
        self.by_id.get(&id.0)
    }

    pub(super) fn find(&self, community_id: &str, url: &str) -> Option<&Listing> {
        self.get(*self.ids.get(&(community_id.into(), url.into()))?)
    }

    /// Adds a listing, or puts a later version in its place.
    pub(super) fn put(&mut self, listing: Listing) {
        let key = (listing.community_id.clone(), listing.url.clone());
        self.ids.insert(key, listing.id);
        self.by_id.insert(listing.id.0, listing);
    }
}
