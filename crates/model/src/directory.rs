//! What requests refer to, in memory: keys, integrations, communities, attributions, agents.
//!
//! Guarantee: one immutable snapshot answers every question of one request, so a request never sees half a
//! change. What belongs to an integration that the caller may not see is as unknown as what does not exist.

use std::{collections::HashMap, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    id::{AgentId, AttributionId, CommunityId, IntegrationId},
    key::{self, Key, System},
    record::Kind,
    scope::Scope,
    secret::Secret,
};

/// A CRM that Portico writes to. One explicit line a vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Vendor {
    /// Knock (knockrentals.com).
    Knock,
}

impl Vendor {
    /// Every vendor.
    pub const ALL: [Self; 1] = [Self::Knock];

    /// Its name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Knock => "KNOCK",
        }
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Vendor {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "KNOCK" => Ok(Self::Knock),
            _ => Err("a vendor is one of KNOCK".to_owned()),
        }
    }
}

/// How an integration's vendor is reached and how fast. All of it can be changed while running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Where the vendor's API is, without a trailing slash.
    pub base_url: String,
    /// The header that carries the credential: `x-api-key`, or `apikey` behind Knock's gateway.
    pub key_header_name: String,
    /// Further headers of every call; `{community}` in a value stands for the community's `x_id`.
    #[serde(default)]
    pub extra_headers: Vec<(String, String)>,
    /// Calls under way at once, 1 to 100.
    pub max_job_concurrency: u32,
    /// Calls begun a minute at most; no limit when absent.
    #[serde(default)]
    pub max_requests_per_minute: Option<u32>,
    /// Seconds from one synchronisation to the next.
    #[serde(default = "sync_every_s")]
    pub sync_every_s: u32,
    /// Whether `subscribe` must be stated: then an absent one is refused instead of filled in.
    #[serde(default)]
    pub require_explicit_consent: bool,
}

/// Twelve hours, as the contract has it (section 5).
const fn sync_every_s() -> u32 {
    12 * 3_600
}

impl Settings {
    /// The settings of an integration of which only the base url is known.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            key_header_name: "x-api-key".to_owned(),
            extra_headers: Vec::new(),
            max_job_concurrency: 1,
            max_requests_per_minute: None,
            sync_every_s: sync_every_s(),
            require_explicit_consent: false,
        }
    }
}

/// A vendor account of one customer.
#[derive(Clone)]
pub struct Integration {
    /// Its id.
    pub id: IntegrationId,
    /// What its owner calls it.
    pub name: String,
    /// The CRM behind it.
    pub vendor: Vendor,
    /// Production or sandbox.
    pub system: System,
    /// Whether it takes writes.
    pub active: bool,
    /// How the vendor is reached.
    pub settings: Settings,
    /// The vendor's credential.
    pub credential: Secret,
}

/// An apartment community.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Community {
    /// Its id.
    pub id: CommunityId,
    /// The integration it belongs to.
    pub integration_id: IntegrationId,
    /// The vendor's id of it.
    pub x_id: String,
    /// Its name.
    pub name: String,
    /// Its IANA time zone.
    pub timezone: String,
    /// The ISO 3166 region of phone numbers written without a country code; US when absent.
    #[serde(default)]
    pub phone_region: Option<String>,
    /// Whether it takes writes.
    pub active: bool,
}

/// A lead source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// Its id.
    pub id: AttributionId,
    /// The integration it belongs to.
    pub integration_id: IntegrationId,
    /// The vendor's title of it.
    pub x_id: String,
    /// Its name.
    pub name: String,
    /// The communities it is valid for.
    pub community_ids: Vec<CommunityId>,
    /// Whether it may be used.
    pub active: bool,
}

/// A leasing agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// The integration it belongs to.
    pub integration_id: IntegrationId,
    /// The vendor's user name of it.
    pub x_id: String,
    /// The person's name.
    pub name: String,
    /// The communities the agent works for.
    pub community_ids: Vec<CommunityId>,
    /// Whether it may be used.
    pub active: bool,
}

/// Everything a directory is made of.
#[derive(Clone, Default)]
pub struct Contents {
    /// Every key, revoked ones too.
    pub keys: Vec<Key>,
    /// Every integration.
    pub integrations: Vec<Integration>,
    /// Every community.
    pub communities: Vec<Community>,
    /// Every attribution.
    pub attributions: Vec<Attribution>,
    /// Every agent.
    pub agents: Vec<Agent>,
}

/// A snapshot of what requests refer to.
#[derive(Default)]
pub struct Directory {
    scopes: HashMap<String, Scope>,
    integrations: HashMap<IntegrationId, Arc<Integration>>,
    communities: HashMap<CommunityId, Arc<Community>>,
    attributions: HashMap<AttributionId, Arc<Attribution>>,
    agents: HashMap<AgentId, Arc<Agent>>,
}

impl Directory {
    /// Indexes `contents` as they are in force at `now`: a key revoked by then is left out.
    pub fn new(contents: Contents, now: Timestamp) -> Self {
        let live = |key: &&Key| key.revoked_at.is_none_or(|at| at > now);
        Self {
            scopes: contents
                .keys
                .iter()
                .filter(live)
                .map(|key| (key.token_hash.clone(), Scope::of(key)))
                .collect(),
            integrations: contents
                .integrations
                .into_iter()
                .map(|one| (one.id, Arc::new(one)))
                .collect(),
            communities: contents
                .communities
                .into_iter()
                .map(|one| (one.id, Arc::new(one)))
                .collect(),
            attributions: contents
                .attributions
                .into_iter()
                .map(|one| (one.id, Arc::new(one)))
                .collect(),
            agents: contents
                .agents
                .into_iter()
                .map(|one| (one.id, Arc::new(one)))
                .collect(),
        }
    }

    /// The scope of the key whose token this is; `None` for anything else.
    ///
    /// The look-up goes by the token's hash, so its timing tells nothing about other tokens.
    pub fn authenticate(&self, token: &str) -> Option<Scope> {
        let hash = key::token_hash(token)?;
        self.scopes.get(&key::hex(&hash)).cloned()
    }

    /// An integration by id, whoever asks: for the worker.
    pub fn integration(&self, id: IntegrationId) -> Option<&Arc<Integration>> {
        self.integrations.get(&id)
    }

    /// Every integration.
    pub fn integrations(&self) -> impl Iterator<Item = &Arc<Integration>> {
        self.integrations.values()
    }

    /// An integration as the caller may know it.
    pub fn find_integration(&self, scope: &Scope, id: &str) -> Option<&Arc<Integration>> {
        self.integrations
            .get(&id.parse().ok()?)
            .filter(|one| scope.sees(one.id))
    }

    /// The vendor's communities of an integration.
    pub fn communities(&self, integration: IntegrationId) -> impl Iterator<Item = &Arc<Community>> {
        self.communities
            .values()
            .filter(move |one| one.integration_id == integration)
    }

    /// Our id for a vendor's id of what the directory holds of an integration: a community, an attribution or an agent.
    pub fn id_of(&self, kind: Kind, integration: IntegrationId, x_id: &str) -> Option<String> {
        match kind {
            Kind::Community => self
                .communities(integration)
                .find(|one| one.x_id == x_id)
                .map(|one| one.id.to_string()),
            Kind::Attribution => self
                .attributions
                .values()
                .find(|one| one.integration_id == integration && one.x_id == x_id)
                .map(|one| one.id.to_string()),
            Kind::Agent => self
                .agents
                .values()
                .find(|one| one.integration_id == integration && one.x_id == x_id)
                .map(|one| one.id.to_string()),
            Kind::Prospect | Kind::Event | Kind::Appointment | Kind::Listing => None,
        }
    }

    /// A community as the caller may know it.
    pub fn find_community(&self, scope: &Scope, id: &str) -> Option<&Arc<Community>> {
        self.communities
            .get(&id.parse().ok()?)
            .filter(|one| scope.sees(one.integration_id))
    }

    /// An attribution as the caller may know it.
    pub fn find_attribution(&self, scope: &Scope, id: &str) -> Option<&Arc<Attribution>> {
        self.attributions
            .get(&id.parse().ok()?)
            .filter(|one| scope.sees(one.integration_id))
    }

    /// An agent as the caller may know it.
    pub fn find_agent(&self, scope: &Scope, id: &str) -> Option<&Arc<Agent>> {
        self.agents
            .get(&id.parse().ok()?)
            .filter(|one| scope.sees(one.integration_id))
    }
}
