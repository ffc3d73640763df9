//! `portico audit`

use std::path::PathBuf;

use anyhow::bail;
use clap::Subcommand;
use model::{audit::Chain, hex};
use serde_json::json;
use store::Store;

use crate::{
    audit_heads::{self, Note},
    commands::MasterKey,
    output,
    store_at::StoreArgs,
};

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
    /// Follows the chain of hashes from the first entry to the last, and checks the MAC of each. Fails when an entry was changed, taken out or put in between, also
    /// when the chain was made anew by somebody without the master key.
    ///
    /// Entries that an earlier version wrote have no MAC; the first MAC behind them covers them from then on. What was cut off at the end shows only against a
    /// hash that was noted elsewhere: see --head and --head-file.
    Verify {
        /// A hash that was noted before, as this command or the audit log showed it: fails unless the chain goes through it, so that what was cut off is noticed.
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
        /// A file of hashes that `serve --audit-head-file` noted: fails unless the chain goes through each at its place.
        #[arg(long, value_name = "FILE")]
        head_file: Option<PathBuf>,
    },
}

/// What must be met on the way.
struct Wanted {
    /// A hash anywhere.
    head: Option<String>,
    /// Hashes at places that are still ahead, the nearest last.
    notes: Vec<Note>,
}

impl Wanted {
    /// Entries to read at once, so that the chain stops wherever something may be met.
    fn at_once(&self, chain: &Chain) -> u32 {
        if self.head.is_some() {
            return 1;
        }
        let to_next = self.notes.last().map(|note| note.place - chain.count);
        let to_next = to_next.and_then(|count| u32::try_from(count).ok());
        to_next.unwrap_or(ENTRIES_AT_ONCE).min(ENTRIES_AT_ONCE)
    }

    /// Looks at where the chain is.
    ///
    /// # Errors
    /// When another hash was noted for this place.
    fn meet(&mut self, chain: &Chain) -> anyhow::Result<()> {
        let here = hex::encode(&chain.head);
        self.head.take_if(|head| *head == here);
        if let Some(note) = self.notes.pop_if(|note| note.place == chain.count)
            && note.hash != here
        {
            bail!(
                "the audit log is not the one that was noted: entry {} had the hash {}, and has {here}",
                note.place,
                note.hash
            );
        }
        Ok(())
    }
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Command::Verify { head, head_file } = arguments.command;
    let mut notes = head_file
        .as_deref()
        .map(audit_heads::read)
        .transpose()?
        .unwrap_or_default();
    if let Some(path) = &head_file
        && notes.is_empty()
    {
        bail!(
            "no head is noted in {}: either nothing was, or its lines were removed. Nothing can be compared with it",
            path.display()
        );
    }
    let noted = notes.len() + usize::from(head.is_some());
    notes.reverse();
    let wanted = Wanted {
        head: head.map(|head| head.trim().to_ascii_lowercase()),
        notes,
    };
    let at = arguments.store.at()?;
    at.must_hold_data().await?;
    let source = arguments.master_key.source(&at)?;
    let store = at.open_to_verify(source).await?;
    let verified = verify(&store, wanted).await;
    store.close().await;
    let chain = verified?;
    let (count, head) = (chain.count, hex::encode(&chain.head));
    let without_mac = count - chain.with_mac;
    if arguments.json {
        let shown = json!({
            "is_whole": true, "entries": count, "with_mac": chain.with_mac, "without_mac": without_mac,
            "head": head, "noted_heads": noted,
        });
        output::data(&shown.to_string());
    } else {
        output::data(&told(&chain, &head, noted));
    }
    Ok(())
}

/// Follows the chain to its end.
async fn verify(store: &Store, mut wanted: Wanted) -> anyhow::Result<Chain> {
    let mut chain = Chain::default();
    loop {
        let (next, broken) = store.audit_follow(chain, wanted.at_once(&chain)).await?;
        if let Some(why) = broken {
            bail!(
                "the audit log was tampered with. It holds up to entry {}; then {why}",
                next.count
            );
        }
        let is_over = next.count == chain.count;
        chain = next;
        wanted.meet(&chain)?;
        if is_over {
            break;
        }
    }
    if let Some(head) = wanted.head {
        bail!(
            "the audit log holds together, but no entry of it has the hash {head}: entries were cut off, or the log is another"
        );
    }
    if let Some(note) = wanted.notes.first() {
        bail!(
            "the audit log holds together and ends with entry {}, but entry {} was noted: entries were cut off",
            chain.count,
            note.place
        );
    }
    Ok(chain)
}

/// What the check proves, and what it does not.
fn told(chain: &Chain, head: &str, noted: usize) -> String {
    let count = chain.count;
    let without_mac = count - chain.with_mac;
    let proved = match (without_mac, chain.with_mac) {
        (0, 0) => "There is nothing in it yet.".to_owned(),
        (0, _) => {
            "Every entry has a MAC: nobody without the master key changed one, added one, or removed one from between them."
                .to_owned()
        }
        (_, 0) => format!(
            "No entry has a MAC: whoever can write to the database could have made all {count} anew."
        ),
        (_, _) => format!(
            "Entries {} to {count} have a MAC: since the first of these nobody without the master key changed an entry, added one, or removed one from between them. \
             Entries 1 to {without_mac} are from before: until then whoever could write to the database could have made them anew.",
            without_mac + 1
        ),
    };
    format!(
        "The audit log is whole: {count} {}.\n{proved}\n{}The newest has the hash\n{head}\nNote it elsewhere: `portico audit verify --head` then tells whether anything was cut off since.",
        if count == 1 { "entry" } else { "entries" },
        match noted {
            0 => String::new(),
            1 => "It goes through the head that was noted.\n".to_owned(),
            some => format!("It goes through all {some} heads that were noted.\n"),
        }
    )
}
