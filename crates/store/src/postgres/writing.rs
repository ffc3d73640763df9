//! The connection that changes the database.
//!
//! Guarantee: between `begin` and `commit` no other node changes anything. The row of `turn` is locked for as long; it also holds the last time that
//! was given, so that times rise across nodes.

use model::Timestamp;

use super::{accept, config::Place, notices, session::Session};
use crate::{
    Acceptance, Error,
    signals::Effects,
    sql::{
        db::{Db, values},
        writer::{self, Accept, Connection},
    },
};

/// See [`Connection`].
pub(super) struct Writing {
    place: Place,
    session: Option<Session>,
    /// Who this node is, to others.
    node: String,
    /// The last time given when the transaction began.
    stamped: Timestamp,
}

impl Writing {
    pub(super) fn new(place: Place, session: Session, node: String) -> Self {
        Self {
            place,
            session: Some(session),
            node,
            stamped: Timestamp::ZERO,
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
        self.session = Some(Session::again(&self.place, self.place.writing)?);
        Ok(())
    }
}

impl Connection for Writing {
    fn begin(&mut self) -> Result<(), Error> {
        self.connect()?;
        let session = self.session()?;
        // Of a turn that it waited for, it sees what was committed before, whatever the database's default is.
        session.send("BEGIN ISOLATION LEVEL READ COMMITTED")?;
        let last: i64 =
            Db::Postgres(session).one("SELECT last FROM turn FOR UPDATE", &[], |row| row.get(0))?;
        let last = Timestamp::from_micros(last);
        session.stamp_from(last);
        self.stamped = last;
        Ok(())
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
        // What was sent may have failed: that is being undone.
        let _ = session.settle();
        session.run("ROLLBACK TO SAVEPOINT request; RELEASE SAVEPOINT request")
    }

    fn accept(
        &self,
        effects: &mut Effects,
        writes: &[Accept],
    ) -> Result<Vec<Result<Acceptance, Error>>, Error> {
        let session = self.session()?;
        let plain: Vec<&Accept> = writes.iter().filter(|one| accept::is_plain(one)).collect();
        if plain.len() < 2 {
            return writer::accept_each(self, effects, writes);
        }
        session.send("SAVEPOINT request")?;
        let mut own = Effects::new(effects.entropy.clone());
        let Ok(answers) = accept::all(session, &mut own, &plain) else {
            // One of them cannot be stored: alone, each undoes only itself.
            self.undo()?;
            return writer::accept_each(self, effects, writes);
        };
        // All its statements were answered: nothing can be wrong with it any more.
        session.send("RELEASE SAVEPOINT request")?;
        effects.add(own);
        let mut answers = answers.into_iter();
        let mut all = Vec::with_capacity(writes.len());
        for write in writes {
            all.push(if accept::is_plain(write) {
                answers.next().unwrap_or(Err(Error::Closed))
            } else {
                writer::accept_one(self, effects, write)?
            });
        }
        Ok(all)
    }

    fn commit(&mut self, effects: &Effects) -> Result<(), Error> {
        let session = self.session()?;
        let db = Db::Postgres(session);
        if session.stamp_last() > self.stamped {
            db.send(
                "UPDATE turn SET last = ?1",
                values![session.stamp_last().as_micros()],
            )?;
        }
        for notice in notices::of(effects, &self.node) {
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
