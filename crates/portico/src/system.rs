//! The real clock and the real randomness, the only readers of either in what ships; and what the
//! system lets the process have.

use model::{Clock, Entropy, Timestamp};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// The system's clock, for commands: a server has a [`ServerClock`](crate::clock::ServerClock).
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        crate::clock::machine::wall()
    }
}

/// The system's randomness.
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        #[expect(clippy::disallowed_methods, reason = "the one source of what ships")]
        let filled = getrandom::fill(&mut bytes);
        if let Err(why) = filled {
            // Without randomness tokens could be guessed: no work can go on.
            tracing::error!(%why, "the system gives no randomness");
            crate::logging::flush();
            std::process::abort();
        }
        bytes
    }
}

/// Lets a write beyond the limit of a file's size (`ulimit -f`) fail, as on a full disk, where it
/// would end the process. For a runtime to call.
pub(crate) fn survive_file_limits() -> std::io::Result<()> {
    let too_big = SignalKind::from_raw(Signal::XFSZ.as_raw());
    // The handler stays when the stream is dropped.
    signal(too_big).map(drop)
}

/// Open files that are asked for where the system names no limit.
const DESCRIPTORS_WANTED: u64 = 65_536;

/// How many files and connections the process may have open, after it has asked for all that it may ask for.
pub(crate) fn descriptors_raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let current = current.unwrap_or(DESCRIPTORS_WANTED);
    let wanted = maximum.unwrap_or(DESCRIPTORS_WANTED).max(current);
    let raised = Rlimit {
        current: Some(wanted),
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted,
        Err(why) => {
            tracing::debug!(%why, "the limit of open files could not be raised");
            current
        }
    }
}
