//! The vendors of this build.
//!
//! Guarantee: set once, before a command is looked at, and the same for the life of the process.

use std::sync::OnceLock;

use connectors::connector::Definition;

static VENDORS: OnceLock<&'static [&'static Definition]> = OnceLock::new();

/// Says which they are. A second time changes nothing.
pub(crate) fn set(vendors: &'static [&'static Definition]) {
    let _ = VENDORS.set(vendors);
}

/// All of them.
pub(crate) fn all() -> &'static [&'static Definition] {
    VENDORS.get().copied().unwrap_or_default()
}

/// The vendor whose sandbox is meant: the first, unless another is named.
///
/// # Errors
/// When there is none.
pub(crate) fn named(slug: Option<&str>) -> anyhow::Result<&'static Definition> {
    let mut all = all().iter().copied();
    let found = match slug {
        Some(slug) => all.find(|one| one.terms.vendor.slug() == slug),
        None => all.next(),
    };
    found.ok_or_else(|| anyhow::anyhow!("this build has no such vendor"))
}

/// Reads the name of a vendor off the command line.
///
/// # Errors
/// When there is none of this name, with those that there are.
pub(crate) fn parse(slug: &str) -> Result<String, String> {
    match named(Some(slug)) {
        Ok(found) => Ok(found.terms.vendor.slug()),
        Err(_) => {
            let all: Vec<String> = all().iter().map(|one| one.terms.vendor.slug()).collect();
            Err(format!("a vendor is one of {}", all.join(", ")))
        }
    }
}
