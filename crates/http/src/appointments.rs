//! Appointments: create, get, list. When they are possible is [`crate::availability`]'s.

use model::{
    Scope,
    directory::Vendor,
    record::Kind,
    resources::{
        appointment::{Appointment, AppointmentCreate, rules},
        prospect::Known,
    },
    write::{NewWrite, Operation},
};

use crate::{
    App,
    error::Error,
    intake::{self, Draft, Route, writes},
    lists::reads,
    openapi::{Accepted, Answer, GenericAccepted, GenericAppointmentCreate, PageAnswer},
    prospects,
};

reads!(
    Appointment,
    Kind::Appointment,
    "Appointments",
    appointment_get,
    "Get an appointment",
    "/crm/v1/appointments/{id}",
    appointments_list,
    "List appointments",
    "/crm/v1/appointments",
    AppointmentsRead "appointments:read"
);

writes! {
    /// Create Appointment: Knock
    ///
    /// Books a tour. Knock makes or finds the prospect by the contact. A second tour of the same person at the same community replaces the first: `outcome` in
    /// write-status is then `REPLACED`. A time that Knock does not offer ends as FAILURE, in Knock's words.
    post "/crm/v1/appointments/knock", appointment_create_knock, "Appointments", Operation::AppointmentCreate, Route::Of(Vendor::Knock), AppointmentsWrite "appointments:write", AppointmentCreate => Accepted
}

writes! {
    /// Create Appointment
    ///
    /// Finds the vendor from the integration and applies that vendor's rules.
    post "/crm/v1/appointments", appointment_create, "Appointments", Operation::AppointmentCreate, Route::Generic, AppointmentsWrite "appointments:write", GenericAppointmentCreate => GenericAccepted
}

/// Checks and maps an appointment.
pub(crate) async fn prepare_create(
    app: &App,
    scope: &Scope,
    draft: Draft,
) -> Result<NewWrite, Error> {
    let (vendor, screened) = intake::screened(app, scope, draft)?;
    let input: AppointmentCreate = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let now = app.clock.now();
    let checked = rules::check(input, vendor, &app.live.get(), scope, &broken, now);
    let mut appointment = screened.settle(checked)?;
    let email = appointment
        .email
        .as_ref()
        .map(|email| ("email_1", email.as_str().to_owned()));
    let phone = appointment
        .phone
        .as_ref()
        .map(|phone| ("phone_1", phone.as_str().to_owned()));
    for (name, value) in email.into_iter().chain(phone) {
        let known = prospects::having(app, scope, &appointment.community, (name, &value)).await?;
        appointment.known.extend(known.iter().filter_map(Known::of));
    }
    let prepared = intake::connector(app, vendor)?.appointment_create(&appointment);
    let of = (appointment.integration.id, appointment.community.id);
    intake::new_write(
        app,
        Operation::AppointmentCreate,
        of,
        &appointment.input,
        prepared,
    )
}
