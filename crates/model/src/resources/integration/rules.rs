//! What an integration must keep that its schema cannot say.

use serde_json::Value;

use crate::{
    clock::Timestamp,
    credentials::Credentials,
    directory::{Integration, Settings},
    header,
    id::IntegrationId,
    issue::{Issue, Step},
    key::System,
    resources::integration::{ExtraHeader, IntegrationCreate, IntegrationUpdate},
    secret::Secret,
    text,
    vendor::Vendor,
};

/// Characters of a name at most: a line of a list has room for it.
pub const NAME_MAX_CHARS: usize = 100;

/// What the rules have to know of an integration's vendor.
#[derive(Clone, Copy)]
pub struct Terms {
    /// Which it is.
    pub vendor: Vendor,
    /// The members of its credentials.
    pub credentials: &'static [&'static str],
    /// The header that carries a credential, where the vendor takes one in a header.
    pub key_header_name: &'static str,
    /// Whether an integration may name another header for it.
    pub key_header_may_differ: bool,
    /// Where it is, unless an integration says otherwise.
    pub base_url: fn(System) -> &'static str,
}

/// An integration that may be made.
pub struct Checked {
    /// The vendor.
    pub vendor: Vendor,
    /// Production or sandbox.
    pub system: System,
    /// What to call it.
    pub name: String,
    /// How the vendor is reached.
    pub settings: Settings,
    /// The vendor's credential.
    pub credential: Secret,
    /// Whether it is to take writes.
    pub active: bool,
}

/// What is to change about an integration. Applied to it as it is stored, so that two changes at once do not undo each other.
#[derive(Clone, Default)]
pub struct Change {
    /// The settings, and the name, that were given.
    pub update: IntegrationUpdate,
    /// Other credentials.
    pub credential: Option<Secret>,
    /// Since when it is paused, or `Some(None)` when it is to go on.
    pub paused_at: Option<Option<Timestamp>>,
    /// Since when it is put away for good; its credential goes.
    pub archived_at: Option<Timestamp>,
    /// What the credentials allow, as it was just tried.
    pub access: Option<Value>,
}

impl Change {
    /// Applies it.
    pub fn apply(&self, to: &mut Integration) {
        let update = &self.update;
        let settings = &mut to.settings;
        let put = |place: &mut u32, value: Option<u32>| *place = value.unwrap_or(*place);
        put(&mut settings.sync_frequency, update.sync_frequency);
        put(
            &mut settings.max_job_concurrency,
            update.max_job_concurrency,
        );
        settings.sync_cadence = update.sync_cadence.unwrap_or(settings.sync_cadence);
        settings.max_request_cadence = update
            .max_request_cadence
            .unwrap_or(settings.max_request_cadence);
        match update.max_request_frequency {
            None => {}
            Some(0) => settings.max_request_frequency = None,
            given => settings.max_request_frequency = given,
        }
        settings.new_properties_are_enabled = update
            .new_properties_are_enabled
            .unwrap_or(settings.new_properties_are_enabled);
        settings.require_explicit_consent = update
            .require_explicit_consent
            .unwrap_or(settings.require_explicit_consent);
        if let Some(base_url) = &update.base_url {
            settings.base_url.clone_from(base_url);
        }
        if let Some(name) = &update.key_header_name {
            settings.key_header_name.clone_from(name);
        }
        if let Some(headers) = &update.extra_headers {
            settings.extra_headers = pairs(headers);
        }
        if let Some(name) = &update.name {
            to.name.clone_from(name);
        }
        to.active = update.active.unwrap_or(to.active);
        if let Some(credential) = &self.credential {
            to.credential = credential.clone();
        }
        to.paused_at = match self.paused_at {
            // Who is paused already stays so since then.
            Some(Some(at)) => Some(to.paused_at.unwrap_or(at)),
            Some(None) => None,
            None => to.paused_at,
        };
        if let Some(at) = self.archived_at {
            to.archived_at = Some(to.archived_at.unwrap_or(at));
            to.active = false;
            to.credential = Secret::new("");
        }
        if let Some(access) = &self.access {
            to.access = Some(access.clone());
        }
    }
}

/// An integration of `checked`.
impl Checked {
    /// The integration, under `id`.
    pub fn integration(self, id: IntegrationId) -> Integration {
        let mut made = Integration::new(
            id,
            self.name,
            self.vendor,
            self.system,
            self.settings,
            self.credential,
        );
        made.active = self.active;
        made
    }
}

fn pairs(headers: &[ExtraHeader]) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|one| (one.header.clone(), one.value.clone()))
        .collect()
}

/// A name of one line, without marks that nobody sees.
///
/// # Errors
/// In words.
pub fn one_line(name: &str) -> Result<String, String> {
    let name = text::without_marks(name);
    let name = name.trim();
    let is_fit =
        (1..=NAME_MAX_CHARS).contains(&name.chars().count()) && !name.contains(text::is_control);
    is_fit
        .then(|| name.to_owned())
        .ok_or_else(|| format!("a name is 1 to {NAME_MAX_CHARS} characters on one line"))
}

/// Where a vendor may be: `allow` gives the address as it is stored, or says why it is not allowed.
type Allow<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// A vendor that takes its key in one header only takes no other name for it.
fn key_header_issue(given: Option<&str>, terms: &Terms) -> Option<Issue> {
    let is_other = given.is_some_and(|name| !name.eq_ignore_ascii_case(terms.key_header_name));
    (is_other && !terms.key_header_may_differ).then(|| {
        let (vendor, own) = (terms.vendor, terms.key_header_name);
        let words = format!("{vendor} takes its key in the header {own} alone. Leave this out");
        Issue::custom("key_header_name", words)
    })
}

fn header_issues(
    key_header_name: Option<&str>,
    extra: &[ExtraHeader],
    credentials: &Credentials,
    broken: &dyn Fn(&str) -> bool,
) -> Vec<Issue> {
    let mut issues = Vec::new();
    if let Some(name) = key_header_name
        && !broken("key_header_name")
        && header::is_barred_from_key(name)
    {
        issues.push(Issue::custom(
            "key_header_name",
            "This header is the client's own; the key cannot go in it",
        ));
    }
    if broken("extra_headers") {
        return issues;
    }
    for (place, one) in extra.iter().enumerate() {
        let is_key = key_header_name.is_some_and(|name| name.eq_ignore_ascii_case(&one.header));
        let is_twice = extra[..place]
            .iter()
            .any(|before| before.header.eq_ignore_ascii_case(&one.header));
        let why = if header::is_barred_from_calls(&one.header) {
            "This header is the client's own, or would carry a secret. Secrets go into credentials"
        } else if credentials
            .secrets()
            .any(|one_of| one.value.contains(one_of.expose()))
        {
            "This value has the key in it, which would be shown. The key goes into credentials alone"
        } else if is_key {
            "This is the header that carries the key"
        } else if is_twice {
            "This header stands here twice"
        } else {
            continue;
        };
        let path = vec![
            Step::from("extra_headers"),
            Step::Index(place),
            Step::from("header"),
        ];
        issues.push(Issue::new("custom", path, why, Value::Null));
    }
    issues
}

/// Checks an integration to be made. There are no terms where the schema has refused the vendor.
///
/// # Errors
/// Every broken rule.
pub fn check_create(
    input: &IntegrationCreate,
    broken: &dyn Fn(&str) -> bool,
    terms: Option<&Terms>,
    allow: Allow<'_>,
) -> Result<Checked, Vec<Issue>> {
    let key_header_name = input
        .key_header_name
        .as_deref()
        .or(terms.map(|terms| terms.key_header_name));
    let mut issues: Vec<Issue> = terms
        .and_then(|terms| key_header_issue(input.key_header_name.as_deref(), terms))
        .into_iter()
        .collect();
    issues.extend(header_issues(
        key_header_name,
        input.extra_headers.as_deref().unwrap_or_default(),
        &input.credentials,
        broken,
    ));
    let name = checked_name(Some(&input.name), broken, &mut issues).unwrap_or_default();
    let system = input.system.unwrap_or(System::Production);
    let base_url = match (&input.base_url, terms) {
        (Some(given), _) => checked_url(given, broken, allow, &mut issues),
        (None, Some(terms)) => Some((terms.base_url)(system).to_owned()),
        (None, None) => None,
    };
    match (issues.is_empty(), terms, base_url) {
        (true, Some(terms), Some(base_url)) => {
            let mut settings = Settings::new(base_url);
            terms
                .key_header_name
                .clone_into(&mut settings.key_header_name);
            let mut made = Integration::new(
                IntegrationId::NOBODY,
                name,
                terms.vendor,
                system,
                settings,
                input.credentials.stored(terms.credentials),
            );
            made.active = false;
            // What can be said at first and what can be changed later is the same.
            let change = Change {
                update: IntegrationUpdate {
                    credentials: None,
                    name: None,
                    base_url: None,
                    sync_frequency: input.sync_frequency,
                    sync_cadence: input.sync_cadence,
                    max_request_frequency: input.max_request_frequency,
                    max_request_cadence: input.max_request_cadence,
                    max_job_concurrency: input.max_job_concurrency,
                    active: input.active,
                    new_properties_are_enabled: input.new_properties_are_enabled,
                    key_header_name: input.key_header_name.clone(),
                    extra_headers: input.extra_headers.clone(),
                    require_explicit_consent: input.require_explicit_consent,
                },
                ..Change::default()
            };
            change.apply(&mut made);
            Ok(Checked {
                vendor: made.vendor,
                system: made.system,
                name: made.name,
                settings: made.settings,
                credential: made.credential,
                active: made.active,
            })
        }
        _ => Err(issues),
    }
}

/// Checks what is to change about `integration`, whose vendor has these terms.
///
/// # Errors
/// Every broken rule.
pub fn check_update(
    mut input: IntegrationUpdate,
    (integration, terms): (&Integration, &Terms),
    broken: &dyn Fn(&str) -> bool,
    allow: Allow<'_>,
) -> Result<Change, Vec<Issue>> {
    let stored = &integration.settings;
    let standing: Vec<ExtraHeader>;
    let extra = match &input.extra_headers {
        Some(given) => given,
        None => {
            standing = ExtraHeader::all_of(stored);
            &standing
        }
    };
    let key_header_name = input
        .key_header_name
        .as_deref()
        .unwrap_or(&stored.key_header_name);
    let credentials = match &input.credentials {
        Some(given) => given.clone(),
        None => Credentials::of_stored(&integration.credential, terms.credentials),
    };
    let mut issues = header_issues(Some(key_header_name), extra, &credentials, broken);
    issues.extend(key_header_issue(input.key_header_name.as_deref(), terms));
    input.name = checked_name(input.name.as_deref(), broken, &mut issues);
    if let Some(given) = &input.base_url {
        input.base_url = checked_url(given, broken, allow, &mut issues);
    }
    if !issues.is_empty() {
        return Err(issues);
    }
    let credential = input
        .credentials
        .take()
        .map(|given| given.stored(terms.credentials));
    Ok(Change {
        update: input,
        credential,
        ..Change::default()
    })
}

fn checked_name(
    given: Option<&str>,
    broken: &dyn Fn(&str) -> bool,
    issues: &mut Vec<Issue>,
) -> Option<String> {
    if broken("name") {
        return None;
    }
    one_line(given?)
        .map_err(|why| issues.push(Issue::custom("name", why)))
        .ok()
}

fn checked_url(
    given: &str,
    broken: &dyn Fn(&str) -> bool,
    allow: Allow<'_>,
    issues: &mut Vec<Issue>,
) -> Option<String> {
    if broken("base_url") {
        return None;
    }
    allow(given)
        .map_err(|why| issues.push(Issue::custom("base_url", why)))
        .ok()
}
