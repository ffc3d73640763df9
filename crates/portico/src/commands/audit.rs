//! `portico audit`

use std::sync::Arc;

use anyhow::bail;
use clap::Subcommand;
use model::{audit::Chain, key::hex};
use serde_json::json;
use store::Unobserved;

use crate::{commands::MasterKey, output, store_at::StoreArgs};

/// Entries that are read at once.
const ENTRIES_AT_ONCE: u32 = 1_000;

/// Checks the audit log. Works while a server runs.
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
    /// Follows the chain of hashes from the first entry to the last. Fails when an entry was changed, taken out or put in between.
    Verify {
        /// A hash that was noted before, as this command or the audit log showed it: fails unless the chain goes through it, so that what was cut off is noticed.
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let at = arguments.store.at()?;
    at.must_hold_data().await?;
    let source = arguments.master_key.source(&at)?;
    let store = at.open(source, Arc::new(Unobserved)).await?;
    let Command::Verify { head } = arguments.command;
    let wanted = head.map(|head| head.trim().to_ascii_lowercase());
    let mut chain = Chain::default();
    let mut is_met = wanted.is_none();
    let broken = loop {
        // One at a time when a hash is looked for: any entry may have it.
        let at_once = if is_met { ENTRIES_AT_ONCE } else { 1 };
        let (next, broken) = store.audit_follow(chain, at_once).await?;
        is_met = is_met || wanted.as_ref().is_some_and(|head| *head == hex(&next.head));
        let is_over = broken.is_some() || next == chain;
        chain = next;
        if is_over {
            break broken;
        }
    };
    store.close().await;
    let count = chain.count;
    if let Some(why) = broken {
        bail!("the audit log was tampered with. It holds up to entry {count}; then {why}");
    }
    if let (false, Some(head)) = (is_met, wanted) {
        bail!(
            "the audit log holds together, but no entry of it has the hash {head}: entries were cut off, or the log is another"
        );
    }
    let head = hex(&chain.head);
    if arguments.json {
        output::data(&json!({ "is_whole": true, "entries": count, "head": head }).to_string());
    } else {
        output::data(&format!(
            "The audit log is whole: {count} entries. The newest has the hash\n{head}\nNote it elsewhere: `portico audit verify --head` then tells whether anything was cut off since."
        ));
    }
    Ok(())
}
