//! The vendor that is measured with: the first of the build, whose sandbox plays it.

use std::sync::LazyLock;

use connectors::{VENDORS, connector::Definition};

/// The vendor.
pub(crate) const VENDOR: &Definition = VENDORS[0];

/// Where its prospects are created.
pub(crate) static PROSPECTS: LazyLock<String> =
    LazyLock::new(|| format!("/crm/v1/prospects/{}", VENDOR.terms.vendor.slug()));
