//! What a key must keep that its schema cannot say.
//!
//! Guarantee: nobody makes, rotates or revokes a key that may do or see more than their own, that
//! has a higher limit of requests, or that is valid for longer than their own key and token. Limits
//! are compared key by key: who may make keys can send more with several of them.

use std::collections::BTreeSet;

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

impl RateLimit {
    /// The first of both numbers in which `other` allows more than this limit.
    fn exceeded_by(self, other: Self) -> Option<&'static str> {
        if other.requests_per_minute > self.requests_per_minute {
            Some("requests a minute")
        } else if other.burst > self.burst {
            Some("requests at once")
        } else {
            None
        }
    }
}

/// Refuses the caller's change of `key` when that key is stronger than the caller's own: a rotation hands out
/// a token of it, and a revocation takes away what the caller cannot make again. `default` is the limit of keys
/// that have none of their own. The caller already sees all integrations of `key`.
///
/// A token that was superseded changes no other token of its key: a key is rotated because the old
/// token may be in wrong hands, and these could otherwise give themselves a new one, and end that
/// of the key's owner.
///
/// # Errors
/// In words, which say in what `key` is stronger.
pub fn check_change(scope: &Scope, key: &Key, default: RateLimit) -> Result<(), String> {
    if let Some(missing) = key.permissions.iter().find(|one| !scope.may(**one)) {
        return Err(format!(
            "That API key has the permission `{missing}`, which yours lacks"
        ));
    }
    if scope.is_superseded() && scope.key() == Some(key.id) {
        return Err(
            "Your token is not the newest of this API key, and only the newest may rotate or \
             revoke it"
                .to_owned(),
        );
    }
    if let Some(own_end) = scope.expires_at()
        && key.expires_at.is_none_or(|end| end > own_end)
    {
        return Err("That API key is valid for longer than yours, or than your token".to_owned());
    }
    if !scope.is_operator() {
        let own = scope.rate_limit().unwrap_or(default);
        let theirs = key.rate_limit.unwrap_or(default);
        if let Some(what) = own.exceeded_by(theirs) {
            return Err(format!("That API key may send more {what} than yours"));
        }
    }
    Ok(())
}

/// Checks a key that `scope` wants made. `default` is the limit of keys that have none of their own.
///
/// # Errors
/// Every broken rule.
pub fn check_create(
    input: &KeyCreate,
    directory: &Directory,
    scope: &Scope,
    broken: &dyn Fn(&str) -> bool,
    (default, now): (RateLimit, Timestamp),
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
        let (mut limited, mut seen) = (Vec::new(), BTreeSet::new());
        for (place, text) in given.iter().enumerate() {
            match directory.find_integration(scope, text) {
                Some(one) if seen.insert(one.id) => limited.push(one.id),
                Some(_) => {}
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
                "Your own key, or its token, expires before that, so it cannot give more time",
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
    let own = scope.rate_limit().unwrap_or(default);
    if !broken("rate_limit")
        && !scope.is_operator()
        && let Some(what) = given.and_then(|given| own.exceeded_by(given))
    {
        let (per_minute, burst) = (own.requests_per_minute, own.burst);
        issues.push(Issue::custom(
            "rate_limit",
            format!(
                "Your own key may send fewer {what} than that. It can give {per_minute} a minute \
                 and {burst} at once at most"
            ),
        ));
    }
    if issues.is_empty() {
        Ok(Checked {
            name,
            system: input.system.unwrap_or(System::Production),
            permissions,
            integrations,
            expires_at,
            // Without a limit of its own the new key gets the default, unless that is more than the caller has.
            rate_limit: given.or(scope
                .rate_limit()
                .filter(|own| own.exceeded_by(default).is_some())),
        })
    } else {
        Err(issues)
    }
}
