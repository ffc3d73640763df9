//! A listing as it is read back.
//!
//! Source: the public contract, sections 3.6 and 4.

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
