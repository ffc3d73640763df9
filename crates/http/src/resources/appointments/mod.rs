//! Appointments: create, get, list. When they are possible is asked in [`availability`].

pub mod availability;
mod create;

use model::{
    Permission,
    directory::Vendor,
    permission::{Group, Level},
    record::Kind,
    resources::appointment::{Appointment, AppointmentCreate},
    write::Operation,
};
use utoipa::{ToSchema, openapi::HttpMethod};

use crate::{
    document::operation::{Component, Words},
    intake::{WriteOperation, echo, job},
    lists::{self, ReadOperation, Records},
    screening::Target,
};

/// Appointments as they are read.
pub const RECORDS: Records = Records {
    kind: Kind::Appointment,
    tag: "Appointments",
    permission: Permission::of(Group::Appointments, Level::Read),
    get: ReadOperation {
        id: "appointment_get",
        path: "/crm/v1/appointments/{id}",
        summary: "Get an appointment",
    },
    list: ReadOperation {
        id: "appointments_list",
        path: "/crm/v1/appointments",
        summary: "List appointments",
    },
    routes: lists::routes::<Appointment>,
};

/// Creates an appointment at the vendor of its integration.
pub const CREATE: WriteOperation = WriteOperation {
    id: "appointment_create",
    operation: Operation::AppointmentCreate,
    method: HttpMethod::Post,
    path: "/crm/v1/appointments",
    tag: "Appointments",
    words: Words {
        summary: "Create Appointment",
        description: "Finds the vendor from the integration and applies that vendor's rules.",
    },
    permission: Permission::of(Group::Appointments, Level::Write),
    target: Target::Generic,
    body: Component::of::<GenericAppointmentCreate>(),
    schema: "AppointmentCreate",
    prepare: |app, scope, draft| Box::pin(create::prepare(app, scope, draft)),
    answer: job(),
};

/// Creates an appointment at Knock.
pub const CREATE_KNOCK: WriteOperation = WriteOperation {
    id: "appointment_create_knock",
    path: "/crm/v1/appointments/knock",
    words: Words {
        summary: "Create Appointment: Knock",
        description: "Books a tour. Knock makes or finds the prospect by the contact. A second tour of the same person at the same community replaces the first: `outcome` in\nwrite-status is then `REPLACED`. A time that Knock does not offer ends as FAILURE, in Knock's words.",
    },
    target: Target::Of(Vendor::Knock),
    body: Component::of::<AppointmentCreate>(),
    answer: echo(),
    ..CREATE
};

/// A tour, whatever the vendor.
#[derive(ToSchema)]
#[schema(as = AppointmentCreate)]
pub struct GenericAppointmentCreate {}
