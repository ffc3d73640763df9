//! `portico store check`
//!
//! Guarantee: nothing is changed on either side.

use super::sides::{Arguments, tell};

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let sides = arguments.sides()?;
    let (source, target) = (sides.source.clone(), sides.target.clone());
    let checking =
        tokio::task::spawn_blocking(move || store::copy::check(&source, &target, &mut tell));
    let report = checking.await??;
    sides.show(&report)
}
