//! Events: create, get, list.

mod create;

use model::{
    Permission,
    directory::Vendor,
    permission::{Group, Level},
    record::Kind,
    resources::event::{Event, EventCreate},
    write::Operation,
};
use utoipa::{ToSchema, openapi::HttpMethod};

use crate::{
    document::operation::{Component, Words},
    intake::{WriteOperation, echo, job},
    lists::{self, ReadOperation, Records},
    screening::Target,
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
    tag: "Events",
    words: Words {
        summary: "Create Event",
        description: "Finds the vendor from the integration and applies that vendor's rules.",
    },
    permission: Permission::of(Group::Events, Level::Write),
    target: Target::Generic,
    body: Component::of::<GenericEventCreate>(),
    schema: "EventCreate",
    prepare: |app, scope, draft| Box::pin(create::prepare(app, scope, draft)),
    answer: job(),
};

/// Creates an event at Knock.
pub const CREATE_KNOCK: WriteOperation = WriteOperation {
    id: "event_create_knock",
    path: "/crm/v1/events/knock",
    words: Words {
        summary: "Create Event: Knock",
        description: "Records what happened between a prospect and a community on the prospect's guest card. Knock records it and sends nothing. Should an answer of Knock's\nbe lost, the event is sent again and may stand on the card twice: Knock has no way to tell a repeat.",
    },
    target: Target::Of(Vendor::Knock),
    body: Component::of::<EventCreate>(),
    answer: echo(),
    ..CREATE
};

/// An event, whatever the vendor.
#[derive(ToSchema)]
#[schema(as = EventCreate)]
pub struct GenericEventCreate {}
