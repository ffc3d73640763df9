//! What nodes tell each other at a commit, and who listens.
//!
//! Guarantee: a notice is a hint: who misses one, because a connection broke or the database has no LISTEN, finds the same by looking, a little later. After each
//! time that nobody listened, everything is looked at.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio_postgres::{AsyncMessage, SimpleQueryMessage, error::SqlState};

use super::{
    config::{Place, told},
    hosts::{Reached, Unreached},
    wish::{self, Use, Wish},
};
use crate::{Signals, signals::Raised};

/// Bytes of one notice at most: PostgreSQL takes less than 8,000.
const NOTICE_MAX_BYTES: usize = 7_000;

/// How long it is waited before it is tried again to listen.
const AGAIN: Duration = Duration::from_secs(1);

/// How often the server is asked whether it is there and still takes changes: one that stands still, or was replaced, says nothing of it by itself.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// How long its answer is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The question, as libpq asks it too.
const IS_READ_ONLY: &str = "SHOW transaction_read_only";

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
pub(super) fn of(raised: &Raised, node: &str) -> Vec<String> {
    let mut first = Notice {
        from: node.to_owned(),
        directory: raised.directory,
        sync: raised.sync,
        webhooks: raised.webhooks,
        events: raised.events,
        ..Notice::default()
    };
    let mut has_something = raised.directory || raised.sync || raised.webhooks || raised.events;
    let (mut all, mut bytes) = (Vec::new(), 0);
    let due = raised.due.iter().map(|id| (0, id.to_string()));
    let ended = raised.ended.iter().map(|id| (1, id.to_string()));
    let deliveries = raised.deliveries.iter().map(|id| (2, id.to_string()));
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
    fn raised(self) -> Raised {
        // Ids that cannot be read are of a newer Portico: the others count.
        fn read<T: std::str::FromStr, C: FromIterator<T>>(ids: &[String]) -> C {
            ids.iter().filter_map(|id| id.parse().ok()).collect()
        }
        Raised {
            due: read::<_, HashSet<_>>(&self.due),
            ended: read(&self.ended),
            deliveries: read::<_, HashSet<_>>(&self.deliveries),
            directory: self.directory,
            sync: self.sync,
            webhooks: self.webhooks,
            events: self.events,
        }
    }
}

/// Hands the notices of other nodes on to `signals`, until it is dropped.
pub(super) async fn listen(place: Place, node: String, signals: Arc<Signals>) {
    let heard = |payload: &str| {
        if let Ok(notice) = serde_json::from_str::<Notice>(payload)
            && notice.from != node
        {
            signals.publish(notice.raised());
        }
    };
    let mut can_listen = true;
    let mut wish = Wish::new(Use::Listening, &place.hosts);
    loop {
        if can_listen {
            match place.hosts.connect().await {
                Ok(reached) => {
                    let host = reached.host;
                    wish.granted();
                    let ended = tokio::select! {
                        ended = follow(reached, &signals, &heard) => ended,
                        () = gives_way(&place) => {
                            wish.refused("a connection that is needed more was refused");
                            rest(&signals).await;
                            continue;
                        }
                    };
                    let Ended { why, is_for_good } = ended;
                    if is_for_good {
                        tracing::warn!(
                            "the database has no LISTEN: what other nodes do is looked for twice a second"
                        );
                        can_listen = false;
                    } else {
                        tracing::info!(%why, "nobody listens to other nodes; trying again");
                        place.hosts.leave(host);
                    }
                }
                Err(Unreached {
                    why,
                    is_crowded: true,
                }) => {
                    wish.refused(&why);
                    rest(&signals).await;
                }
                Err(Unreached { why, .. }) => {
                    let told = place.told();
                    place
                        .hosts
                        .not_reached(&format!("{told} cannot be reached: {why}"));
                }
            }
            tokio::time::sleep(AGAIN).await;
        } else {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        signals.look_again();
    }
}

/// Ends when the connection is needed for what comes before listening.
async fn gives_way(place: &Place) {
    while !place.hosts.wishes.must_give_way(Use::Listening) {
        tokio::time::sleep(wish::LOOK_EVERY).await;
    }
}

/// Goes without a connection for a while: what other nodes do is looked for meanwhile.
async fn rest(signals: &Signals) {
    let rest = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            signals.look_again();
        }
    };
    let _ = tokio::time::timeout(wish::REST, rest).await;
}

/// Why nobody listens any more.
struct Ended {
    why: String,
    /// Whether the database cannot do it at all.
    is_for_good: bool,
}

impl From<&tokio_postgres::Error> for Ended {
    fn from(why: &tokio_postgres::Error) -> Self {
        Self {
            why: told(why),
            is_for_good: why.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED),
        }
    }
}

impl From<&str> for Ended {
    fn from(why: &str) -> Self {
        Self {
            why: why.to_owned(),
            is_for_good: false,
        }
    }
}

/// Listens until the connection ends, its server stands still, or does not take changes any more.
async fn follow(reached: Reached, signals: &Signals, heard: &impl Fn(&str)) -> Ended {
    let Reached {
        client, mut wire, ..
    } = reached;
    let hears = async {
        loop {
            match std::future::poll_fn(|context| wire(context)).await {
                Some(Ok(AsyncMessage::Notification(notice))) => heard(notice.payload()),
                Some(Ok(_)) => {}
                Some(Err(why)) => return Ended::from(&why),
                None => return Ended::from("the connection ended"),
            }
        }
    };
    let asks = async {
        let mut question = "LISTEN portico";
        loop {
            let rows = match tokio::time::timeout(ANSWER_MAX, client.simple_query(question)).await {
                Ok(Ok(rows)) => rows,
                Ok(Err(why)) => return Ended::from(&why),
                Err(_) => return Ended::from("the database does not answer"),
            };
            if question == IS_READ_ONLY {
                let is_on = rows.iter().any(
                    |row| matches!(row, SimpleQueryMessage::Row(row) if row.get(0) == Some("on")),
                );
                if is_on {
                    return Ended::from("the database does not take changes any more");
                }
            } else {
                // What happened before.
                signals.look_again();
                question = IS_READ_ONLY;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    };
    // The answers come over the wire, so both are driven at once.
    tokio::select! {
        ended = asks => ended,
        ended = hears => ended,
    }
}

#[cfg(test)]
mod tests {
    use model::{IntegrationId, Timestamp};

    use super::*;

    struct Nothing;

    impl model::Entropy for Nothing {
        fn bytes(&self) -> [u8; 16] {
            [0; 16]
        }
    }

    #[test]
    fn a_notice_brings_what_was_told_however_much_it_is() {
        let mut raised = Raised::default();
        for number in 0..1_000 {
            raised.due.insert(IntegrationId::new(
                Timestamp::from_micros(number * 1_000),
                &Nothing,
            ));
        }
        raised.directory = true;
        let notices = of(&raised, "a-node");
        assert!(notices.len() > 1);
        let mut heard = HashSet::new();
        for notice in &notices {
            assert!(notice.len() < 8_000, "{}", notice.len());
            let notice: Notice = serde_json::from_str(notice).unwrap();
            heard.extend(notice.raised().due);
        }
        assert_eq!(heard, raised.due);
        assert!(of(&Raised::default(), "a-node").is_empty());
    }
}
