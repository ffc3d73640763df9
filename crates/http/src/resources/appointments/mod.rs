//! Appointments: create, get, list, update. When they are possible is asked in [`availability`].

pub mod availability;
pub mod update;

use connectors::component::Component;
use model::{
    Permission,
    permission::{Group, Level},
    record::Kind,
    resources::appointment::Appointment,
    write::Operation,
};
use utoipa::{ToSchema, openapi::HttpMethod};

use crate::{
    intake::WriteOperation,
    lists::{self, ReadOperation, Records},
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
    vendor_path: "/crm/v1/appointments/{vendor}",
    tag: "Appointments",
    summary: "Create Appointment",
    description: "Finds the vendor from the integration and applies that vendor's rules.",
    permission: Permission::of(Group::Appointments, Level::Write),
    body: Component::of::<GenericAppointmentCreate>(),
    find_subject: None,
};

/// A tour, whatever the vendor.
#[derive(ToSchema)]
#[schema(as = AppointmentCreate)]
#[expect(dead_code, reason = "the type stands for its schema")]
pub struct GenericAppointmentCreate {
    /// The prospect.
    prospect_id: Option<String>,
    /// The secondary phone number.
    phone_2: Option<String>,
}
