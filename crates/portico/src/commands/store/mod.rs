//! `portico store`: what is done to a database as a whole, a file a command.

mod migrate;

use clap::Subcommand;

/// Looks after the database as a whole.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Migrate(migrate::Arguments),
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Migrate(arguments) => migrate::run(arguments).await,
    }
}
