//! The frame of a vendor's sandbox: a stateful imitation of its HTTP API, with a control surface.
//!
//! A vendor adds an [`Imitation`]: how its calls are read and answered. The frame is the server, the
//! faults that befall calls, the log of what was received, and the control surface by which tests and
//! people drive every sandbox alike. Guarantee: it fails only in the ways and as often as it was told
//! to; nothing that arrives over the network makes it panic, or grow without a bound, except what the
//! vendor is to hold, which is the point of it.

mod calls;
pub mod control;
pub(crate) mod faults;
mod pages;
pub mod reply;
pub(crate) mod request_log;
pub(crate) mod server;
mod under_way;

use std::{
    fmt,
    future::Future,
    io,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, Method, StatusCode};
use model::{Clock, Timestamp};
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;

pub use self::faults::{Fault, FaultKind, FaultMatch};
use self::{
    control::{Control, Wrong},
    faults::Faults,
    reply::Reply,
    request_log::RequestLog,
    under_way::UnderWay,
};

/// The largest request body, in bytes. Gateways of this kind allow a few MiB; no guest card comes
/// near one.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

/// A body above the bound; it was not read.
pub(crate) struct TooLarge;

/// How a vendor's answers look, and what of its calls is secret.
pub struct Form {
    /// The headers that a secret may come in: masked in the log of requests.
    pub secret_headers: &'static [&'static str],
    /// Members of bodies that are secret, wherever they stand: masked likewise.
    pub secret_members: &'static [&'static str],
    /// Other headers worth showing in the log.
    pub shown_headers: &'static [&'static str],
    /// The vendor's way to say what is wrong.
    pub error: fn(&str) -> Value,
    /// What a missing and what a wrong key get.
    pub bad_key: (StatusCode, &'static str),
    /// A body that stops in the middle, as a broken proxy leaves it.
    pub malformed_body: &'static str,
}

impl Form {
    /// An answer that says what is wrong.
    pub fn error(&self, status: StatusCode, words: &str) -> Reply {
        Reply::json(status, &(self.error)(words))
    }

    /// The answer to a missing or wrong key.
    pub fn bad_key(&self) -> Reply {
        Reply::new(self.bad_key.0, self.bad_key.1)
    }
}

/// A call as it was received.
pub struct Received<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, without the query.
    pub path: &'a str,
    /// The query; empty when there is none.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body; none when it was larger than [`BODY_MAX_BYTES`].
    pub body: Option<&'a [u8]>,
}

/// How many calls were received since the start or the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallCounts {
    /// Calls to the vendor, whatever became of them.
    pub requests: u64,
    /// The most calls that were under way at once, those that only read left out.
    pub changes_at_once_max: u64,
}

/// What a card that was forgotten leaves to be removed from the log of requests.
pub struct Forgotten {
    /// How the paths of calls about it begin.
    pub path: String,
    /// Its contacts.
    pub contacts: Vec<String>,
}

/// A vendor, imitated: what is its alone.
pub trait Imitation: Send + Sync + 'static {
    /// What changes while it runs.
    type State: Send;
    /// A call, as far as the request alone tells.
    type Call: Send;
    /// How much it holds and has done.
    type Counts: Serialize;

    /// How its answers look.
    const FORM: Form;

    /// The words for what [`Imitation::control`] knows.
    const CONTROLS: &'static str;

    /// Reads a call, without what was held or is held by then.
    fn read(&self, received: &Received<'_>) -> Self::Call;

    /// Does what a call asks for, and answers it. A call that is refused has changed nothing.
    fn answer(&self, state: &mut Self::State, call: Self::Call, now: Timestamp) -> Reply;

    /// The community that a call is about, known or not.
    fn community_of<'a>(&self, state: &'a Self::State, call: &'a Self::Call) -> Option<&'a str>;

    /// All that is held, as `GET /_sandbox/state` shows it.
    fn shown(&self, state: &Self::State) -> Reply;

    /// How much is held and was done.
    fn counts(&self, state: &Self::State, calls: CallCounts) -> Self::Counts;

    /// Answers a call of the control surface that no other sandbox has; `None` when it does not know it.
    fn control(
        &self,
        state: &mut Self::State,
        control: &Control<'_>,
        now: Timestamp,
    ) -> Option<Result<Reply, Wrong>>;

    /// Back to what it held at first.
    ///
    /// # Errors
    /// When its journal cannot be written; the state is as at first all the same.
    fn reset(&self, state: &mut Self::State) -> io::Result<()>;

    /// Forgets a prospect for good, as a vendor does when it is asked to by letter.
    ///
    /// # Errors
    /// When its journal cannot be written; then nothing is forgotten.
    fn forget(&self, state: &mut Self::State, x_id: &str) -> io::Result<Option<Forgotten>>;

    /// The communities that it has, with who and what there is at them.
    fn seeded(&self) -> Seeded;
}

/// A vendor's sandbox, as a build has it.
pub struct SandboxDefinition {
    /// Opens one.
    pub open: fn(SandboxSetup) -> Result<Arc<dyn AnySandbox>, Error>,
    /// Credentials that it takes, as JSON: published by the vendor or made up, so no secret.
    pub credentials: &'static str,
    /// A first prospect to try it with, as JSON: `{integration}`, `{community}` and `{attribution}`
    /// stand for ids.
    pub first_prospect: &'static str,
}

/// How a sandbox is set up.
pub struct SandboxSetup {
    /// The file that makes what it holds outlive a restart; none keeps it in memory only.
    pub journal: Option<PathBuf>,
    /// Where the present time comes from.
    pub clock: Arc<dyn Clock>,
    /// What every call takes at least, in milliseconds.
    pub latency_ms: u64,
}

/// A sandbox, whatever its vendor.
pub trait AnySandbox: Send + Sync + 'static {
    /// Answers on `listener` until `stop` resolves. See [`Sandbox::serve`].
    fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    /// Forgets a prospect. See [`Sandbox::forget`].
    ///
    /// # Errors
    /// When the journal cannot be written anew.
    fn forget(&self, x_id: &str) -> io::Result<()>;

    /// The communities that it has, with who and what there is at them.
    fn seeded(&self) -> Seeded;
}

impl<V: Imitation> AnySandbox for Sandbox<V> {
    fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        let sandbox = (*self).clone();
        Box::pin(Self::serve(sandbox, listener, stop))
    }

    fn forget(&self, x_id: &str) -> io::Result<()> {
        Self::forget(self, x_id)
    }

    fn seeded(&self) -> Seeded {
        self.inner.imitation.seeded()
    }
}

/// What a sandbox was seeded with, by the vendor's ids.
#[derive(Default)]
pub struct Seeded {
    /// Its communities.
    pub communities: Vec<SeededCommunity>,
    /// Its lead sources.
    pub attributions: Vec<SeededMember>,
    /// Its agents.
    pub agents: Vec<SeededMember>,
}

/// A community.
pub struct SeededCommunity {
    /// Its id.
    pub x_id: String,
    /// Its name.
    pub name: String,
    /// Its IANA time zone.
    pub timezone: String,
}

/// A lead source or an agent.
pub struct SeededMember {
    /// Its id.
    pub x_id: String,
    /// Its name.
    pub name: String,
    /// The ids of the communities that it is of.
    pub x_community_ids: Vec<String>,
}

/// Everything that changes while a sandbox runs, behind one lock.
struct State<V: Imitation> {
    own: V::State,
    faults: Faults,
    log: RequestLog,
    /// Calls that may change something.
    changing: UnderWay,
}

struct Inner<V: Imitation> {
    imitation: V,
    clock: Arc<dyn Clock>,
    latency_ms: u64,
    state: Mutex<State<V>>,
}

/// A handle on one sandbox. Clones share the state.
pub struct Sandbox<V: Imitation> {
    inner: Arc<Inner<V>>,
}

impl<V: Imitation> Clone for Sandbox<V> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<V: Imitation> Sandbox<V> {
    /// A sandbox around an imitation and what it holds. Every call takes `latency_ms` at least, after
    /// the work and before the answer.
    pub fn around(imitation: V, own: V::State, clock: Arc<dyn Clock>, latency_ms: u64) -> Self {
        let state = State {
            own,
            faults: Faults::default(),
            log: RequestLog::default(),
            changing: UnderWay::default(),
        };
        Self {
            inner: Arc::new(Inner {
                imitation,
                clock,
                latency_ms,
                state: Mutex::new(state),
            }),
        }
    }

    /// Answers on `listener` until `stop` resolves, then lets calls in progress finish for a moment
    /// (half a second) and drops the rest.
    ///
    /// # Errors
    /// Never at present; a failing accept is retried, as a full file table heals.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        server::run(self, listener, stop).await
    }

    /// Everything held, in the shape of `GET /_sandbox/state`. Takes seconds with hundreds of thousands of
    /// cards, and no call is answered meanwhile; [`Sandbox::counts`] is quick with any number.
    pub fn state(&self) -> Value {
        let shown = self.inner.imitation.shown(&self.lock().own);
        serde_json::from_slice(&shown.body).unwrap_or_default()
    }

    /// How much is held and was done.
    pub fn counts(&self) -> V::Counts {
        let state = self.lock();
        let calls = CallCounts {
            requests: state.log.total(),
            changes_at_once_max: state.changing.most(),
        };
        self.inner.imitation.counts(&state.own, calls)
    }

    /// Arranges a fault and returns its id. Out of range members are used at the nearest bound.
    pub fn add_fault(&self, fault: Fault) -> u64 {
        self.lock().faults.add(fault)
    }

    /// Forgets every fault.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// Back to the seeded state: nothing held, no requests or faults, settings as at the start, journal
    /// emptied. Ids go on from where they were.
    pub fn reset(&self) {
        if let Err(error) = self.try_reset() {
            tracing::error!(%error, "the sandbox was reset but its journal was not");
        }
    }

    fn try_reset(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.faults.clear();
        state.log.clear();
        state.changing.forget();
        self.inner.imitation.reset(&mut state.own)
    }

    /// Forgets the prospect with this id, if there is one, and all that belongs to it: in the state, in
    /// the log of requests, and in the journal, which takes as long to write as to read.
    ///
    /// # Errors
    /// When the journal cannot be written anew; then the old one stands.
    pub fn forget(&self, x_id: &str) -> io::Result<()> {
        let mut state = self.lock();
        if let Some(forgotten) = self.inner.imitation.forget(&mut state.own, x_id)? {
            state.log.forget(&forgotten.path, &forgotten.contacts);
        }
        Ok(())
    }

    fn form(&self) -> &'static Form {
        const { &V::FORM }
    }

    fn lock(&self) -> MutexGuard<'_, State<V>> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Imitation> fmt::Debug for Sandbox<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

/// Why a sandbox cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The seed contradicts itself.
    #[error("the seed of the sandbox cannot be used: {0}")]
    Seed(String),
    /// The journal cannot be opened, read or repaired.
    #[error("the journal {} cannot be used: {source}", path.display())]
    Journal {
        /// The journal file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A whole line of the journal is not a record. A torn last line is no error.
    #[error("line {line} of the journal {} cannot be used: {reason}", path.display())]
    JournalLine {
        /// The journal file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}
