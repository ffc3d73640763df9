//! What each vendor can do, as tables for people.
//!
//! Guarantee: made from the definitions by which the server itself works, so that a table that is
//! checked says nothing that is not so.

use model::write::Operation;

use crate::{
    connector::Connector,
    registry::Registry,
    write_operation::{IfUnknown, WriteOperation},
};

/// What a vendor may be able to do, in words, and what of that one is.
type Row = (&'static str, fn(&Connector) -> Option<String>);

const ROWS: [Row; 9] = [
    ("create a prospect", |one| {
        write(one, Operation::ProspectCreate)
    }),
    ("change a prospect", |one| {
        write(one, Operation::ProspectUpdate)
    }),
    ("record an event", |one| write(one, Operation::EventCreate)),
    ("book a tour", |one| {
        write(one, Operation::AppointmentCreate)
    }),
    ("make a listing known", |one| {
        write(one, Operation::ListingCreate)
    }),
    ("ask when tours are possible", |one| {
        fetch(one.definition().availability.is_some())
    }),
    ("read lead sources", |one| {
        fetch(one.connections().attributions.is_some())
    }),
    ("read prospects back", |one| {
        fetch(one.connections().prospect.is_some())
    }),
    ("calls take a token", |one| {
        fetch(one.connections().token.is_some())
    }),
];

fn fetch(is_there: bool) -> Option<String> {
    is_there.then(|| "yes".to_owned())
}

fn write(connector: &Connector, operation: Operation) -> Option<String> {
    let operation: &WriteOperation = connector.operation(operation)?;
    let unknown = match operation.if_unknown {
        IfUnknown::Repeat => "an unknown outcome is repeated",
        IfUnknown::RepeatTwiceAtWorst => {
            "an unknown outcome is repeated, and may then stand there twice"
        }
        IfUnknown::Resolve(_) => "an unknown outcome is looked up first",
        IfUnknown::NeverRepeat => "an unknown outcome is a failure, never repeated",
    };
    let follow_up = match operation.follow_up {
        Some(_) => "; a match is followed up",
        None => "",
    };
    Some(format!("yes; {unknown}{follow_up}"))
}

/// What one vendor can do: a Markdown table.
pub fn capabilities(connector: &Connector) -> String {
    let mut table = String::from("| | |\n| --- | --- |\n");
    for (what, of) in ROWS {
        let cell = of(connector).unwrap_or_else(|| "no: 405".to_owned());
        table.push_str(&format!("| {what} | {cell} |\n"));
    }
    table
}

/// What every vendor can do: a Markdown table with a column for each.
pub fn matrix(registry: &Registry) -> String {
    let all: Vec<&Connector> = registry.connectors().collect();
    let titles = all
        .iter()
        .map(|one| format!(" {} |", one.definition().title));
    let mut table = format!("| |{}\n| --- |", titles.collect::<String>());
    table.push_str(&" --- |".repeat(all.len()));
    table.push('\n');
    for (what, of) in ROWS {
        let cells = all
            .iter()
            .map(|one| if of(one).is_some() { " yes |" } else { " no |" });
        table.push_str(&format!("| {what} |{}\n", cells.collect::<String>()));
    }
    table
}
