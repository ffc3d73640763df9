//! Communities: get, list.

use model::{record::Kind, resources::community::Community};

use crate::{
    lists::reads,
    openapi::{Answer, PageAnswer},
};

reads!(
    Community,
    Kind::Community,
    "Communities",
    community_get,
    "Get a community",
    "/crm/v1/communities/{id}",
    communities_list,
    "List communities",
    "/crm/v1/communities",
    DirectoryRead "directory:read"
);
