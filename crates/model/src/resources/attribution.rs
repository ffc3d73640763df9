//! An attribution as it is read back.
//!
//! Source: the public contract, section 4.

resource! {
    /// Where a prospect heard of a community.
    Attribution, like "att_01kaz6v3a1b2c3d4e5f6g7h8j9" {
        /// Its name.
        name: Option<String>,
        /// The communities it is valid for.
        community_ids: Option<Vec<String>>,
    }
}
