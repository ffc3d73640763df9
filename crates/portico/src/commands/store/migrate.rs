//! `portico store migrate`
//!
//! Guarantee: all steps are applied or none, and a schema that is up to date is left as it is. No master key is asked for.

use serde_json::json;

use crate::{output, store_at::StoreArgs};

/// Brings the schema up to date, which `serve` does by itself.
///
/// For who wants that done before a rolling upgrade, or by another user of PostgreSQL than the servers', who then need no right to change the schema. A data
/// directory must not be served meanwhile.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: StoreArgs,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let at = arguments.store.at()?;
    let _owned = at.own()?;
    let is_new = at.is_new().await?;
    let steps = at.migrate().await?;
    if is_new {
        output::note(&format!(
            "There was no Portico data in {}; it is made ready.",
            at.told()
        ));
    }
    if arguments.json {
        let steps: Vec<_> = steps
            .iter()
            .map(|step| json!({ "number": step.number, "name": step.name }))
            .collect();
        output::data(&json!({ "store": at.told(), "applied": steps }).to_string());
        return Ok(());
    }
    for step in steps {
        output::data(&format!("Step {} ({}) is applied.", step.number, step.name));
    }
    output::data(&format!("The schema of {} is up to date.", at.told()));
    Ok(())
}
