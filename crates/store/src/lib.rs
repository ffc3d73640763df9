//! The durable state of Portico.
//!
//! [`Store`] is the list of use cases: one method is one transaction. [`sqlite`] is the engine on
//! one machine's disk, [`postgres`] the one that several nodes share. `conformance` (a feature) is
//! the suite that both engines pass.
//!
//! Guarantee: when a method that changes something returns `Ok`, the change is on stable storage.
//! When it returns an error, nothing changed that a repeat could double, except with
//! [`Error::InDoubt`].

mod accept;
mod attempts;
mod audit;
pub mod backup;
pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod copy;
mod directory;
mod engines;
mod erasure;
mod error;
mod events;
pub mod inspect;
mod listing;
mod logs;
mod master_key;
pub mod migrations;
mod opening;
mod outage;
mod queue;
pub mod reading;
mod records;
mod rotation;
pub mod sealing;
pub mod signals;
mod stamp;
mod store;
mod subscriptions;
mod sync;
pub mod time;
mod tokens;

pub use crate::{
    accept::idempotency::{Acceptance, Once},
    attempts::{
        turns::VendorLimit,
        types::{Ask, Claim, Claimed, Finish, Lane, LastAttempt, Ticket, Verdict},
    },
    directory::{
        Registered, Registration,
        keys::KeyQuery,
        live::{self, Live},
    },
    engines::{
        Threads,
        observer::{Observer, Unobserved},
    },
    erasure::retention,
    error::Error,
    listing::Page,
    queue::{Depth, Lapse},
    records::query::{self, Query},
    sealing::Sealer,
    signals::Signals,
    store::Store,
    tokens::VendorToken,
};

/// The store on one machine's disk.
pub mod sqlite {
    pub use crate::{
        backup,
        engines::sqlite::{is_used_up, note},
        inspect::sqlite as inspect,
        opening::sqlite::{migrate, open, open_on_caller, open_to_verify},
    };
}

/// The store in a PostgreSQL database, which several nodes share.
pub mod postgres {
    pub use crate::{
        engines::postgres::{Patience, Place, alone, config, holds_data},
        inspect::postgres as inspect,
        opening::postgres::{migrate, open, open_pooled, open_to_verify},
    };
}

/// Subscriptions, their deliveries, and the log of events.
pub mod webhooks {
    pub use crate::{
        events::types::{EventHead, EventPage, EventQuery},
        subscriptions::types::*,
    };
}

/// Looking back: logs of writes and of runs, changes of records, the audit log.
pub mod history {
    pub use crate::{audit::AuditQuery, logs::history::*};
}

/// Consent, and erasure.
pub mod privacy {
    pub use crate::{
        erasure::privacy::*,
        records::consents::{ConsentEvent, ConsentQuery},
    };
}
