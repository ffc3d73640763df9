//! Requests of one kind that share a commit: read for at once, and stored with one statement a table.
//!
//! Guarantee: the answers are those that each request would get alone. If one of them cannot be
//! stored, each is served again in a part of the transaction of its own.

use std::{
    any::{Any, TypeId},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    Transaction,
    writer::{Connection, in_part},
};
use crate::Error;

/// An answer to each of some requests.
pub(crate) type Answers<T> = Vec<Result<T, Error>>;

/// Outcomes of one kind in one commit at most: some tens of milliseconds of work for the slower
/// database.
pub(crate) const OUTCOMES_MAX: usize = 128;

/// A kind of request that comes in crowds.
pub(crate) trait Batched: Send + Sized + 'static {
    /// The answer to one.
    type Answer: Send + 'static;

    /// Requests of the kind in one commit at most. The others wait for the next one.
    const MAX: usize;

    /// True if they bring new work, which is refused while the store takes none.
    const IS_NEW_WORK: bool;

    /// Serves requests; an answer for each.
    ///
    /// # Errors
    /// When one of them cannot be stored: then none is.
    fn serve(tx: &mut Transaction<'_>, requests: &[&Self]) -> Result<Answers<Self::Answer>, Error>;
}

/// A request in the queue, whatever its kind.
pub(super) trait Request: Send {
    /// Goes to those of its kind, or comes back when there are enough of them.
    fn join(self: Box<Self>, crowds: &mut Crowds) -> Option<Box<dyn Request>>;
}

/// A request, and its caller.
pub(super) struct Waiting<R: Batched> {
    request: R,
    is_begun: Arc<AtomicBool>,
    reply: oneshot::Sender<Result<R::Answer, Error>>,
    _memory: Option<OwnedSemaphorePermit>,
}

/// Where the answer to a request comes from.
type Answer<R> = oneshot::Receiver<Result<<R as Batched>::Answer, Error>>;

impl<R: Batched> Waiting<R> {
    /// With a flag that is set when the request begins to be served, or by its caller to withdraw
    /// it.
    pub(super) fn new(
        request: R,
        memory: Option<OwnedSemaphorePermit>,
    ) -> (Self, Arc<AtomicBool>, Answer<R>) {
        let (reply, answer) = oneshot::channel();
        let is_begun = Arc::new(AtomicBool::new(false));
        let waiting = Self {
            request,
            is_begun: is_begun.clone(),
            reply,
            _memory: memory,
        };
        (waiting, is_begun, answer)
    }
}

impl<R: Batched> Request for Waiting<R> {
    fn join(self: Box<Self>, crowds: &mut Crowds) -> Option<Box<dyn Request>> {
        let crowd = crowds.of::<R>();
        if crowd.waiting.len() >= R::MAX {
            return Some(self);
        }
        if !self.is_begun.swap(true, Ordering::Relaxed) {
            crowd.waiting.push(*self);
        }
        None
    }
}

/// The requests of one kind in a commit, and their answers.
struct Crowd<R: Batched> {
    waiting: Vec<Waiting<R>>,
    answers: Answers<R::Answer>,
}

impl<R: Batched> Crowd<R> {
    fn serve_all(
        &self,
        connection: &dyn Connection,
        tx: &mut Transaction<'_>,
    ) -> Result<Answers<R::Answer>, Error> {
        if R::IS_NEW_WORK
            && let Err(why) = connection.takes_writes()
        {
            let refused = |_| Err(Error::Refused(why.to_string()));
            return Ok(self.waiting.iter().map(refused).collect());
        }
        let requests: Vec<&R> = self.waiting.iter().map(|one| &one.request).collect();
        let together = in_part(connection, tx, |tx| R::serve(tx, &requests))?;
        if let Ok(answers) = together {
            return Ok(answers);
        }
        let alone = |one: &&R| -> Result<Result<R::Answer, Error>, Error> {
            let answer = in_part(connection, tx, |tx| R::serve(tx, &[one]))?;
            Ok(answer.and_then(|mut answers| answers.pop().unwrap_or(Err(Error::InDoubt))))
        };
        requests.iter().map(alone).collect()
    }
}

/// A crowd, whatever its kind.
trait AnyCrowd: Any {
    fn len(&self) -> usize;

    fn is_new_work(&self) -> bool;

    fn serve(&mut self, connection: &dyn Connection, tx: &mut Transaction<'_>)
    -> Result<(), Error>;

    fn answer(self: Box<Self>, why_not: &dyn Fn() -> Option<Error>);
}

impl<R: Batched> AnyCrowd for Crowd<R> {
    fn len(&self) -> usize {
        self.waiting.len()
    }

    fn is_new_work(&self) -> bool {
        R::IS_NEW_WORK
    }

    fn serve(
        &mut self,
        connection: &dyn Connection,
        tx: &mut Transaction<'_>,
    ) -> Result<(), Error> {
        self.answers = self.serve_all(connection, tx)?;
        Ok(())
    }

    fn answer(self: Box<Self>, why_not: &dyn Fn() -> Option<Error>) {
        let mut answers = self.answers.into_iter();
        for one in self.waiting {
            let answer = match why_not() {
                None => answers.next().unwrap_or(Err(Error::InDoubt)),
                Some(why) => Err(why),
            };
            // A caller that went away has no use for the answer; its change stands.
            let _ = one.reply.send(answer);
        }
    }
}

/// The crowds of one commit, one for each kind.
#[derive(Default)]
pub(super) struct Crowds(Vec<(TypeId, Box<dyn AnyCrowd>)>);

impl Crowds {
    #[expect(
        clippy::expect_used,
        reason = "a crowd stands under the type of its requests"
    )]
    fn of<R: Batched>(&mut self) -> &mut Crowd<R> {
        let kind = TypeId::of::<R>();
        let place = self.0.iter().position(|(one, _)| *one == kind);
        let place = place.unwrap_or_else(|| {
            let crowd = Crowd::<R> {
                waiting: Vec::new(),
                answers: Vec::new(),
            };
            self.0.push((kind, Box::new(crowd)));
            self.0.len() - 1
        });
        let crowd: &mut dyn Any = &mut *self.0[place].1;
        crowd
            .downcast_mut()
            .expect("the crowd has the kind that it stands under")
    }

    /// Serves all.
    ///
    /// # Errors
    /// When the transaction is lost by it.
    pub(super) fn serve(
        &mut self,
        connection: &dyn Connection,
        tx: &mut Transaction<'_>,
    ) -> Result<(), Error> {
        for (_, crowd) in &mut self.0 {
            if crowd.len() > 0 {
                crowd.serve(connection, tx)?;
            }
        }
        Ok(())
    }

    /// How many requests there are.
    pub(super) fn requests(&self) -> usize {
        self.0.iter().map(|(_, crowd)| crowd.len()).sum()
    }

    /// How many of them bring new work.
    pub(super) fn taken(&self) -> usize {
        let new = self.0.iter().filter(|(_, crowd)| crowd.is_new_work());
        new.map(|(_, crowd)| crowd.len()).sum()
    }

    /// Answers all: each has its own answer, unless `why_not` says that the commit failed.
    pub(super) fn answer(self, why_not: &dyn Fn() -> Option<Error>) {
        for (_, crowd) in self.0 {
            crowd.answer(why_not);
        }
    }
}
