//! What requests refer to, in memory: keys, integrations, communities, attributions, agents.
//!
//! Guarantee: one immutable snapshot answers every question of one request, so a request never sees half a
//! change. What belongs to an integration that the caller may not see is as unknown as what does not exist.

use std::sync::Arc;

use rpds::HashTrieMapSync;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    clock::Timestamp,
    contact::DEFAULT_REGION,
    id::{AgentId, AttributionId, CommunityId, IntegrationId, KeyId},
    key::{self, Key, System},
    record::Kind,
    scope::Scope,
    secret::Secret,
    vendor::Vendor,
};

/// A unit of time that settings count in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Cadence {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day of 24 hours.
    Day,
}

impl Cadence {
    /// Its length in seconds.
    pub const fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }
}

/// How an integration's vendor is reached and how fast. All of it can be changed while running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Where the vendor's API is, without a trailing slash.
    pub base_url: String,
    /// The header that carries the credential, where the vendor takes it in one: `x-api-key`.
    pub key_header_name: String,
    /// Further headers of every call; `{community}` in a value stands for the community's `x_id`.
    #[serde(default)]
    pub extra_headers: Vec<(String, String)>,
    /// Calls under way at once, 1 to 100.
    pub max_job_concurrency: u32,
    /// Calls begun at most in each [`Settings::max_request_cadence`]; no limit when absent.
    #[serde(default)]
    pub max_request_frequency: Option<u32>,
    /// The time that `max_request_frequency` counts in.
    pub max_request_cadence: Cadence,
    /// A synchronisation begins every so many [`Settings::sync_cadence`].
    pub sync_frequency: u32,
    /// The time that `sync_frequency` counts in.
    pub sync_cadence: Cadence,
    /// Whether communities that are registered without saying so take writes.
    pub new_properties_are_enabled: bool,
    /// Whether a write must say itself whether the prospect subscribes.
    #[serde(default)]
    pub require_explicit_consent: bool,
}

impl Settings {
    /// The settings of an integration of which only the base url is known, with the defaults of the public contract, section 5.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            key_header_name: "x-api-key".to_owned(),
            extra_headers: Vec::new(),
            max_job_concurrency: 1,
            max_request_frequency: None,
            max_request_cadence: Cadence::Minute,
            sync_frequency: 12,
            sync_cadence: Cadence::Hour,
            new_properties_are_enabled: true,
            require_explicit_consent: false,
        }
    }

    /// From the beginning of one call to that of the next at least, in microseconds; no limit when absent.
    pub fn call_gap_micros(&self) -> Option<i64> {
        let calls = i64::from(self.max_request_frequency?.max(1));
        // Rounded up: over a day, less than a microsecond a call adds up to calls beyond the limit.
        let micros = i64::from(self.max_request_cadence.seconds()) * 1_000_000;
        Some((micros + calls - 1) / calls)
    }

    /// From one synchronisation to the next, in milliseconds.
    pub fn sync_every_ms(&self) -> i64 {
        i64::from(self.sync_frequency.max(1)) * i64::from(self.sync_cadence.seconds()) * 1_000
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
    /// Since when what it takes waits instead of being delivered; `None` when it does not.
    pub paused_at: Option<Timestamp>,
    /// Since when it is put away for good.
    pub archived_at: Option<Timestamp>,
    /// What the credential allowed when that was last tried, as it was answered.
    pub access: Option<Value>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Integration {
    /// An active integration. When it was made, the store says.
    pub const fn new(
        id: IntegrationId,
        name: String,
        vendor: Vendor,
        system: System,
        settings: Settings,
        credential: Secret,
    ) -> Self {
        Self {
            id,
            name,
            vendor,
            system,
            active: true,
            settings,
            credential,
            paused_at: None,
            archived_at: None,
            access: None,
            created_at: Timestamp::ZERO,
            updated_at: Timestamp::ZERO,
        }
    }

    /// Whether its vendor may be called: what was accepted before it was deactivated is still delivered.
    pub const fn calls(&self) -> bool {
        self.paused_at.is_none() && self.archived_at.is_none()
    }
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

impl Community {
    /// The region in which a phone number without a country code is read.
    pub fn phone_region(&self) -> &str {
        self.phone_region.as_deref().unwrap_or(DEFAULT_REGION)
    }
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

/// An integration with all that belongs to it.
#[derive(Clone)]
pub struct Branch {
    /// The integration.
    pub integration: Integration,
    /// Its communities.
    pub communities: Vec<Community>,
    /// Its attributions.
    pub attributions: Vec<Attribution>,
    /// Its agents.
    pub agents: Vec<Agent>,
}

/// What a directory is made of, or what changed in it.
#[derive(Clone, Default)]
pub struct Contents {
    /// A number that grows with each change.
    pub revision: i64,
    /// Keys, revoked ones too.
    pub keys: Vec<Key>,
    /// Integrations.
    pub branches: Vec<Branch>,
}

/// A key, and the scope that it gives.
struct Held {
    key: Key,
    scope: Scope,
}

/// An integration and its members.
struct Members {
    integration: Arc<Integration>,
    communities: Vec<Arc<Community>>,
    attributions: Vec<Arc<Attribution>>,
    agents: Vec<Arc<Agent>>,
}

/// A snapshot of what requests refer to. A change makes another that shares with it what has not changed.
#[derive(Clone, Default)]
pub struct Directory {
    revision: i64,
    keys: HashTrieMapSync<KeyId, Arc<Held>>,
    tokens: HashTrieMapSync<String, KeyId>,
    branches: HashTrieMapSync<IntegrationId, Arc<Members>>,
    communities: HashTrieMapSync<CommunityId, Arc<Community>>,
    attributions: HashTrieMapSync<AttributionId, Arc<Attribution>>,
    agents: HashTrieMapSync<AgentId, Arc<Agent>>,
}

fn shared<T>(members: Vec<T>) -> Vec<Arc<T>> {
    members.into_iter().map(Arc::new).collect()
}

impl Directory {
    /// The directory of `contents` alone.
    pub fn new(contents: Contents) -> Self {
        Self::default().with(contents)
    }

    /// This directory with what changed since laid over it. Costs as much as changed.
    #[must_use]
    pub fn with(&self, changes: Contents) -> Self {
        let mut next = self.clone();
        next.revision = changes.revision;
        for key in changes.keys {
            for token in &key.tokens {
                next.tokens.insert_mut(token.hash.clone(), key.id);
            }
            let scope = Scope::of(&key);
            next.keys.insert_mut(key.id, Arc::new(Held { key, scope }));
        }
        for branch in changes.branches {
            let members = Members {
                integration: Arc::new(branch.integration),
                communities: shared(branch.communities),
                attributions: shared(branch.attributions),
                agents: shared(branch.agents),
            };
            for one in &members.communities {
                next.communities.insert_mut(one.id, one.clone());
            }
            for one in &members.attributions {
                next.attributions.insert_mut(one.id, one.clone());
            }
            for one in &members.agents {
                next.agents.insert_mut(one.id, one.clone());
            }
            next.branches
                .insert_mut(members.integration.id, Arc::new(members));
        }
        next
    }

    /// Up to which change it goes.
    pub const fn revision(&self) -> i64 {
        self.revision
    }

    /// The scope of the key whose token this is, if that is in force at `now`; `None` for anything else.
    ///
    /// The look-up goes by the token's hash, so its timing tells nothing about other tokens.
    pub fn authenticate(&self, token: &str, now: Timestamp) -> Option<Scope> {
        self.scope_of(key::token_hash(token)?, now)
    }

    /// What the caller may see and do by now: its key may have been changed, or its token
    /// superseded, since it was authenticated. `None` when the token is in force no more.
    pub fn renewed(&self, scope: &Scope, now: Timestamp) -> Option<Scope> {
        match scope.token() {
            None => scope.is_operator().then(|| scope.clone()),
            Some(token) => self.scope_of(token, now),
        }
    }

    fn scope_of(&self, token: [u8; 32], now: Timestamp) -> Option<Scope> {
        let hash = crate::hex::encode(&token);
        let Held { key, scope } = &**self.keys.get(self.tokens.get(&hash)?)?;
        let shown = key.tokens.iter().find(|one| one.hash == hash)?;
        key.is_in_force(&hash, now)
            .then(|| scope.shown(token, shown.expires_at))
    }

    /// Whether the token that a caller showed is still in force at `now`. The operator at the
    /// machine showed none.
    pub fn admits(&self, scope: &Scope, now: Timestamp) -> bool {
        let Some(id) = scope.key() else {
            return true;
        };
        let Some((held, token)) = self.keys.get(&id).zip(scope.token()) else {
            return false;
        };
        held.key.is_in_force(&crate::hex::encode(&token), now)
    }

    /// Every key, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.values().map(|held| &held.key)
    }

    /// An integration by id, whoever asks: for the worker.
    pub fn integration(&self, id: IntegrationId) -> Option<&Arc<Integration>> {
        self.branches.get(&id).map(|branch| &branch.integration)
    }

    /// Every integration, in no order.
    pub fn integrations(&self) -> impl Iterator<Item = &Arc<Integration>> {
        self.branches.values().map(|branch| &branch.integration)
    }

    /// An integration as the caller may know it.
    pub fn find_integration(&self, scope: &Scope, id: &str) -> Option<&Arc<Integration>> {
        self.integration(id.parse().ok()?)
            .filter(|one| scope.sees(one.id))
    }

    /// The vendor's communities of an integration.
    pub fn communities(&self, integration: IntegrationId) -> impl Iterator<Item = &Arc<Community>> {
        self.branches
            .get(&integration)
            .into_iter()
            .flat_map(|branch| &branch.communities)
    }

    /// A community of an integration, by id: for who may use the integration.
    pub fn community_of(
        &self,
        integration: IntegrationId,
        id: CommunityId,
    ) -> Option<&Arc<Community>> {
        self.communities
            .get(&id)
            .filter(|one| one.integration_id == integration)
    }

    /// Our id for a vendor's id of what the directory holds of an integration: a community, an attribution or an agent.
    pub fn id_of(&self, kind: Kind, integration: IntegrationId, x_id: &str) -> Option<String> {
        let branch = self.branches.get(&integration)?;
        match kind {
            Kind::Community => {
                let found = branch.communities.iter().find(|one| one.x_id == x_id)?;
                Some(found.id.to_string())
            }
            Kind::Attribution => {
                let found = branch.attributions.iter().find(|one| one.x_id == x_id)?;
                Some(found.id.to_string())
            }
            Kind::Agent => {
                let found = branch.agents.iter().find(|one| one.x_id == x_id)?;
                Some(found.id.to_string())
            }
            // The directory holds no others.
            _ => None,
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
