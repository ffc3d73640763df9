//! The Knock sandbox: a stateful imitation of the vendor's HTTP API.
//!
//! Guarantee: it answers as Knock is documented to answer, and keeps what it was sent. What nobody
//! outside Knock knows is guessed in [`assumptions`] and nowhere else. The frame around it
//! ([`crate::sandbox`]) serves it, lets faults befall it, and logs what it receives.

mod activities;
mod appointments;
pub mod assumptions;
mod call;
mod card_edit;
mod card_status;
mod cards;
mod control;
mod directory;
mod draft;
mod fields;
mod forget;
mod handle;
mod held;
mod ids;
mod journal;
mod listings;
mod moment;
mod replies;
mod seed;
mod sources;
mod state;
mod tour_times;

#[cfg(test)]
mod tests;

use std::{io, path::PathBuf, sync::Arc};

use http::StatusCode;
use model::{Clock, Timestamp};
use serde::Serialize;
use serde_json::json;

pub use self::seed::{Seed, SeedAgent, SeedCommunity, SeedHours};
use self::{
    call::{About, Call},
    directory::Directory,
    handle::handle,
    ids::Id,
    state::State,
};
use crate::sandbox::{
    CallCounts, Error, Forgotten, Form, Imitation, Received, SandboxDefinition, Seeded,
    control::{Control, Wrong},
    reply::Reply,
};
/// How a sandbox is set up.
pub struct Options {
    /// The communities, sources, agents and key it knows from the start and after a reset.
    pub seed: Seed,
    /// The file that makes guest cards, appointments, activities and listings outlive a restart; none keeps
    /// them in memory only.
    pub journal: Option<PathBuf>,
    /// Where the present time comes from, and the number that the first id starts from.
    pub clock: Arc<dyn Clock>,
    /// What every vendor call takes at least, in milliseconds. Applied after the work and before the answer.
    pub latency_ms: u64,
}

impl Options {
    /// The default seed, no journal and no latency.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            seed: Seed::default(),
            journal: None,
            clock,
            latency_ms: 0,
        }
    }
}

/// How much a sandbox holds and has done since it started or was reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Guest cards held.
    pub prospects: u64,
    /// Vendor calls received, whatever became of them.
    pub requests: u64,
    /// Repeats that were matched to a card, including those loaded from a journal.
    pub updates: u64,
    /// Tours held, whatever became of them.
    pub appointments: u64,
    /// Activities held.
    pub activities: u64,
    /// Listings held.
    pub listings: u64,
    /// The most calls that were under way at once, those that only read left out.
    pub changes_at_once_max: u64,
}

/// A handle on one sandbox. Clones share the state.
pub type Sandbox = crate::sandbox::Sandbox<KnockImitation>;

/// The sandbox as a build has it.
pub(super) const DEFINITION: SandboxDefinition = SandboxDefinition {
    open: |setup| {
        Ok(Arc::new(Sandbox::new(Options {
            seed: Seed::default(),
            journal: setup.journal,
            clock: setup.clock,
            latency_ms: setup.latency_ms,
        })?))
    },
    // The key that Knock publishes for its stage.
    credentials: r#"{"apiKey":"syndication-prospect-TEST-KEY"}"#,
    first_prospect: r#"{"integration_id":"{integration}","community_id":"{community}","attribution_id":"{attribution}","email_1":"ada@example.com","phone_1":"(206) 555-0155","first_name":"Ada","last_name":"Byron","desired_num_bedrooms":[1,2]}"#,
};

/// Knock, imitated.
pub struct KnockImitation {
    directory: Directory,
}

impl Sandbox {
    /// Builds the seeded state and loads the journal when it is set and present.
    ///
    /// # Errors
    /// When the seed contradicts itself or the journal cannot be read.
    pub fn new(options: Options) -> Result<Self, Error> {
        let directory = Directory::new(options.seed)?;
        let state = State::open(&directory, options.journal, options.clock.now())?;
        let imitation = KnockImitation { directory };
        Ok(Self::around(
            imitation,
            state,
            options.clock,
            options.latency_ms,
        ))
    }
}

impl Imitation for KnockImitation {
    type State = State;
    type Call = KnockCall;
    type Counts = Counts;

    const FORM: Form = Form {
        secret_headers: &assumptions::KEY_HEADERS,
        secret_members: &[],
        shown_headers: &assumptions::SHOWN_HEADERS,
        error: |words| json!({ "errorMessage": words }),
        bad_key: (assumptions::BAD_KEY_STATUS, assumptions::BAD_KEY_BODY),
        malformed_body: assumptions::MALFORMED_BODY,
    };

    const CONTROLS: &'static str = control::CONTROLS;

    fn read(&self, received: &Received<'_>) -> KnockCall {
        let mut keys = assumptions::KEY_HEADERS
            .iter()
            .filter_map(|name| received.headers.get(*name));
        let has_key = keys.any(|key| self.directory.accepts_key(key.as_bytes()));
        let (call, about) = Call::read(
            received.method,
            received.path,
            received.body,
            &self.directory,
        );
        KnockCall {
            has_key,
            call,
            about,
        }
    }

    fn answer(&self, state: &mut State, call: KnockCall, now: Timestamp) -> Reply {
        if call.has_key {
            handle(state, &self.directory, call.call, now)
        } else {
            Self::FORM.bad_key()
        }
    }

    fn community_of<'a>(&self, state: &'a State, call: &'a KnockCall) -> Option<&'a str> {
        let held = &state.held;
        match &call.about {
            About::Community(id) => Some(id),
            About::Prospect(id) => held.cards.get(*id).map(|card| &*card.shown.community_id),
            About::Appointment(id) => {
                let appointment = held.appointments.get(*id);
                appointment.map(|appointment| &*appointment.community_id)
            }
            About::Nothing => None,
        }
    }

    fn shown(&self, state: &State) -> Reply {
        Reply::json(StatusCode::OK, &state.view(&self.directory))
    }

    fn counts(&self, state: &State, calls: CallCounts) -> Counts {
        state.counts(calls)
    }

    fn control(
        &self,
        state: &mut State,
        control: &Control<'_>,
        now: Timestamp,
    ) -> Option<Result<Reply, Wrong>> {
        control::answer(self, state, control, now)
    }

    fn reset(&self, state: &mut State) -> io::Result<()> {
        state.reset(&self.directory)
    }

    fn forget(&self, state: &mut State, x_id: &str) -> io::Result<Option<Forgotten>> {
        match Id::parse(x_id) {
            Some(id) => state.forget(id, &self.directory).map(Some),
            None => Ok(None),
        }
    }

    fn seeded(&self) -> Seeded {
        self.directory.seeded()
    }
}

/// A call as it was read.
pub struct KnockCall {
    has_key: bool,
    call: Call,
    about: About,
}
