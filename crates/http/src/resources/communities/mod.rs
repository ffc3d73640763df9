//! Communities: get, list.

use model::{
    Permission,
    permission::{Group, Level},
    record::Kind,
    resources::community::Community,
};

use crate::lists::{self, ReadOperation, Records};

/// Communities as they are read.
pub const RECORDS: Records = Records {
    kind: Kind::Community,
    tag: "Communities",
    permission: Permission::of(Group::Directory, Level::Read),
    get: ReadOperation {
        id: "community_get",
        path: "/crm/v1/communities/{id}",
        summary: "Get a community",
    },
    list: ReadOperation {
        id: "communities_list",
        path: "/crm/v1/communities",
        summary: "List communities",
    },
    routes: lists::routes::<Community>,
};
