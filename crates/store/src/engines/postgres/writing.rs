//! The connection that changes the database.
//!
//! Guarantee: between `begin` and `commit` no other node changes anything. The row of `turn` is locked for as long; it also holds the last time that
//! was given, so that times rise across nodes.

use super::{
    config::Place,
    notices,
    session::Session,
    wish::{Use, Wish},
};
use crate::{
    Error,
    engines::noting::Noting,
    engines::{
        db::{Db, values},
        writer::Connection,
    },
    signals::Raised,
    time::Time,
};

/// Waits until nobody else changes anything.
const TURN: &str = "SELECT last FROM turn FOR UPDATE";

/// The last place of each table that is in order, as [`Ordered::ALL`](crate::engines::db::Ordered::ALL)
/// has them.
const PLACES: &str = "SELECT (SELECT max(seq) FROM writes), (SELECT max(seq) FROM records), (SELECT max(seq) FROM events), (SELECT max(seq) FROM diffs)";

/// See [`Connection`].
pub(super) struct Writing {
    place: Place,
    session: Option<Session>,
    wish: Wish,
    /// Who this node is, to others.
    node: String,
    /// Whether it waits until nobody else changes anything.
    takes_turns: bool,
    noting: Noting,
}

impl Writing {
    pub(super) fn new(
        place: Place,
        session: Option<Session>,
        node: String,
        takes_turns: bool,
    ) -> Self {
        let mut wish = Wish::new(Use::Writing, &place.hosts);
        if session.is_some() {
            wish.granted();
        }
        Self {
            place,
            session,
            wish,
            takes_turns,
            node,
            noting: Noting::default(),
        }
    }

    fn session(&self) -> Result<&Session, Error> {
        self.session.as_ref().ok_or(Error::Busy)
    }

    /// Makes sure that there is a connection.
    fn connect(&mut self) -> Result<(), Error> {
        if self.session.as_ref().is_some_and(Session::is_well) {
            return Ok(());
        }
        self.session = None;
        self.wish.ended();
        let session = Session::again(&self.place, self.place.writing, &mut self.wish);
        self.session = Some(session.map_err(|_| Error::Busy)?);
        Ok(())
    }
}

impl Connection for Writing {
    fn begin(&mut self) -> Result<(), Error> {
        self.connect()?;
        let session = self.session()?;
        // Of a turn that it waited for, it sees what was committed before, whatever the database's default is.
        session.send("BEGIN ISOLATION LEVEL READ COMMITTED")?;
        if !self.takes_turns {
            return Ok(());
        }
        session.take_turn(TURN, PLACES)
    }

    fn db(&self) -> Result<Db<'_>, Error> {
        self.session().map(Db::Postgres)
    }

    fn savepoint(&self) -> Result<(), Error> {
        self.session()?.send("SAVEPOINT request")
    }

    fn release(&self) -> Result<(), Error> {
        self.session()?.run("RELEASE SAVEPOINT request")
    }

    fn undo(&self) -> Result<(), Error> {
        let session = self.session()?;
        // Without its turn the transaction has no part to undo.
        session.has_turn()?;
        // What was sent may have failed: that is being undone.
        let _ = session.settle();
        session.run("ROLLBACK TO SAVEPOINT request; RELEASE SAVEPOINT request")
    }

    fn commit(&mut self, raised: &Raised, time: &Time) -> Result<(), Error> {
        let session = self.session.as_ref().ok_or(Error::Busy)?;
        let db = Db::Postgres(session);
        session.has_turn()?;
        if self.takes_turns
            && let Some(last) = session.stamp_last()
        {
            db.send("UPDATE turn SET last = ?1", values![last.as_micros()])?;
        }
        if self.takes_turns
            && let Some(clock) = time.clock()
            && self.noting.is_due(clock)
        {
            self.noting.note(&db, clock)?;
        }
        for notice in notices::of(raised, &self.node) {
            db.send("SELECT pg_notify('portico', ?1)", values![notice])?;
        }
        session.commit()
    }

    fn rollback(&mut self) {
        if let Some(session) = &self.session {
            let _ = session.settle();
            if session.run("ROLLBACK").is_err() {
                self.session = None;
            }
        }
    }
}
