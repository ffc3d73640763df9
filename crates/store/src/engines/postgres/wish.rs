//! The connections that a node has, of those that it wants.
//!
//! A server gives a role, a database or all of its users only so many. Guarantee: a node works with those that it is given. The
//! writer comes first, then one reader, then the listener to other nodes, then more readers. The log is told once that there are
//! fewer than wanted, and once when all are there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::hosts::Hosts;

/// How long a connection that was refused is not asked for again, while the node works without it.
pub(super) const REST: Duration = Duration::from_secs(10);

/// How often a connection's user looks whether the writer needs its place.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The use of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Writing,
    Reading,
    Listening,
}

/// The wishes of all connections of a node.
#[derive(Default)]
pub(super) struct Wishes {
    /// Connections that are wanted and were refused.
    refused: AtomicUsize,
    /// Connections that read.
    readers: AtomicUsize,
    writer_waits: AtomicBool,
    reader_waits: AtomicBool,
}

impl Wishes {
    /// True if some connection reads.
    pub(super) fn has_readers(&self) -> bool {
        self.readers.load(Ordering::Relaxed) > 0
    }

    /// True if a connection for this use is to end, since one that comes before it was refused. Only one of those that ask is told so.
    pub(super) fn must_give_way(&self, own: Use) -> bool {
        let take = |waits: &AtomicBool| waits.swap(false, Ordering::Relaxed);
        match own {
            Use::Writing => false,
            Use::Reading => take(&self.writer_waits),
            Use::Listening => {
                take(&self.reader_waits) || (!self.has_readers() && take(&self.writer_waits))
            }
        }
    }
}

/// One connection that a node wants.
pub(super) struct Wish {
    own: Use,
    hosts: Arc<Hosts>,
    is_refused: bool,
    is_granted: bool,
}

impl Wish {
    pub(super) fn new(own: Use, hosts: &Arc<Hosts>) -> Self {
        Self {
            own,
            hosts: hosts.clone(),
            is_refused: false,
            is_granted: false,
        }
    }

    /// The server gave this connection.
    pub(super) fn granted(&mut self) {
        let wishes = &self.hosts.wishes;
        if !std::mem::replace(&mut self.is_granted, true) && self.own == Use::Reading {
            wishes.readers.fetch_add(1, Ordering::Relaxed);
        }
        match self.own {
            Use::Writing => wishes.writer_waits.store(false, Ordering::Relaxed),
            Use::Reading => wishes.reader_waits.store(false, Ordering::Relaxed),
            Use::Listening => {}
        }
        if self.forget() {
            tracing::info!("the database's server gives this node all connections that it wants");
        }
    }

    /// The connection has ended.
    pub(super) fn ended(&mut self) {
        if std::mem::replace(&mut self.is_granted, false) && self.own == Use::Reading {
            self.hosts.wishes.readers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The server has no more connections for this node.
    pub(super) fn refused(&mut self, why: &str) {
        let wishes = &self.hosts.wishes;
        match self.own {
            Use::Writing => wishes.writer_waits.store(true, Ordering::Relaxed),
            Use::Reading if !wishes.has_readers() => {
                wishes.reader_waits.store(true, Ordering::Relaxed);
            }
            Use::Reading | Use::Listening => {}
        }
        if !std::mem::replace(&mut self.is_refused, true)
            && wishes.refused.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::warn!(
                why,
                again_s = REST.as_secs(),
                "the database's server gives this node fewer connections than it wants: it goes on with those it has, and asks again; raise CONNECTION LIMIT of its user or database, or max_connections, or lower --store-readers"
            );
        }
    }

    /// `true` when this was the last connection that was refused.
    fn forget(&mut self) -> bool {
        std::mem::replace(&mut self.is_refused, false)
            && self.hosts.wishes.refused.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        self.ended();
        self.forget();
    }
}
