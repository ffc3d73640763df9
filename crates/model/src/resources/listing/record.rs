//! A listing as it is read back.
//!
//! Source: the public contract, sections 3.6 and 4.

use super::Checked;

resource! {
    /// A listing that the vendor knows.
    Listing, like "lst_01kaz6v3a1b2c3d4e5f6g7h8j9" {
        /// The vendor's id of its community.
        x_community_id: Option<String>,
        /// Its community.
        community_id: Option<String>,
        /// Its title.
        title: Option<String>,
        /// Where it is.
        url: Option<String>,
        /// When it was or will be published.
        publish_date: Option<String>,
        /// Whether it is to be seen.
        is_listed: Option<bool>,
    }
}

impl Listing {
    /// The listing that a vendor makes of `listing`, should it be new to us.
    pub fn created(listing: &Checked) -> Self {
        let (new, community) = (&listing.new, &listing.community);
        let (title, url) = (new.title.trim(), new.url.trim());
        unstored!(Self {
            x_community_id: Some(community.x_id.clone()),
            community_id: Some(community.id.to_string()),
            title: Some(title.to_owned()),
            url: Some(url.to_owned()),
            publish_date: Some(listing.publish_date.to_string()),
            is_listed: Some(listing.is_listed),
        })
    }
}
