//! A customer of any vendor: an integration of its own, and the vendor's sandbox that it writes to.
//!
//! Guarantee: nothing here knows a vendor; what there is at one, its definition says.

use std::sync::Arc;

use connectors::{
    connector::Definition,
    sandbox::{AnySandbox, SandboxSetup},
};
use model::Clock as _;
use model::{
    AgentId, AttributionId, CommunityId, Credentials, IntegrationId,
    directory::{Agent, Attribution, Community, Integration, Settings},
    key::System,
};
use serde_json::{Value, json};
use store::Registration;
use tokio::task::JoinHandle;

use crate::{Outcome, TestApp, control, operator, wrong};

/// The customer.
pub struct Customer {
    /// The vendor.
    pub definition: &'static Definition,
    /// The vendor's sandbox.
    pub sandbox: Arc<dyn AnySandbox>,
    /// Where it listens.
    pub address: String,
    /// The integration.
    pub integration_id: IntegrationId,
    /// Its first community.
    pub community_id: CommunityId,
    /// A lead source of that community, if the vendor has such.
    pub attribution_id: Option<AttributionId>,
    /// An agent of that community, if the vendor has such.
    pub agent_id: Option<AgentId>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Drop for Customer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Customer {
    /// A call of the sandbox's control surface, `path` without its root. Returns what was answered.
    ///
    /// # Errors
    /// When it is not answered with 200.
    pub async fn control(&self, method: &str, path: &str, body: Value) -> Outcome<Value> {
        control(&self.address, method, path, &body).await
    }

    /// `body` with the ids of what this customer has, wherever the body names such.
    #[must_use]
    pub fn referring(&self, mut body: Value) -> Value {
        for (name, id) in [
            ("integration_id", Some(json!(self.integration_id))),
            ("community_id", Some(json!(self.community_id))),
            ("attribution_id", self.attribution_id.map(|id| json!(id))),
            ("agent_id", self.agent_id.map(|id| json!(id))),
        ] {
            if body.get(name).is_some() {
                body[name] = id.unwrap_or_default();
            }
        }
        body
    }
}

impl TestApp {
    /// Starts one of a build with these vendors, and a customer of one of them.
    ///
    /// # Errors
    /// When any part cannot be started.
    pub async fn start_for(
        definitions: &'static [&'static Definition],
        definition: &'static Definition,
    ) -> Outcome<(Self, Customer)> {
        let mut app = Self::empty(definitions).await?;
        let sandbox = (definition.sandbox.open)(SandboxSetup {
            journal: None,
            clock: app.clock.clone(),
            latency_ms: 0,
        })
        .map_err(wrong)?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let forever = Box::pin(std::future::pending());
        let serving = tokio::spawn(sandbox.clone().serve(listener, forever));
        let (registration, ids) = registration(&app, definition, &*sandbox, &address)?;
        let customer = Customer {
            definition,
            sandbox,
            address,
            integration_id: registration.integration.id,
            community_id: ids.0,
            attribution_id: ids.1,
            agent_id: ids.2,
            serving,
        };
        let store = app.open().await?;
        let now = app.clock.now();
        store
            .integration_register(&operator(), registration, now)
            .await?;
        store.close().await;
        app.resume().await?;
        Ok((app, customer))
    }
}

type Ids = (CommunityId, Option<AttributionId>, Option<AgentId>);

fn registration(
    app: &TestApp,
    definition: &Definition,
    sandbox: &dyn AnySandbox,
    address: &str,
) -> Outcome<(Registration, Ids)> {
    let (now, entropy) = (app.clock.now(), &*app.entropy);
    let seeded = sandbox.seeded();
    let integration_id = IntegrationId::new(now, entropy);
    let community_id = CommunityId::new(now, entropy);
    let first = seeded.communities.first().ok_or("it has a community")?;
    let is_there = |x_ids: &[String]| x_ids.contains(&first.x_id);
    let attribution = seeded
        .attributions
        .iter()
        .find(|one| is_there(&one.x_community_ids))
        .map(|one| Attribution {
            id: AttributionId::new(now, entropy),
            integration_id,
            x_id: one.x_id.clone(),
            name: one.name.clone(),
            community_ids: vec![community_id],
            active: true,
        });
    let agent = seeded
        .agents
        .iter()
        .find(|one| is_there(&one.x_community_ids))
        .map(|one| Agent {
            id: AgentId::new(now, entropy),
            integration_id,
            x_id: one.x_id.clone(),
            name: one.name.clone(),
            community_ids: vec![community_id],
            active: true,
        });
    let terms = &definition.terms;
    let credentials: Credentials = serde_json::from_str(definition.sandbox.credentials)?;
    let ids = (
        community_id,
        attribution.as_ref().map(|one| one.id),
        agent.as_ref().map(|one| one.id),
    );
    let registration = Registration {
        integration: Integration::new(
            integration_id,
            "a customer".to_owned(),
            terms.vendor,
            System::Sandbox,
            Settings {
                max_job_concurrency: 8,
                key_header_name: terms.key_header_name.to_owned(),
                ..Settings::new(format!("http://{address}"))
            },
            credentials.stored(terms.credentials),
        ),
        communities: vec![Community {
            id: community_id,
            integration_id,
            x_id: first.x_id.clone(),
            name: first.name.clone(),
            timezone: first.timezone.clone(),
            phone_region: None,
            active: true,
        }],
        attributions: attribution.into_iter().collect(),
        agents: agent.into_iter().collect(),
    };
    Ok((registration, ids))
}
