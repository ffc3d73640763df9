//! Prospects: create, update, get, list.

use connectors::component::Component;
use model::{
    Permission,
    permission::{Group, Level},
    record::Kind,
    resources::prospect::Prospect,
    write::Operation,
};
use utoipa::{ToSchema, openapi::HttpMethod};

use crate::{
    intake::{WriteOperation, records},
    lists::{self, ReadOperation, Records},
};

/// Prospects as they are read.
pub const RECORDS: Records = Records {
    kind: Kind::Prospect,
    tag: "Prospects",
    permission: Permission::of(Group::Prospects, Level::Read),
    get: ReadOperation {
        id: "prospect_get",
        path: "/crm/v1/prospects/{id}",
        summary: "Get a prospect\n\nA prospect exists once its vendor has confirmed it.",
    },
    list: ReadOperation {
        id: "prospects_list",
        path: "/crm/v1/prospects",
        summary: "List prospects",
    },
    routes: lists::routes::<Prospect>,
};

/// Creates a prospect at the vendor of its integration.
pub const CREATE: WriteOperation = WriteOperation {
    id: "prospect_create",
    operation: Operation::ProspectCreate,
    method: HttpMethod::Post,
    path: "/crm/v1/prospects",
    vendor_path: "/crm/v1/prospects/{vendor}",
    tag: "Prospects",
    summary: "Create Prospect",
    description: "Finds the vendor from the integration and applies that vendor's rules.",
    permission: Permission::of(Group::Prospects, Level::Write),
    body: Component::of::<GenericProspectCreate>(),
    find_subject: None,
};

/// Updates a prospect at its vendor.
pub const UPDATE: WriteOperation = WriteOperation {
    id: "prospect_update",
    operation: Operation::ProspectUpdate,
    method: HttpMethod::Put,
    path: "/crm/v1/prospects/{id}",
    vendor_path: "/crm/v1/prospects/{vendor}/{prospect_id}",
    summary: "Update Prospect",
    description: "Finds the vendor from the prospect and applies that vendor's rules.",
    body: Component::of::<GenericProspectUpdate>(),
    find_subject: Some(records::subject),
    ..CREATE
};

/// The fields that a prospect may have at any vendor and that Knock has none of.
#[derive(ToSchema)]
#[schema(as = ProspectCreate)]
#[expect(dead_code, reason = "the type stands for its schema")]
pub struct GenericProspectCreate {
    /// The source, in words.
    prospect_source: Option<String>,
    /// The secondary phone number.
    phone_2: Option<String>,
    /// The middle name.
    middle_name: Option<String>,
    /// The second address line.
    address_2: Option<String>,
    /// The country.
    country: Option<String>,
    /// How the prospect prefers to be reached.
    preferred_contact_method: Option<String>,
}

/// What to change on a prospect, whatever its vendor.
#[derive(ToSchema)]
#[schema(as = ProspectUpdate)]
pub struct GenericProspectUpdate {}
