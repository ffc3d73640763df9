//! `portico store`: what is done to a database as a whole, a file a command.

mod check;
mod copy;
mod migrate;
mod sides;

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
    /// Copies everything from SQLite into an empty PostgreSQL database, while the server is stopped.
    ///
    /// All of it or nothing: it ends with the comparison that `check` makes, before anything is committed. The data directory stays as it is. No master key is asked for, since secrets are
    /// copied as they are sealed.
    Copy(sides::Arguments),
    /// Compares what SQLite and PostgreSQL hold, value by value. Fails when that is not the same, and says where.
    Check(sides::Arguments),
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Migrate(arguments) => migrate::run(arguments).await,
        Command::Copy(arguments) => copy::run(arguments).await,
        Command::Check(arguments) => check::run(arguments).await,
    }
}
