//! What a listing's fields must keep besides their types.

use std::sync::Arc;

use super::NewListing;
use crate::{
    clock::Timestamp,
    directory::{Community, Integration},
    issue::Issue,
    resources::checks::{Checks, Context},
};

/// A listing that keeps every rule, with what it refers to.
pub struct Checked {
    /// What was asked for.
    pub new: NewListing,
    /// The integration it goes to.
    pub integration: Arc<Integration>,
    /// The community it concerns.
    pub community: Arc<Community>,
    /// When it is published.
    pub publish_date: Timestamp,
    /// Whether it is to be seen.
    pub is_listed: bool,
}

/// Checks `new`.
///
/// # Errors
/// Every problem found. When the schema found one too, the caller adds these to it.
pub fn check(new: NewListing, context: Context<'_>) -> Result<Checked, Vec<Issue>> {
    let mut checks = Checks::new(context);
    let integration = checks.integration(&new.integration_id);
    let community = checks.community(&new.community_id, integration.as_ref());
    if !checks.is_broken("title") && new.title.trim().is_empty() {
        checks.refuse("title", "title is blank. Give the listing's title");
    }
    let publish_date = if checks.is_broken("publish_date") {
        None
    } else {
        checks.instant("publish_date", Some(&new.publish_date))
    };
    match (integration, community, publish_date, new.is_listed) {
        (Some(integration), Some(community), Some(publish_date), Some(is_listed))
            if checks.issues.is_empty() =>
        {
            Ok(Checked {
                new,
                integration,
                community,
                publish_date,
                is_listed,
            })
        }
        _ => Err(checks.issues),
    }
}
