//! Tools for the tests of several crates: PostgreSQL, as a [`Server`] of its own or a [`Database`]
//! of its own on the server that tests share, which the benchmark uses too; and the [`sources`] of a
//! crate, for tests of its structure.
//!
//! Guarantee: what is started here ends with the process that it was started for, however that ends, and leaves no file behind. No server listens to other
//! machines, and none is open to other users of this one.
//!
//! It knows nothing about Portico and no other crate of the workspace, so that any of them may use it in its tests, and none is built for that.

pub mod client;
mod database;
mod keeper;
mod programs;
mod server;
pub mod sources;

use std::env;

pub use database::Database;
pub use server::{Options, Server};

/// Says that a test did not run for want of something.
///
/// # Panics
/// In continuous integration (`CI=true`), where whatever cannot be tested is a failure.
#[expect(
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that did not run must not look like one that passed"
)]
pub fn not_tested(why: &str) {
    let is_ci = env::var("CI").is_ok_and(|ci| !ci.is_empty() && ci != "false");
    if is_ci {
        panic!("NOT TESTED: {why}");
    }
    eprintln!("NOT TESTED: {why}");
}

/// Random bits that differ at every call, as 16 hexadecimal digits: for names that nobody else uses, and passwords that nobody guesses.
fn random() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // The keys of hash maps are the one random source of the standard library; SipHash spreads what is drawn once a thread and then counted up.
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
