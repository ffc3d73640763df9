//! What a key must keep that its schema cannot say.
//!
//! Guarantee: nobody makes a key that may do or see more than they may themselves, more often, or for longer.

use serde_json::Value;

use crate::{
    clock::Timestamp,
    directory::Directory,
    id::{IntegrationId, KeyId},
    issue::{Issue, Step},
    key::{Key, RateLimit, System, Token},
    permission::Permission,
    resources::{integration::one_line, key::KeyCreate},
    scope::Scope,
};

/// How long the tokens of a rotated key are still taken, and a webhook's deliveries signed with the secret before, unless somebody says otherwise: a day.
pub const OVERLAP_DEFAULT_S: u32 = 86_400;

/// How long at most: 30 days.
pub const OVERLAP_MAX_S: u32 = 30 * 86_400;

/// A key that may be made.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What to call it.
    pub name: String,
    /// Production or sandbox.
    pub system: System,
    /// What it may do.
    pub permissions: Vec<Permission>,
    /// The integrations it is limited to.
    pub integrations: Option<Vec<IntegrationId>>,
    /// From when on it is not taken any more.
    pub expires_at: Option<Timestamp>,
    /// How many requests it may send.
    pub rate_limit: Option<RateLimit>,
}

impl Checked {
    /// The key, under `id`, with its first token.
    pub fn key(self, id: KeyId, token: Token) -> Key {
        Key {
            rate_limit: self.rate_limit,
            expires_at: self.expires_at,
            ..Key::new(
                id,
                self.name,
                self.system,
                &self.permissions,
                self.integrations,
                token,
            )
        }
    }
}

fn at(field: &str, place: usize, why: impl Into<String>) -> Issue {
    let path = vec![Step::from(field), Step::Index(place)];
    Issue::new("custom", path, why, Value::Null)
}

/// Checks a key that `scope` wants made.
///
/// # Errors
/// Every broken rule.
pub fn check_create(
    input: &KeyCreate,
    directory: &Directory,
    scope: &Scope,
    broken: &dyn Fn(&str) -> bool,
    now: Timestamp,
) -> Result<Checked, Vec<Issue>> {
    let mut issues = Vec::new();
    let mut name = String::new();
    if !broken("name") {
        match one_line(&input.name) {
            Ok(fit) => name = fit,
            Err(why) => issues.push(Issue::custom("name", why)),
        }
    }
    let mut permissions = Vec::new();
    for (place, text) in input.permissions.iter().enumerate() {
        match text.parse::<Permission>() {
            Err(why) => issues.push(at("permissions", place, why)),
            Ok(one) if !scope.may(one) => issues.push(at(
                "permissions",
                place,
                "Your own key does not have this permission, so it cannot give it",
            )),
            Ok(one) if permissions.contains(&one) => {}
            Ok(one) => permissions.push(one),
        }
    }
    let mut integrations = scope.integrations().map(<[_]>::to_vec);
    if let Some(given) = &input.integration_ids {
        let mut limited: Vec<IntegrationId> = Vec::new();
        for (place, text) in given.iter().enumerate() {
            match directory.find_integration(scope, text) {
                Some(one) if limited.contains(&one.id) => {}
                Some(one) => limited.push(one.id),
                None => issues.push(at(
                    "integration_ids",
                    place,
                    "No integration has this id, or your key may not see it",
                )),
            }
        }
        integrations = Some(limited);
    }
    let mut expires_at = scope.expires_at();
    if let Some(text) = input.expires_at.as_ref().filter(|_| !broken("expires_at")) {
        match Timestamp::parse(text) {
            Ok(at) if scope.expires_at().is_some_and(|own| at > own) => issues.push(Issue::custom(
                "expires_at",
                "Your own key expires before that, so it cannot give more time",
            )),
            Ok(at) if at > now => expires_at = Some(at),
            Ok(_) => issues.push(Issue::custom("expires_at", "This time is over")),
            Err(_) => issues.push(Issue::custom(
                "expires_at",
                "expires_at is an ISO 8601 date-time with its offset, such as 2027-03-01T14:30:00Z",
            )),
        }
    }
    let given = input.rate_limit.map(|limit| RateLimit {
        requests_per_minute: limit.requests_per_minute,
        burst: limit.burst.unwrap_or(limit.requests_per_minute),
    });
    let is_more = |own: RateLimit| {
        given.is_some_and(|given| {
            given.requests_per_minute > own.requests_per_minute || given.burst > own.burst
        })
    };
    if !broken("rate_limit") && scope.rate_limit().is_some_and(is_more) {
        issues.push(Issue::custom(
            "rate_limit",
            "Your own key may send fewer requests than that, so it cannot give more",
        ));
    }
    if issues.is_empty() {
        Ok(Checked {
            name,
            system: input.system.unwrap_or(System::Production),
            permissions,
            integrations,
            expires_at,
            // What the development key may is for itself.
            rate_limit: given.or(scope.rate_limit().filter(|own| *own != RateLimit::NONE)),
        })
    } else {
        Err(issues)
    }
}
