//! Attributions: get, list.

use model::{record::Kind, resources::attribution::Attribution};

use crate::{
    lists::reads,
    openapi::{Answer, PageAnswer},
};

reads!(
    Attribution,
    Kind::Attribution,
    "Attributions",
    attribution_get,
    "Get an attribution",
    "/crm/v1/attributions/{id}",
    attributions_list,
    "List attributions",
    "/crm/v1/attributions",
    DirectoryRead "directory:read"
);
