//! The sandbox as one customer's account: an integration, and what writes to it refer to.

use anyhow::Context;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{api::Api, load::Target, process::Process, vendor::VENDOR};

/// Calls that an integration may have under way: the most there may be.
const INTEGRATION_CALLS: u32 = 100;

/// The communities of a sandbox, and who and what there is at them.
#[derive(Deserialize)]
pub(crate) struct Known {
    communities: Vec<KnownCommunity>,
    sources: Vec<KnownSource>,
    agents: Vec<KnownAgent>,
}

#[derive(Deserialize)]
struct KnownCommunity {
    id: String,
    name: String,
    timezone: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KnownSource {
    source_title: String,
    community_ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KnownAgent {
    username: String,
    name: String,
    community_ids: Vec<String>,
}

impl Known {
    /// Asks a sandbox.
    ///
    /// # Errors
    /// When it does not answer, or is none.
    pub(crate) async fn of(sandbox: &Process) -> anyhow::Result<Self> {
        let state = sandbox.get("/_sandbox/state").await?;
        serde_json::from_str(&state).context("The sandbox's state is not understood")
    }

    /// The first community alone, with one source and without agents: all that a prospect needs.
    pub(crate) fn least(mut self) -> Self {
        self.communities.truncate(1);
        let first = self.communities.first().map(|one| one.id.clone());
        self.sources.retain(|source| {
            source
                .community_ids
                .iter()
                .any(|id| Some(id) == first.as_ref())
        });
        self.sources.truncate(1);
        self.agents.clear();
        self
    }
}

/// A record of ours, and its id at the vendor.
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) x_id: String,
    /// The communities that it belongs to, by our ids; none for a community itself.
    pub(crate) community_ids: Vec<String>,
}

/// An integration, as a server has registered it.
pub(crate) struct Account {
    pub(crate) integration_id: String,
    pub(crate) communities: Vec<Registered>,
    pub(crate) attributions: Vec<Registered>,
    pub(crate) agents: Vec<Registered>,
}

impl Account {
    /// Registers an integration called `name` that leads to `sandbox`, with what is `known` there.
    /// How often its vendor may be called in a time has no limit.
    ///
    /// # Errors
    /// When the server refuses.
    pub(crate) async fn register(
        api: &mut Api,
        sandbox: &Process,
        name: &str,
        known: &Known,
    ) -> anyhow::Result<Self> {
        let credentials: Value = serde_json::from_str(VENDOR.sandbox.credentials)?;
        let integration = json!({
            "integration_vendor": VENDOR.terms.vendor, "name": name, "system": "SANDBOX",
            "credentials": credentials, "base_url": sandbox.url(),
            "max_job_concurrency": INTEGRATION_CALLS, "active": true,
        });
        let integration_id = made(api, "", &integration).await?;
        let mut account = Self {
            integration_id,
            communities: Vec::new(),
            attributions: Vec::new(),
            agents: Vec::new(),
        };
        for one in &known.communities {
            let body = json!({ "x_id": one.id, "name": one.name, "timezone": one.timezone });
            let id = account.put(api, "communities", &body).await?;
            account.communities.push(Registered {
                id,
                x_id: one.id.clone(),
                community_ids: Vec::new(),
            });
        }
        for one in &known.sources {
            let title = &one.source_title;
            let community_ids = account.ours(&one.community_ids);
            let body = json!({ "x_id": title, "name": title, "community_ids": community_ids });
            let id = account.put(api, "attributions", &body).await?;
            account.attributions.push(Registered {
                id,
                x_id: title.clone(),
                community_ids,
            });
        }
        for one in &known.agents {
            let community_ids = account.ours(&one.community_ids);
            let body =
                json!({ "x_id": one.username, "name": one.name, "community_ids": community_ids });
            let id = account.put(api, "agents", &body).await?;
            account.agents.push(Registered {
                id,
                x_id: one.username.clone(),
                community_ids,
            });
        }
        Ok(account)
    }

    async fn put(&self, api: &mut Api, kind: &str, body: &Value) -> anyhow::Result<String> {
        made(api, &format!("/{}/{kind}", self.integration_id), body).await
    }

    /// Our ids of the communities that the vendor calls so.
    fn ours(&self, x_ids: &[String]) -> Vec<String> {
        self.communities
            .iter()
            .filter(|community| x_ids.contains(&community.x_id))
            .map(|community| community.id.clone())
            .collect()
    }

    /// What a write about the first community refers to.
    ///
    /// # Errors
    /// When there is no community, or no attribution of it.
    pub(crate) fn target(&self) -> anyhow::Result<Target> {
        let community = self.communities.first();
        let community = community.context("The sandbox has no community")?;
        let attribution = self
            .attributions
            .iter()
            .find(|one| one.community_ids.contains(&community.id))
            .context("The sandbox has no source for its first community")?;
        Ok(Target {
            integration_id: self.integration_id.clone(),
            community_id: community.id.clone(),
            attribution_id: attribution.id.clone(),
        })
    }
}

/// Makes a record below an integration, or the integration itself, and returns its id.
async fn made(api: &mut Api, path: &str, body: &Value) -> anyhow::Result<String> {
    let path = format!("/v1/admin/integrations{path}");
    let made = api.call(Method::POST, &path, Some(body)).await?;
    let id = made["result"]["id"].as_str().map(str::to_owned);
    id.with_context(|| format!("{path} answered without an id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let community = |id: &str| json!({ "id": id, "name": id, "timezone": "America/Phoenix" });
        let state = json!({
            "communities": [community("1"), community("2")],
            "sources": [
                { "sourceTitle": "B", "communityIds": ["2"] },
                { "sourceTitle": "A", "communityIds": ["1", "2"] },
            ],
            "agents": [{ "username": "sam", "name": "Sam", "communityIds": ["1"] }],
            "prospects": [],
        });
        serde_json::from_value(state).expect("a state")
    }

    #[test]
    fn the_least_that_is_known_is_enough_for_a_write() {
        let least = known().least();
        assert_eq!((least.communities.len(), least.agents.len()), (1, 0));
        let titles: Vec<_> = least.sources.iter().map(|one| &one.source_title).collect();
        assert_eq!(titles, ["A"]);
    }

    #[test]
    fn a_write_refers_to_an_attribution_of_the_first_community() {
        let registered = |id: &str, at: &[&str]| Registered {
            id: id.to_owned(),
            x_id: format!("x_{id}"),
            community_ids: at.iter().map(|&id| id.to_owned()).collect(),
        };
        let mut account = Account {
            integration_id: "int_1".to_owned(),
            communities: vec![registered("com_1", &[]), registered("com_2", &[])],
            attributions: vec![
                registered("att_2", &["com_2"]),
                registered("att_1", &["com_1"]),
            ],
            agents: Vec::new(),
        };
        assert_eq!(account.ours(&["x_com_2".to_owned()]), ["com_2"]);
        let target = account.target().expect("a target");
        assert_eq!(
            (target.community_id, target.attribution_id),
            ("com_1".into(), "att_1".into())
        );
        account.attributions.truncate(1);
        assert!(account.target().is_err());
    }
}
