//! The suite that every back end passes: what the [`crate::Store`] trait promises, tried on a real store that can be opened again on the same data.
//!
//! A back end runs it by handing [`all`] a way to open itself. Goal: custody, order, leases and scope hold whatever is behind the trait.
#![expect(clippy::expect_used, reason = "a test suite fails by panicking")]

use std::{
    future::Future,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
};

use model::{
    CommunityId, Directory, Entropy, IntegrationId, JobId, KeyId, ProspectId, Scope, Secret,
    Timestamp,
    directory::{Community, Contents, Integration, Settings, Vendor},
    id::EventId,
    key::{Key, Permission, System, hex, token_hash, token_new},
    write::{Attempt, Call, Class, Confirmed, NewWrite, Operation, Outcome, Reply, WriteStatus},
};
use serde_json::json;

use crate::{
    Acceptance, Claim, Claimed, Error, Finish, Lapse, Once, Registration, Store, Ticket, Verdict,
};

/// Random bytes that count: different each time, the same in every run.
#[derive(Default)]
pub struct Counting(AtomicU64);

impl Entropy for Counting {
    fn bytes(&self) -> [u8; 16] {
        let drawn = self.0.fetch_add(1, Ordering::Relaxed);
        u128::from(drawn)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            .to_be_bytes()
    }
}

/// What a case works with.
struct World {
    store: Arc<dyn Store>,
    entropy: Counting,
    integration_id: IntegrationId,
    community_id: CommunityId,
    scope: Scope,
    stranger: Scope,
}

const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

fn later(millis: i64) -> Timestamp {
    NOW.plus_millis(millis)
}

impl World {
    async fn new(store: Arc<dyn Store>) -> Self {
        let entropy = Counting::default();
        let (integration_id, community_id) = (
            IntegrationId::new(NOW, &entropy),
            CommunityId::new(NOW, &entropy),
        );
        let settings = Settings {
            base_url: "http://127.0.0.1:1".to_owned(),
            key_header_name: "x-api-key".to_owned(),
            extra_headers: Vec::new(),
            max_job_concurrency: 10,
            max_requests_per_minute: None,
        };
        let integration = Integration {
            id: integration_id,
            name: "one".to_owned(),
            vendor: Vendor::Knock,
            system: System::Sandbox,
            active: true,
            settings,
            credential: Secret::new("the credential"),
        };
        let community = Community {
            id: community_id,
            integration_id,
            x_id: "x".to_owned(),
            name: "Harbor Point".to_owned(),
            timezone: "America/New_York".to_owned(),
            phone_region: None,
            active: true,
        };
        let registration = Registration {
            integration,
            communities: vec![community],
            attributions: Vec::new(),
            agents: Vec::new(),
        };
        store
            .integration_register(registration, NOW)
            .await
            .expect("an integration");
        let scope = scope(&entropy, None);
        let stranger = scope_of_another(&entropy);
        Self {
            store,
            entropy,
            integration_id,
            community_id,
            scope,
            stranger,
        }
    }

    fn write(&self, order_keys: &[i64]) -> NewWrite {
        NewWrite {
            job_id: JobId::new(NOW, &self.entropy),
            accepted_at: NOW,
            integration_id: self.integration_id,
            community_id: self.community_id,
            operation: Operation::ProspectCreate,
            result: "{\"first_name\":\"Ada\"}".to_owned(),
            call: Call {
                method: "POST".to_owned(),
                path: "/prospect".to_owned(),
                x_community_id: "x".to_owned(),
                body: json!({ "firstName": "Ada" }),
            },
            confirmed: Confirmed {
                create: json!({ "first_name": "Ada", "city": "Seattle" }),
                update: json!({ "first_name": "Ada" }),
            },
            order_keys: order_keys.to_vec(),
            retry_of: None,
        }
    }

    async fn accept(&self, order_keys: &[i64]) -> JobId {
        let write = self.write(order_keys);
        let job_id = write.job_id;
        assert_eq!(
            self.store
                .write_accept(&self.scope, write, None)
                .await
                .expect("accepted"),
            Acceptance::Accepted
        );
        job_id
    }

    async fn claim(&self, limit: u32, now: Timestamp) -> Vec<Claimed> {
        let claim = Claim {
            lanes: vec![(self.integration_id, limit)],
            now,
            lease_until: now.plus_millis(60_000),
        };
        self.store
            .writes_claim(claim)
            .await
            .expect("a claim")
            .remove(0)
            .writes
    }

    async fn finish(&self, ticket: Ticket, class: Class, verdict: Verdict) -> WriteStatus {
        let attempt = Attempt {
            number: ticket.attempt,
            started_at: NOW,
            duration_ms: Some(1),
            class,
            error: None,
            reply: Reply::default(),
        };
        let finish = Finish {
            ticket,
            attempt,
            verdict,
            now: later(5),
            event_id: EventId::new(NOW, &self.entropy),
        };
        self.store.attempt_finish(&finish).await.expect("recorded")
    }

    async fn deliver(&self, ticket: Ticket, x_id: &str) -> WriteStatus {
        let verdict = Verdict::Delivered {
            x_id: x_id.to_owned(),
            record_id: ProspectId::new(NOW, &self.entropy),
        };
        self.finish(ticket, Class::Delivered, verdict).await
    }

    async fn find(&self, job_id: JobId) -> model::write::Write {
        self.store
            .write_find(&self.scope, job_id)
            .await
            .expect("a read")
            .expect("the write")
    }
}

fn key(entropy: &Counting, integrations: Option<Vec<IntegrationId>>) -> (Key, Secret) {
    let token = token_new(System::Sandbox, entropy);
    let hash = token_hash(token.expose()).expect("a token");
    let key = Key {
        id: KeyId::new(NOW, entropy),
        name: "test".to_owned(),
        system: System::Sandbox,
        permissions: Permission::ALL.to_vec(),
        integrations,
        token_hash: hex(&hash),
        token_end: "end".to_owned(),
        created_at: NOW,
        revoked_at: None,
    };
    (key, token)
}

fn scope(entropy: &Counting, integrations: Option<Vec<IntegrationId>>) -> Scope {
    let (key, token) = key(entropy, integrations);
    let directory = Directory::new(
        Contents {
            keys: vec![key],
            ..Contents::default()
        },
        NOW,
    );
    directory.authenticate(token.expose()).expect("a scope")
}

fn scope_of_another(entropy: &Counting) -> Scope {
    scope(entropy, Some(vec![IntegrationId::new(later(1), entropy)]))
}

/// Runs every case, each on a store of its own; `open` opens the store of a name, made when absent.
pub async fn all<F: Future<Output = Arc<dyn Store>>>(open: impl Fn(&'static str) -> F) {
    an_accepted_write_survives_a_restart(&open).await;
    twins_under_one_key_are_one_write(World::new(open("twins").await).await).await;
    a_stranger_sees_nothing(World::new(open("stranger").await).await).await;
    a_claim_takes_what_is_due_in_order_and_once(World::new(open("claim").await).await).await;
    writes_that_share_a_key_wait_for_each_other(World::new(open("order").await).await).await;
    a_lapsed_lease_comes_back_and_a_late_confirmation_counts(World::new(open("lapse").await).await)
        .await;
    a_second_confirmation_of_one_card_is_a_match(World::new(open("match").await).await).await;
    only_a_failure_is_retried_and_only_once(World::new(open("retry").await).await).await;
    keys_come_and_go(World::new(open("keys").await).await).await;
}

async fn an_accepted_write_survives_a_restart<F: Future<Output = Arc<dyn Store>>>(
    open: &impl Fn(&'static str) -> F,
) {
    let world = World::new(open("restart").await).await;
    let job_id = world.accept(&[1]).await;
    world.store.close().await;
    assert!(matches!(world.store.check().await, Err(Error::Closed)));
    let store = open("restart").await;
    let write = store
        .write_find(&world.scope, job_id)
        .await
        .expect("a read")
        .expect("the write");
    assert_eq!(
        (write.status, write.result.as_str()),
        (WriteStatus::Pending, "{\"first_name\":\"Ada\"}")
    );
    let contents = store.directory_contents().await.expect("the directory");
    assert_eq!(
        contents.integrations[0].credential.expose(),
        "the credential"
    );
    assert_eq!(
        store.lanes_due().await.expect("lanes"),
        [(world.integration_id, NOW)]
    );
}

async fn twins_under_one_key_are_one_write(world: World) {
    let once = |fingerprint: u8| {
        Some(Once {
            key_hash: [1; 32],
            fingerprint: [fingerprint; 32],
            expires_at: later(1_000),
        })
    };
    let first = world.write(&[1]);
    let job_id = first.job_id;
    assert_eq!(
        world
            .store
            .write_accept(&world.scope, first, once(1))
            .await
            .expect("accepted"),
        Acceptance::Accepted
    );
    for _ in 0..50 {
        let replayed = world
            .store
            .write_accept(&world.scope, world.write(&[1]), once(1))
            .await
            .expect("replayed");
        assert_eq!(
            replayed,
            Acceptance::Replayed {
                job_id,
                result: "{\"first_name\":\"Ada\"}".to_owned()
            }
        );
    }
    assert_eq!(
        world
            .store
            .write_accept(&world.scope, world.write(&[1]), once(2))
            .await
            .expect("refused"),
        Acceptance::Mismatch
    );
    assert_eq!(world.store.queue_depth().await.expect("a depth").open, 1);
    assert_eq!(
        world
            .store
            .idempotency_sweep(later(999), 10)
            .await
            .expect("a sweep"),
        0
    );
    assert_eq!(
        world
            .store
            .idempotency_sweep(later(1_000), 10)
            .await
            .expect("a sweep"),
        1
    );
    assert_eq!(
        world
            .store
            .write_accept(&world.scope, world.write(&[1]), once(2))
            .await
            .expect("accepted"),
        Acceptance::Accepted
    );
}

async fn a_stranger_sees_nothing(world: World) {
    let job_id = world.accept(&[]).await;
    let ticket = world.claim(1, NOW).await[0].ticket;
    world.deliver(ticket, "7").await;
    let record_id = world
        .find(job_id)
        .await
        .record_id
        .expect("a record")
        .parse()
        .expect("an id");
    assert!(
        world
            .store
            .prospect_find(&world.scope, record_id)
            .await
            .expect("a read")
            .is_some()
    );
    assert!(
        world
            .store
            .write_find(&world.stranger, job_id)
            .await
            .expect("a read")
            .is_none()
    );
    assert!(
        world
            .store
            .attempts_list(&world.stranger, job_id)
            .await
            .expect("a read")
            .is_empty()
    );
    assert!(
        world
            .store
            .prospect_find(&world.stranger, record_id)
            .await
            .expect("a read")
            .is_none()
    );
    assert_eq!(
        world
            .store
            .prospects_list(&world.stranger, 0, 10)
            .await
            .expect("a read")
            .total,
        0
    );
    assert!(
        world
            .store
            .write_accept(&world.stranger, world.write(&[]), None)
            .await
            .is_err()
    );
}

async fn a_claim_takes_what_is_due_in_order_and_once(world: World) {
    let mut accepted = Vec::new();
    for key in 0..5 {
        accepted.push(world.accept(&[key]).await);
    }
    assert!(
        world.claim(10, NOW.plus_millis(-1)).await.is_empty(),
        "nothing before it is due"
    );
    let first: Vec<JobId> = world
        .claim(3, NOW)
        .await
        .iter()
        .map(|one| one.job_id)
        .collect();
    assert_eq!(first, accepted[..3]);
    let second = world.claim(10, NOW).await;
    assert_eq!(
        second.iter().map(|one| one.job_id).collect::<Vec<_>>(),
        accepted[3..]
    );
    assert!(world.claim(10, NOW).await.is_empty(), "never twice");
    let again = Verdict::Again {
        at: later(100),
        errors: vec!["not now".to_owned()],
    };
    assert_eq!(
        world.finish(second[0].ticket, Class::Retry, again).await,
        WriteStatus::Pending
    );
    assert_eq!(world.find(second[0].job_id).await.errors, ["not now"]);
    assert!(world.claim(10, later(99)).await.is_empty());
    let repeated = world.claim(10, later(100)).await;
    assert_eq!(
        (repeated[0].job_id, repeated[0].ticket.attempt),
        (second[0].job_id, 2)
    );
    assert!(
        repeated[0].call.body == json!({ "firstName": "Ada" }),
        "the identical body"
    );
}

async fn writes_that_share_a_key_wait_for_each_other(world: World) {
    let (email, phone, other) = (1, 2, 3);
    let a = world.accept(&[email]).await;
    let b = world.accept(&[email, phone]).await;
    let c = world.accept(&[phone]).await;
    let d = world.accept(&[other]).await;
    let claimed = world.claim(10, NOW).await;
    assert_eq!(
        claimed.iter().map(|one| one.job_id).collect::<Vec<_>>(),
        [a, d],
        "b waits for a, c for b, d for nobody"
    );
    let failed = Verdict::Failed {
        errors: vec!["no".to_owned()],
    };
    assert_eq!(
        world
            .finish(claimed[0].ticket, Class::Rejected, failed)
            .await,
        WriteStatus::Failure
    );
    let claimed = world.claim(10, later(10)).await;
    assert_eq!(
        claimed.iter().map(|one| one.job_id).collect::<Vec<_>>(),
        [b]
    );
    world.deliver(claimed[0].ticket, "1").await;
    let claimed = world.claim(10, later(10)).await;
    assert_eq!(
        claimed.iter().map(|one| one.job_id).collect::<Vec<_>>(),
        [c]
    );
}

async fn a_lapsed_lease_comes_back_and_a_late_confirmation_counts(world: World) {
    let job_id = world.accept(&[1]).await;
    let first = world.claim(1, NOW).await[0].ticket;
    world
        .store
        .leases_renew(vec![first], later(120_000))
        .await
        .expect("renewed");
    assert_eq!(
        world
            .store
            .leases_lapse(Lapse::Expired, later(119_999))
            .await
            .expect("none"),
        0
    );
    assert_eq!(
        world
            .store
            .leases_lapse(Lapse::Expired, later(120_000))
            .await
            .expect("one"),
        1
    );
    let second = world.claim(1, later(120_000)).await;
    assert!(
        second[0].may_be_held,
        "its first attempt is on record as unknown"
    );
    let again = Verdict::Again {
        at: later(999_999),
        errors: Vec::new(),
    };
    assert_eq!(
        world.finish(first, Class::Retry, again).await,
        WriteStatus::Pending,
        "who lost the lease decides nothing"
    );
    assert_eq!(
        world.deliver(first, "9").await,
        WriteStatus::Success,
        "but a confirmation is the truth"
    );
    assert_eq!(
        world.deliver(second[0].ticket, "9").await,
        WriteStatus::Success
    );
    let write = world.find(job_id).await;
    assert_eq!(
        (write.status, write.outcome),
        (WriteStatus::Success, Some(Outcome::Created))
    );
    assert_eq!(
        world
            .store
            .attempts_list(&world.scope, job_id)
            .await
            .expect("attempts")
            .len(),
        2
    );
    assert_eq!(world.store.queue_depth().await.expect("a depth").open, 0);
}

async fn a_second_confirmation_of_one_card_is_a_match(world: World) {
    let (first, second) = (world.accept(&[1]).await, world.accept(&[2]).await);
    for claimed in world.claim(2, NOW).await {
        world.deliver(claimed.ticket, "5").await;
    }
    let (first, second) = (world.find(first).await, world.find(second).await);
    assert_eq!(
        (first.outcome, second.outcome),
        (Some(Outcome::Created), Some(Outcome::Matched))
    );
    assert_eq!(first.record_id, second.record_id);
    assert_eq!(
        world
            .store
            .prospects_list(&world.scope, 0, 10)
            .await
            .expect("a page")
            .total,
        1
    );
}

async fn only_a_failure_is_retried_and_only_once(world: World) {
    let failed = world.accept(&[1]).await;
    let retry = || NewWrite {
        retry_of: Some(failed),
        ..world.write(&[1])
    };
    assert!(matches!(
        world.store.write_accept(&world.scope, retry(), None).await,
        Err(Error::Conflict(_))
    ));
    let ticket = world.claim(1, NOW).await[0].ticket;
    world
        .finish(
            ticket,
            Class::Rejected,
            Verdict::Failed {
                errors: vec!["no".to_owned()],
            },
        )
        .await;
    assert!(
        world
            .store
            .write_accept(&world.scope, retry(), None)
            .await
            .is_ok()
    );
    assert!(matches!(
        world.store.write_accept(&world.scope, retry(), None).await,
        Err(Error::Conflict(_))
    ));
}

async fn keys_come_and_go(world: World) {
    let before = world.store.directory_revision().await.expect("a revision");
    let (key, _) = key(&world.entropy, None);
    let id = key.id;
    world.store.key_create(key).await.expect("a key");
    assert!(world.store.directory_revision().await.expect("a revision") > before);
    assert!(world.store.key_revoke(id, NOW).await.expect("revoked"));
    assert!(
        world
            .store
            .key_revoke(id, later(9))
            .await
            .expect("revoked before")
    );
    assert_eq!(
        world.store.keys_list().await.expect("keys")[0].revoked_at,
        Some(NOW)
    );
    let unknown = KeyId::new(later(1), &world.entropy);
    assert!(
        !world
            .store
            .key_revoke(unknown, NOW)
            .await
            .expect("an answer")
    );
}

/// Registers one integration, for tests that need a sealed credential in the store.
pub async fn register_one(store: Arc<dyn Store>) {
    World::new(store).await;
}
