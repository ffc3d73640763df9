//! The store that the use cases make of an engine.
//!
//! Guarantee: one method is one transaction, but for those that say that they go on in pieces.

use model::{Scope, webhook::Delivery, write::Write};

use crate::{
    Error, Sealer, Signals,
    engines::{Engine, db::Db},
    reading::{Cost, Reading},
};

/// What Portico remembers: its methods are the use cases, an `impl` block in the file of each theme.
///
/// One method is one transaction. Due times, leases, paces and pauses are instants of steady time,
/// whoever names them: those of claims, renewals and lapses, of [`Store::call_begin`] and of runs
/// of synchronisation (`next_at` and what [`Store::sync_begin`] takes). All other times are wall
/// time.
pub struct Store {
    pub(crate) engine: Engine,
    pub(crate) sealer: Sealer,
    /// Held while a subscription is read, changed and put back.
    pub(crate) webhook_changes: tokio::sync::Mutex<()>,
    /// True if writes are accepted and not kept, for measuring.
    #[cfg(feature = "discard")]
    pub(crate) discards: bool,
}

impl Store {
    pub(crate) fn new(engine: Engine, sealer: Sealer) -> Self {
        Self {
            engine,
            sealer,
            webhook_changes: tokio::sync::Mutex::default(),
            #[cfg(feature = "discard")]
            discards: false,
        }
    }

    /// A write as its caller is told of it: times are wall time.
    pub(crate) fn told(&self, mut write: Write) -> Write {
        let time = self.engine.signals().time();
        write.next_attempt_at = write.next_attempt_at.map(|at| time.wall(at));
        write
    }

    /// A delivery as its caller is told of it: times are wall time.
    pub(crate) fn told_delivery(&self, mut delivery: Delivery) -> Delivery {
        let time = self.engine.signals().time();
        delivery.next_attempt_at = delivery.next_attempt_at.map(|at| time.wall(at));
        delivery
    }

    /// Reads something whose cost depends on what is asked and stored.
    pub(crate) async fn listed<T: Send + 'static, Q: Clone + Send + 'static>(
        &self,
        scope: &Scope,
        query: &Q,
        look: fn(&Db<'_>, &Scope, &Q) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.listed_whole(scope, query, false, look, |_| true).await
    }

    /// The same: as a page, and once more as an expensive read where a page may not cost as much,
    /// or what it brought is not whole. At once so when it is known to be expensive.
    pub(crate) async fn listed_whole<T: Send + 'static, Q: Clone + Send + 'static>(
        &self,
        scope: &Scope,
        query: &Q,
        is_expensive: bool,
        look: fn(&Db<'_>, &Scope, &Q) -> Result<T, Error>,
        is_whole: fn(&T) -> bool,
    ) -> Result<T, Error> {
        let read = |cost| {
            let (scope, query) = (scope.clone(), query.clone());
            let reading = Reading::of(&scope, cost);
            self.engine
                .read(reading, move |db| look(db, &scope, &query))
        };
        if !is_expensive {
            match read(Cost::Page).await {
                Ok(found) if is_whole(&found) => return Ok(found),
                Ok(_) | Err(Error::ReadTooLong) => {}
                Err(why) => return Err(why),
            }
        }
        read(Cost::Expensive).await
    }

    /// True if new writes are taken, a change goes through, and a read too.
    pub async fn check(&self) -> Result<(), Error> {
        self.engine.write(|_| Ok(())).await?;
        self.engine.takes_writes()?;
        self.engine
            .read(Reading::OWN, |db| {
                let sql = "SELECT max(applied_at) FROM migrations";
                db.one(sql, &[], |row| row.get::<Option<i64>>(0)).map(drop)
            })
            .await
    }

    /// What waiters are woken by.
    pub fn signals(&self) -> &Signals {
        self.engine.signals()
    }

    /// Whether other processes may be at work on it. If not, whatever is under a lease when it is opened was held by one that is gone.
    pub fn is_shared(&self) -> bool {
        self.engine.is_shared()
    }

    /// Finishes what is queued and closes. Later calls fail with [`Error::Closed`].
    pub async fn close(&self) {
        self.engine.close().await;
    }
}
