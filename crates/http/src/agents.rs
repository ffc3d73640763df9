//! Agents: get, list.

use model::{record::Kind, resources::agent::Agent};

use crate::{
    lists::reads,
    openapi::{Answer, PageAnswer},
};

reads!(
    Agent,
    Kind::Agent,
    "Agents",
    agent_get,
    "Get an agent",
    "/crm/v1/agents/{id}",
    agents_list,
    "List agents",
    "/crm/v1/agents",
    DirectoryRead "directory:read"
);
