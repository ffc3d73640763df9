//! What only one process does at a time, on whichever machine.
//!
//! Guarantee: as long as an [`Alone`] lives and its connection stands, nobody else has one for the same; it ends with the process.

use std::sync::mpsc;

use super::{config::Place, session::Session};
use crate::{
    Error,
    engines::db::{Db, values},
};

/// For who replaces the master key: a number of no meaning, for this alone.
pub const MASTER_KEY: i64 = 0x706f_7274_6963_6f32;

/// Proof that nobody else does the same.
pub struct Alone {
    /// The thread that has the connection waits for its end.
    _held: mpsc::Sender<()>,
}

/// Takes a lock, if nobody has it. Blocks.
///
/// # Errors
/// When the database cannot be reached.
pub fn take(place: &Place, lock: i64) -> Result<Option<Alone>, Error> {
    let ((held, until), (tell, told)) = (mpsc::channel::<()>(), mpsc::channel());
    let place = place.clone();
    // A connection belongs to a thread; whoever drops what is returned may be any.
    std::thread::Builder::new()
        .name("store-alone".to_owned())
        .spawn(move || {
            let taken = Session::connect(&place).and_then(|session| {
                let sql = "SELECT pg_try_advisory_lock(?1)";
                let is_taken = Db::Postgres(&session).one(sql, values![lock], |row| row.get(0))?;
                Ok((session, is_taken))
            });
            let (session, is_taken) = match taken {
                Ok((session, is_taken)) => (Some(session), Ok(is_taken)),
                Err(why) => (None, Err(why)),
            };
            let _ = tell.send(is_taken);
            let _ = until.recv();
            drop(session);
        })
        .map_err(|why| Error::Database(format!("a thread cannot be started: {why}")))?;
    let is_taken: bool = told
        .recv()
        .map_err(|_| Error::Database("a lock was not taken".to_owned()))??;
    Ok(is_taken.then_some(Alone { _held: held }))
}
