//! A directory with one of everything, for the tests of mappings.

use model::{
    AgentId, AttributionId, CommunityId, Directory, Entropy, IntegrationId, Scope, Secret,
    Timestamp,
    contact::{DEFAULT_REGION, Email, Phone},
    directory::{Agent, Attribution, Branch, Community, Contents, Integration, Settings},
    key::{Key, System, token_make},
    permission::Permission,
    record::Kind,
    resources::{checks::Context, prospect::Known},
};
use serde_json::{Value, json};

use crate::knock::VENDOR;

struct Fixed(u8);
impl Entropy for Fixed {
    fn bytes(&self) -> [u8; 16] {
        [self.0; 16]
    }
}

/// One of everything, and a scope that sees it.
pub(crate) struct World {
    pub(crate) directory: Directory,
    pub(crate) scope: Scope,
    /// What a body refers to.
    pub(crate) ids: Value,
    /// A prospect with an email and a phone.
    pub(crate) known: Known,
}

impl World {
    /// What a body that keeps its schema is checked against.
    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            vendor: VENDOR,
            directory: &self.directory,
            scope: &self.scope,
            broken: &|_| false,
        }
    }

    pub(crate) fn new() -> Self {
        Self::in_zone("America/New_York")
    }

    pub(crate) fn in_zone(timezone: &str) -> Self {
        let now = Timestamp::ZERO;
        let integration_id = IntegrationId::new(now, &Fixed(1));
        let community_id = CommunityId::new(now, &Fixed(2));
        let (token, kept) = token_make(System::Sandbox, &Fixed(3), now).unwrap();
        let settings = Settings::new("http://127.0.0.1:1");
        let attribution = Attribution {
            id: AttributionId::new(now, &Fixed(4)),
            integration_id,
            x_id: "Zillow.com".to_owned(),
            name: "Zillow".to_owned(),
            community_ids: vec![community_id],
            active: true,
        };
        let agent = Agent {
            id: AgentId::new(now, &Fixed(5)),
            integration_id,
            x_id: "sam.okafor".to_owned(),
            name: "Sam".to_owned(),
            community_ids: vec![community_id],
            active: true,
        };
        let ids = json!({ "integration_id": integration_id, "community_id": community_id, "attribution_id": attribution.id, "agent_id": agent.id });
        let key = Key::new(
            model::KeyId::new(now, &Fixed(6)),
            "test",
            System::Sandbox,
            &Permission::ALL,
            None,
            kept,
        );
        let contents = Contents {
            revision: 1,
            keys: vec![key],
            branches: vec![Branch {
                integration: Integration::new(
                    integration_id,
                    "one".to_owned(),
                    VENDOR,
                    System::Sandbox,
                    settings,
                    Secret::new("key"),
                ),
                communities: vec![Community {
                    id: community_id,
                    integration_id,
                    x_id: "b9XQN6eMvvrr07zg".to_owned(),
                    name: "Harbor Point".to_owned(),
                    timezone: timezone.to_owned(),
                    phone_region: None,
                    active: true,
                }],
                attributions: vec![attribution],
                agents: vec![agent],
            }],
        };
        let directory = Directory::new(contents);
        let scope = directory.authenticate(token.expose(), now).unwrap();
        let known = Known {
            id: Kind::Prospect.new_id(now, &Fixed(7)),
            x_id: "123".to_owned(),
            integration_id: integration_id.to_string(),
            community_id: community_id.to_string(),
            x_attribution_id: Some("Zillow.com".to_owned()),
            email: Email::parse("ada@example.com").ok(),
            phone: Phone::parse("2065550155", DEFAULT_REGION).ok(),
        };
        Self {
            directory,
            scope,
            ids,
            known,
        }
    }
}
