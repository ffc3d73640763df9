//! The seed made searchable: which community has which sources and agents.
//!
//! Guarantee: fixed for the life of the sandbox, so it is read without a lock. Every community has at least
//! one source and one agent.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::Error;
use super::seed::{Seed, SeedCommunity};

/// The place of a community in the seed. Only [`Directory`] makes them, so one is always valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommunityIndex(usize);

impl CommunityIndex {
    pub(super) fn get(self) -> usize {
        self.0
    }
}

pub(super) struct Directory {
    seed: Seed,
    by_id: HashMap<String, CommunityIndex>,
    members: Vec<Members>,
}

struct Members {
    sources: HashSet<String>,
    agents: HashSet<String>,
    first_agent: Box<str>,
}

impl Directory {
    pub(super) fn new(seed: Seed) -> Result<Self, Error> {
        if seed.api_key.trim().is_empty() {
            return Err(Error::Seed("the key is blank".to_owned()));
        }
        if seed.communities.is_empty() {
            return Err(Error::Seed("it has no community".to_owned()));
        }
        let mut by_id = HashMap::new();
        let mut members = Vec::with_capacity(seed.communities.len());
        for (place, community) in seed.communities.iter().enumerate() {
            let id = &community.id;
            if id.trim().is_empty() {
                return Err(Error::Seed(format!("community {place} has a blank id")));
            }
            if by_id.insert(id.clone(), CommunityIndex(place)).is_some() {
                return Err(Error::Seed(format!("community {id} is there twice")));
            }
            members.push(Members::new(community)?);
        }
        Ok(Self {
            seed,
            by_id,
            members,
        })
    }

    pub(super) fn accepts_key(&self, key: &[u8]) -> bool {
        self.seed.api_key.as_bytes() == key
    }

    pub(super) fn len(&self) -> usize {
        self.seed.communities.len()
    }

    pub(super) fn find(&self, community_id: &str) -> Option<CommunityIndex> {
        self.by_id.get(community_id).copied()
    }

    pub(super) fn community(&self, community: CommunityIndex) -> Option<&SeedCommunity> {
        self.seed.communities.get(community.0)
    }

    pub(super) fn has_source(&self, community: CommunityIndex, title: &str) -> bool {
        self.members
            .get(community.0)
            .is_some_and(|members| members.sources.contains(title))
    }

    pub(super) fn has_agent(&self, community: CommunityIndex, username: &str) -> bool {
        self.members
            .get(community.0)
            .is_some_and(|members| members.agents.contains(username))
    }

    /// Whom Knock assigns when nobody is named.
    pub(super) fn first_agent(&self, community: CommunityIndex) -> Box<str> {
        self.members
            .get(community.0)
            .map(|members| members.first_agent.clone())
            .unwrap_or_default()
    }

    /// The three seeded lists of `GET /_sandbox/state`.
    pub(super) fn view(&self) -> DirectoryView<'_> {
        let mut sources = BTreeMap::<&str, Vec<&str>>::new();
        let mut agents = BTreeMap::<&str, AgentView<'_>>::new();
        for community in &self.seed.communities {
            for title in &community.sources {
                sources.entry(title).or_default().push(&community.id);
            }
            for agent in &community.agents {
                agents
                    .entry(&agent.username)
                    .or_insert_with(|| AgentView {
                        username: &agent.username,
                        name: &agent.name,
                        email: &agent.email,
                        community_ids: Vec::new(),
                    })
                    .community_ids
                    .push(&community.id);
            }
        }
        DirectoryView {
            communities: self
                .seed
                .communities
                .iter()
                .map(|community| CommunityView {
                    id: &community.id,
                    name: &community.name,
                    timezone: &community.timezone,
                })
                .collect(),
            sources: sources
                .into_iter()
                .map(|(source_title, community_ids)| SourceView {
                    source_title,
                    community_ids,
                })
                .collect(),
            agents: agents.into_values().collect(),
        }
    }
}

impl Members {
    fn new(community: &SeedCommunity) -> Result<Self, Error> {
        let id = &community.id;
        let Some(first) = community.agents.first() else {
            return Err(Error::Seed(format!("community {id} has no agent")));
        };
        if community.sources.is_empty() {
            return Err(Error::Seed(format!("community {id} has no source")));
        }
        let sources: HashSet<String> = community.sources.iter().cloned().collect();
        if sources.len() != community.sources.len() {
            return Err(Error::Seed(format!("community {id} repeats a source")));
        }
        let usernames = community.agents.iter().map(|agent| agent.username.clone());
        let agents: HashSet<String> = usernames.collect();
        if agents.len() != community.agents.len() {
            return Err(Error::Seed(format!("community {id} repeats an agent")));
        }
        Ok(Self {
            sources,
            agents,
            first_agent: first.username.as_str().into(),
        })
    }
}

#[derive(Serialize)]
pub(super) struct DirectoryView<'a> {
    communities: Vec<CommunityView<'a>>,
    sources: Vec<SourceView<'a>>,
    agents: Vec<AgentView<'a>>,
}

#[derive(Serialize)]
struct CommunityView<'a> {
    id: &'a str,
    name: &'a str,
    timezone: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceView<'a> {
    source_title: &'a str,
    community_ids: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentView<'a> {
    username: &'a str,
    name: &'a str,
    email: &'a str,
    community_ids: Vec<&'a str>,
}
