//! What nodes tell each other at a commit, and who listens.
//!
//! Guarantee: a notice is a hint: who misses one, because a connection broke or the database has no LISTEN, finds the same by looking, a little later. After each
//! time that nobody listened, everything is looked at.

use std::{collections::HashSet, sync::Arc, time::Duration};

use model::Entropy;
use serde::{Deserialize, Serialize};
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, error::SqlState};

use super::config::{Place, told};
use crate::{Signals, signals::Effects};

/// Bytes of one notice at most: PostgreSQL takes less than 8,000.
const NOTICE_MAX_BYTES: usize = 7_000;

/// How long it is waited before it is tried again to listen.
const AGAIN: Duration = Duration::from_secs(1);

/// How often everything is looked at where the database has no LISTEN.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a commit changed that others wait for.
#[derive(Default, Serialize, Deserialize)]
struct Notice {
    /// The node that tells it.
    from: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    due: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ended: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deliveries: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    directory: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    sync: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    webhooks: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    events: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes what it may skip by reference"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// The notices of a commit; none when nobody waits for what it did.
pub(super) fn of(effects: &Effects, node: &str) -> Vec<String> {
    let mut first = Notice {
        from: node.to_owned(),
        directory: effects.directory,
        sync: effects.sync,
        webhooks: effects.webhooks,
        events: effects.events,
        ..Notice::default()
    };
    let mut has_something = effects.directory || effects.sync || effects.webhooks || effects.events;
    let (mut all, mut bytes) = (Vec::new(), 0);
    let due = effects.due.iter().map(|id| (0, id.to_string()));
    let ended = effects.ended.iter().map(|id| (1, id.to_string()));
    let deliveries = effects.deliveries.iter().map(|id| (2, id.to_string()));
    for (list, id) in due.chain(ended).chain(deliveries) {
        // Quotes and a comma.
        bytes += id.len() + 3;
        if bytes > NOTICE_MAX_BYTES {
            let next = Notice {
                from: node.to_owned(),
                ..Notice::default()
            };
            all.push(std::mem::replace(&mut first, next));
            bytes = id.len() + 3;
        }
        has_something = true;
        match list {
            0 => first.due.push(id),
            1 => first.ended.push(id),
            _ => first.deliveries.push(id),
        }
    }
    if has_something {
        all.push(first);
    }
    all.iter()
        .filter_map(|notice| serde_json::to_string(notice).ok())
        .collect()
}

impl Notice {
    fn effects(self, entropy: Arc<dyn Entropy>) -> Effects {
        // Ids that cannot be read are of a newer Portico: the others count.
        fn read<T: std::str::FromStr, C: FromIterator<T>>(ids: &[String]) -> C {
            ids.iter().filter_map(|id| id.parse().ok()).collect()
        }
        Effects {
            due: read::<_, HashSet<_>>(&self.due),
            ended: read(&self.ended),
            deliveries: read::<_, HashSet<_>>(&self.deliveries),
            directory: self.directory,
            sync: self.sync,
            webhooks: self.webhooks,
            events: self.events,
            ..Effects::new(entropy)
        }
    }
}

/// Hands the notices of other nodes on to `signals`, until it is dropped.
pub(super) async fn listen(
    place: Place,
    node: String,
    signals: Arc<Signals>,
    entropy: Arc<dyn Entropy>,
) {
    let heard = |payload: &str| {
        if let Ok(notice) = serde_json::from_str::<Notice>(payload)
            && notice.from != node
        {
            signals.publish(notice.effects(entropy.clone()));
        }
    };
    let mut can_listen = true;
    loop {
        if can_listen {
            let ended = match &place.tls {
                Some(tls) => match place.config.connect(tls.clone()).await {
                    Ok(pair) => follow(pair, &signals, &heard).await,
                    Err(why) => Err(why),
                },
                None => match place.config.connect(NoTls).await {
                    Ok(pair) => follow(pair, &signals, &heard).await,
                    Err(why) => Err(why),
                },
            };
            match ended {
                Err(why) if why.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) => {
                    tracing::warn!(
                        "the database has no LISTEN: what other nodes do is looked for twice a second"
                    );
                    can_listen = false;
                }
                Err(why) => {
                    tracing::warn!(why = %told(&why), "nobody listens to other nodes; trying again");
                }
                Ok(()) => {}
            }
            tokio::time::sleep(AGAIN).await;
        } else {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        signals.look_again();
    }
}

/// Listens until the connection ends.
async fn follow<S, T>(
    (client, mut connection): (Client, Connection<S, T>),
    signals: &Signals,
    heard: &impl Fn(&str),
) -> Result<(), tokio_postgres::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut asked = std::pin::pin!(client.batch_execute("LISTEN portico"));
    let mut is_asked = false;
    std::future::poll_fn(|context| {
        loop {
            if !is_asked && let std::task::Poll::Ready(answer) = asked.as_mut().poll(context) {
                answer?;
                is_asked = true;
                // What happened before.
                signals.look_again();
            }
            match std::task::ready!(connection.poll_message(context)) {
                Some(Ok(AsyncMessage::Notification(notice))) => heard(notice.payload()),
                Some(Ok(_)) => {}
                Some(Err(why)) => return std::task::Poll::Ready(Err(why)),
                None => return std::task::Poll::Ready(Ok(())),
            }
        }
    })
    .await
}
