//! The seed made searchable: which communities there are, who works there and when tours begin.
//!
//! Guarantee: fixed for the life of the sandbox, so it is read without a lock. Every community has at least
//! one agent, and a zone that exists. Its sources may be replaced while running, so they are in `sources`.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::fields::Refusal;
use super::seed::{Seed, SeedCommunity};
use super::sources::{Sources, check_titles};
use super::tour_times::TourTimes;
use crate::sandbox::{Error, Seeded, SeededCommunity, SeededMember};

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
    agents: HashSet<String>,
    first_agent: Box<str>,
    tour_times: TourTimes,
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

    pub(super) fn find(&self, community_id: &str) -> Option<CommunityIndex> {
        self.by_id.get(community_id).copied()
    }

    pub(super) fn communities(&self) -> &[SeedCommunity] {
        &self.seed.communities
    }

    pub(super) fn tour_times(&self, community: CommunityIndex) -> Option<&TourTimes> {
        Some(&self.members.get(community.0)?.tour_times)
    }

    /// Refuses somebody who is not an agent of the community.
    pub(super) fn check_agent(
        &self,
        community: CommunityIndex,
        username: &str,
    ) -> Result<(), Refusal> {
        let members = self.members.get(community.0);
        if members.is_some_and(|members| members.agents.contains(username)) {
            return Ok(());
        }
        Err(Refusal(format!(
            "agent.username {username} is not an agent of this community"
        )))
    }

    /// Whom Knock assigns when nobody is named.
    pub(super) fn first_agent(&self, community: CommunityIndex) -> Box<str> {
        self.members
            .get(community.0)
            .map(|members| members.first_agent.clone())
            .unwrap_or_default()
    }

    /// The same at first, in no vendor's words.
    pub(super) fn seeded(&self) -> Seeded {
        let sources = Sources::new(self);
        let view = self.view(&sources);
        let member = |x_id: &str, name: &str, at: &[&str]| SeededMember {
            x_id: x_id.to_owned(),
            name: name.to_owned(),
            x_community_ids: at.iter().map(|id| (*id).to_owned()).collect(),
        };
        let communities = view.communities.iter().map(|one| SeededCommunity {
            x_id: one.id.to_owned(),
            name: one.name.to_owned(),
            timezone: one.timezone.to_owned(),
        });
        Seeded {
            communities: communities.collect(),
            attributions: view
                .sources
                .iter()
                .map(|one| member(one.source_title, one.source_title, &one.community_ids))
                .collect(),
            agents: view
                .agents
                .iter()
                .map(|one| member(one.username, one.name, &one.community_ids))
                .collect(),
        }
    }

    /// The first three lists of `GET /_sandbox/state`.
    pub(super) fn view<'a>(&'a self, present: &'a Sources) -> DirectoryView<'a> {
        let mut sources = BTreeMap::<&str, Vec<&str>>::new();
        let mut agents = BTreeMap::<&str, AgentView<'_>>::new();
        for (community, titles) in self.seed.communities.iter().zip(present.all()) {
            for title in titles {
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
        check_titles(&community.sources)
            .map_err(|reason| Error::Seed(format!("community {id} {reason}")))?;
        let usernames = community.agents.iter().map(|agent| agent.username.clone());
        let agents: HashSet<String> = usernames.collect();
        if agents.len() != community.agents.len() {
            return Err(Error::Seed(format!("community {id} repeats an agent")));
        }
        Ok(Self {
            agents,
            first_agent: first.username.as_str().into(),
            tour_times: TourTimes::new(community)?,
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
