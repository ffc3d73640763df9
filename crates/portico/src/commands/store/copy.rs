//! `portico store copy`
//!
//! Guarantee: everything is in the database or nothing, and that it is the same was looked at before it was committed. The data directory stays as it is.

use model::Clock;

use super::sides::{Arguments, tell};
use crate::{output, system::SystemClock};

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let sides = arguments.sides()?;
    let (source, target, now) = (
        sides.source.clone(),
        sides.target.clone(),
        SystemClock.now(),
    );
    let copying =
        tokio::task::spawn_blocking(move || store::copy::copy(&source, &target, now, &mut tell));
    let report = copying.await??;
    let shown = sides.show(&report);
    shown.map_err(|why| why.context("nothing was copied"))?;
    output::note(&format!(
        "Secrets are sealed as they were: start the servers with the same master key, and with the database as --store. Start none on {} again, which does not learn what happens from \
         now on. It stays as it is until you remove it, with people's data in it.",
        sides.directory().display()
    ));
    Ok(())
}
