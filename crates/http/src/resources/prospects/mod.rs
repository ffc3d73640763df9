//! Prospects: create, update, get, list.

mod create;
pub(crate) mod known;
mod update;

use model::{
    Permission,
    directory::Vendor,
    permission::{Group, Level},
    record::Kind,
    resources::prospect::{Prospect, ProspectCreate, ProspectUpdate},
    write::Operation,
};
use utoipa::{ToSchema, openapi::HttpMethod};

use crate::{
    document::operation::{Component, Words},
    intake::{WriteOperation, echo, job},
    lists::{self, ReadOperation, Records},
    screening::Target,
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
    tag: "Prospects",
    words: Words {
        summary: "Create Prospect",
        description: "Finds the vendor from the integration and applies that vendor's rules.",
    },
    permission: Permission::of(Group::Prospects, Level::Write),
    target: Target::Generic,
    body: Component::of::<GenericProspectCreate>(),
    schema: "ProspectCreate",
    prepare: |app, scope, draft| Box::pin(create::prepare(app, scope, draft)),
    answer: job(),
};

/// Creates a prospect at Knock.
pub const CREATE_KNOCK: WriteOperation = WriteOperation {
    id: "prospect_create_knock",
    path: "/crm/v1/prospects/knock",
    words: Words {
        summary: "Create Prospect: Knock",
        description: "Takes a prospect into custody, answers once it is on stable storage, then writes it to Knock and keeps at it until the outcome is known.",
    },
    target: Target::Of(Vendor::Knock),
    body: Component::of::<ProspectCreate>(),
    answer: echo(),
    ..CREATE
};

/// Updates a prospect at its vendor.
pub const UPDATE: WriteOperation = WriteOperation {
    id: "prospect_update",
    operation: Operation::ProspectUpdate,
    method: HttpMethod::Put,
    path: "/crm/v1/prospects/{id}",
    words: Words {
        summary: "Update Prospect",
        description: "Finds the vendor from the prospect and applies that vendor's rules.",
    },
    body: Component::of::<GenericProspectUpdate>(),
    schema: "ProspectUpdate",
    prepare: |app, scope, draft| Box::pin(update::prepare(app, scope, draft)),
    ..CREATE
};

/// Updates a prospect at Knock.
pub const UPDATE_KNOCK: WriteOperation = WriteOperation {
    id: "prospect_update_knock",
    path: "/crm/v1/prospects/knock/{prospect_id}",
    words: Words {
        summary: "Update Prospect: Knock",
        description: "Changes what Knock changes on a guest card that exists. Updates of one prospect arrive in the order accepted. While a write is open that may give the\ncard other contacts, an update is refused with 409: send it again once that write has ended.",
    },
    target: Target::Of(Vendor::Knock),
    body: Component::of::<ProspectUpdate>(),
    answer: echo(),
    ..UPDATE
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
