//! What a listing's fields must keep besides their types.

use std::sync::Arc;

use super::ListingCreate;
use crate::{
    clock::Timestamp,
    directory::{Community, Directory, Integration, Vendor},
    issue::Issue,
    resources::checks::Checks,
    scope::Scope,
};

/// A listing that keeps every rule, with what it refers to.
pub struct Checked {
    /// The body.
    pub input: ListingCreate,
    /// The integration it goes to.
    pub integration: Arc<Integration>,
    /// The community it concerns.
    pub community: Arc<Community>,
    /// When it is published.
    pub publish_date: Timestamp,
    /// Whether it is to be seen.
    pub is_listed: bool,
}

/// Checks `input`. `broken` names the top-level fields that the schema has already refused.
///
/// # Errors
/// Every problem found. When the schema found one too, the caller adds these to it.
pub fn check(
    input: ListingCreate,
    vendor: Vendor,
    directory: &Directory,
    scope: &Scope,
    broken: &dyn Fn(&str) -> bool,
) -> Result<Checked, Vec<Issue>> {
    let mut checks = Checks::new(directory, scope, broken);
    let integration = checks.integration(&input.integration_id, vendor);
    let community = checks.community(&input.community_id, integration.as_ref());
    if !broken("title") && input.title.trim().is_empty() {
        checks.refuse("title", "title is blank. Give the listing's title");
    }
    let publish_date = if broken("publish_date") {
        None
    } else {
        checks.instant("publish_date", Some(&input.publish_date))
    };
    match (integration, community, publish_date, input.is_listed) {
        (Some(integration), Some(community), Some(publish_date), Some(is_listed))
            if checks.issues.is_empty() =>
        {
            Ok(Checked {
                input,
                integration,
                community,
                publish_date,
                is_listed,
            })
        }
        _ => Err(checks.issues),
    }
}
