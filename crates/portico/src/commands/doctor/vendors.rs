//! Whether this build has the vendors of the integrations, and anybody answers where they are.

use std::time::Duration;

use connectors::{reach::Reach, vendor_client::VendorClient};
use model::{Clock, Timestamp};

use super::Check;
use crate::{system::SystemClock, vendors};

/// Vendors that are named, and places that are asked: there are a handful of vendors, and a gateway or
/// two of each.
pub(super) const VENDORS_MAX: u32 = 10;

/// How long a place may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Milliseconds that our clock and a vendor's may differ: tours are told by it to the minute.
const APART_MAX_MS: u64 = 60_000;

/// A check for each of these vendors that this build does not have.
pub(super) fn missing(names: &[String]) -> Vec<Check> {
    let is_known = |name: &&String| {
        let mut all = vendors::all().iter();
        all.any(|one| one.terms.vendor.name() == name.as_str())
    };
    let missing = names.iter().filter(|name| !is_known(name));
    missing
        .map(|name| {
            Check::fail(
                "vendors",
                format!("this program does not have {name}, the vendor of an active integration"),
                "start a build of Portico that has it; what was accepted waits for that, and is not lost",
            )
        })
        .collect()
}

pub(super) async fn look(active: u64, base_urls: Vec<String>) -> Vec<Check> {
    const NAME: &str = "vendors";
    if base_urls.is_empty() {
        return vec![Check::warn(
            NAME,
            "there is no active integration: nothing can be written to a vendor",
            "register one, or activate it",
        )];
    }
    // What is asked here carries nothing of an integration, so it may go where they are, allowed or not.
    let client = match VendorClient::new(Reach::default()) {
        Ok(client) => client,
        Err(why) => {
            return vec![Check::fail(NAME, why, "look at the system's certificates")];
        }
    };
    let mut under_way = tokio::task::JoinSet::new();
    for (place, base_url) in base_urls.into_iter().enumerate() {
        let client = client.clone();
        under_way.spawn(async move { (place, one(&client, &base_url).await) });
    }
    let mut found = Vec::new();
    while let Some(Ok(one)) = under_way.join_next().await {
        found.push(one);
    }
    found.sort_unstable_by_key(|(place, _)| *place);
    let mut checks: Vec<_> = found.into_iter().map(|(_, check)| check).collect();
    if checks.iter().all(|check| check.mend.is_none()) {
        let places = checks.len();
        checks.truncate(1);
        if let Some(first) = checks.first_mut()
            && places > 1
        {
            first.found = format!("all {places} places answer");
        }
    }
    if let Some(first) = checks.first_mut() {
        first.found = format!("{} (active integrations: {active})", first.found);
    }
    checks
}

async fn one(client: &VendorClient, base_url: &str) -> Check {
    const NAME: &str = "vendor";
    let shown = without_user(base_url);
    let asked = tokio::time::timeout(ANSWER_WITHIN, client.reach(base_url)).await;
    match asked {
        Ok(Ok(reached)) => match reached
            .now
            .map(|there| (there, apart(there, SystemClock.now())))
        {
            Some((there, ms)) if ms > APART_MAX_MS => Check::warn(
                NAME,
                format!(
                    "{shown} answers, and its clock says {there}, {} s from ours",
                    ms / 1_000
                ),
                "set this machine's clock: chrony or systemd-timesyncd",
            ),
            _ => Check::ok(NAME, format!("{shown} answers")),
        },
        Ok(Err(why)) => Check::fail(NAME, format!("{shown} does not answer: {why}"), MEND),
        Err(_) => Check::fail(
            NAME,
            format!(
                "{shown} does not answer within {} s",
                ANSWER_WITHIN.as_secs()
            ),
            MEND,
        ),
    }
}

const MEND: &str = "see whether the integration's base_url is right and this machine is let out to it; writes wait until it answers";

fn apart(one: Timestamp, other: Timestamp) -> u64 {
    one.millis_since(other).max(other.millis_since(one))
}

/// `base_url` without a name and a password that may be in it.
fn without_user(base_url: &str) -> String {
    match base_url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => "a base_url that is no URL".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_that_the_build_does_not_have_is_named() {
        let names = ["GONE".to_owned()];
        let found: Vec<String> = missing(&names).into_iter().map(|one| one.found).collect();
        assert_eq!(
            found,
            ["this program does not have GONE, the vendor of an active integration"]
        );
    }

    #[test]
    fn a_password_in_a_base_url_is_not_shown() {
        for (base_url, shown) in [
            ("https://api.example.com/v1", "https://api.example.com/v1"),
            (
                "https://ann:hush@api.example.com:8443",
                "https://api.example.com:8443",
            ),
            (
                "https://a@hush@api.example.com/x@y",
                "https://api.example.com/x@y",
            ),
            ("ann:hush", "a base_url that is no URL"),
        ] {
            assert_eq!(without_user(base_url), shown);
        }
    }
}
