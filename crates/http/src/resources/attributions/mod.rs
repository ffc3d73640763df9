//! Attributions: get, list.

use model::{
    Permission,
    permission::{Group, Level},
    record::Kind,
    resources::attribution::Attribution,
};

use crate::lists::{self, ReadOperation, Records};

/// Attributions as they are read.
pub const RECORDS: Records = Records {
    kind: Kind::Attribution,
    tag: "Attributions",
    permission: Permission::of(Group::Directory, Level::Read),
    get: ReadOperation {
        id: "attribution_get",
        path: "/crm/v1/attributions/{id}",
        summary: "Get an attribution",
    },
    list: ReadOperation {
        id: "attributions_list",
        path: "/crm/v1/attributions",
        summary: "List attributions",
    },
    routes: lists::routes::<Attribution>,
};
