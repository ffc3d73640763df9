//! Agents: get, list.

use model::{
    Permission,
    permission::{Group, Level},
    record::Kind,
    resources::agent::Agent,
};

use crate::lists::{self, ReadOperation, Records};

/// Agents as they are read.
pub const RECORDS: Records = Records {
    kind: Kind::Agent,
    tag: "Agents",
    permission: Permission::of(Group::Directory, Level::Read),
    get: ReadOperation {
        id: "agent_get",
        path: "/crm/v1/agents/{id}",
        summary: "Get an agent",
    },
    list: ReadOperation {
        id: "agents_list",
        path: "/crm/v1/agents",
        summary: "List agents",
    },
    routes: lists::routes::<Agent>,
};
