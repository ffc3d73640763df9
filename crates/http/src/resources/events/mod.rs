//! Events: create, get, list.

use connectors::component::Component;
use model::{
    Permission,
    permission::{Group, Level},
    record::Kind,
    resources::event::Event,
    write::Operation,
};
use utoipa::{ToSchema, openapi::HttpMethod};

use crate::{
    intake::WriteOperation,
    lists::{self, ReadOperation, Records},
};

/// Events as they are read.
pub const RECORDS: Records = Records {
    kind: Kind::Event,
    tag: "Events",
    permission: Permission::of(Group::Events, Level::Read),
    get: ReadOperation {
        id: "event_get",
        path: "/crm/v1/events/{id}",
        summary: "Get an event",
    },
    list: ReadOperation {
        id: "events_list",
        path: "/crm/v1/events",
        summary: "List events",
    },
    routes: lists::routes::<Event>,
};

/// Creates an event at the vendor of its integration.
pub const CREATE: WriteOperation = WriteOperation {
    id: "event_create",
    operation: Operation::EventCreate,
    method: HttpMethod::Post,
    path: "/crm/v1/events",
    vendor_path: "/crm/v1/events/{vendor}",
    tag: "Events",
    summary: "Create Event",
    description: "Finds the vendor from the integration and applies that vendor's rules.",
    permission: Permission::of(Group::Events, Level::Write),
    body: Component::of::<GenericEventCreate>(),
    find_subject: None,
};

/// An event, whatever the vendor.
#[derive(ToSchema)]
#[schema(as = EventCreate)]
#[expect(dead_code, reason = "the type stands for its schema")]
pub struct GenericEventCreate {
    /// Several events at once.
    #[schema(value_type = Option<Vec<Object>>, max_items = 100)]
    events: Option<Vec<()>>,
}
