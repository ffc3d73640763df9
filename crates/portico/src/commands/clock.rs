//! `portico clock`

use std::sync::Arc;

use clap::Subcommand;
use model::Clock as _;
use serde_json::json;
use store::Unobserved;

use crate::{
    clock::keeper, commands::MasterKey, output, server, store_at::StoreArgs, system::SystemClock,
};

/// Confirms that the machine's clock is right. Works while a server runs.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    master_key: MasterKey,
    /// Prints JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Confirms a jump ahead, so that what is old by the new time is given up or removed.
    Accept,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let at = arguments.store.at()?;
    at.must_hold_data().await?;
    let source = arguments.master_key.source(&at)?;
    let store = at.open(source, Arc::new(Unobserved)).await?;
    let Command::Accept = arguments.command;
    let now = SystemClock.now();
    // While no server runs, nobody else has noticed a jump.
    let confirmed = match keeper::note_jump(&store).await {
        Ok(()) => store.clock_accept(&server::operator(), now).await,
        Err(why) => Err(why),
    };
    store.close().await;
    let confirmed_s = confirmed? / 1_000_000;
    if arguments.json {
        output::data(&json!({ "confirmed_s": confirmed_s }).to_string());
    } else if confirmed_s == 0 {
        output::data("There is nothing to confirm: no jump ahead of the clock is noted.");
    } else {
        output::data(&format!(
            "Confirmed: the clock was rightly set ahead by {confirmed_s} s. A running server follows within two seconds."
        ));
    }
    Ok(())
}
