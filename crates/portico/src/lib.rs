//! Portico: the open front door to leasing CRMs, as one binary.
//!
//! Data goes to stdout, everything else to stderr. A build with vendors of its own is a program that
//! calls [`run`] with them.

mod audit_heads;
mod clock;
mod commands;
mod data_dir;
mod listen_at;
mod logging;
mod master_key;
mod output;
mod private_file;
mod server;
mod settings;
mod signals;
mod store_at;
mod system;
mod text_file;
mod vendors;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use connectors::connector::Definition;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The open, self-hosted front door to leasing CRMs.
#[derive(Parser)]
#[command(name = "portico", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the server together with a vendor's sandbox, ready to try.
    Dev(commands::dev::Arguments),
    /// Runs the server.
    Serve(commands::serve::Arguments),
    /// Runs a vendor's sandbox alone.
    Sandbox(commands::sandbox::Arguments),
    /// Makes, lists, rotates and revokes API keys.
    Keys(commands::keys::Arguments),
    /// Looks after the database: its schema, and its move to PostgreSQL.
    Store(commands::store::Arguments),
    /// Checks the audit log.
    Audit(commands::audit::Arguments),
    Backup(commands::backup::Arguments),
    /// Confirms that the machine's clock is right.
    Clock(commands::clock::Arguments),
    /// Looks for what is wrong, and says how to mend it.
    Doctor(commands::doctor::Arguments),
    /// Forwards a server's events to a receiver on this machine.
    Listen(commands::listen::Arguments),
    /// Prints the OpenAPI document.
    Openapi(commands::openapi::Arguments),
}

/// Runs the command that the process was started with, for these vendors, the first of which is the
/// one that is tried unless another is named.
pub fn run(vendors: &'static [&'static Definition]) -> ExitCode {
    vendors::set(vendors);
    let arguments: Arguments = settings::parse();
    let _flush = match logging::start() {
        Ok(flush) => flush,
        Err(why) => return output::failed(&why),
    };
    settings::warn_of_unknown();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(why) => return output::failed(&why.into()),
    };
    let ended = runtime.block_on(async {
        let _ = system::survive_file_limits();
        match arguments.command {
            Command::Dev(arguments) => commands::dev::run(arguments).await,
            Command::Serve(arguments) => commands::serve::run(arguments).await,
            Command::Sandbox(arguments) => commands::sandbox::run(arguments).await,
            Command::Keys(arguments) => commands::keys::run(arguments).await,
            Command::Store(arguments) => commands::store::run(arguments).await,
            Command::Audit(arguments) => commands::audit::run(arguments).await,
            Command::Backup(arguments) => commands::backup::run(arguments).await,
            Command::Clock(arguments) => commands::clock::run(arguments).await,
            Command::Doctor(arguments) => commands::doctor::run(arguments).await,
            Command::Listen(arguments) => commands::listen::run(arguments).await,
            Command::Openapi(arguments) => commands::openapi::run(&arguments),
        }
    });
    // A name that is still looked up, for a call that was broken off, holds nothing up.
    runtime.shutdown_background();
    match ended {
        Ok(()) => output::finish(),
        Err(why) => output::failed(&why),
    }
}
