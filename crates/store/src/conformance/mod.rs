//! The suite that every back end passes.
//!
//! A back end implements [`Backend`] and expands [`conformance_tests!`](crate::conformance_tests): one test a case, each on data of its own.
//! Guarantee: nothing here reads a clock or a random source; a case does the same every time.

pub mod administration;
pub mod confirmation;
pub mod consent;
pub mod deliveries;
pub mod delivery;
pub mod directory;
pub mod erasure;
pub mod history;
pub mod intake;
pub mod limits;
pub mod lists;
pub mod order;
pub mod plans;
pub mod restart;
pub mod sealing;
pub mod steps;
pub mod webhooks;

use std::{
    collections::HashSet,
    error::Error as StdError,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use model::{
    Actor, CommunityId, Directory, Entropy, IntegrationId, JobId, KeyId, Scope, Secret, Timestamp,
    Vendor,
    directory::{Contents, Integration, Settings},
    key::{self, Key, System},
    permission::Permission,
    record::{Kind, Record},
    resources::prospect::Prospect,
    write::{
        Attempt, AttemptKind, Call, Class, Confirmed, NewWrite, Operation, Outcome, Reply, Write,
        WriteStatus,
    },
};

use crate::{
    Acceptance, Ask, Claim, Claimed, Error, Finish, Lane, Lapse, Once, Page, Query, Registration,
    Sealer, Store, Ticket, Verdict, records::query::From,
};

type Answer<T> = Result<T, Box<dyn StdError + Send + Sync>>;

/// How a case ends: with an error when a step of it failed, by a failed assertion when the store answered wrongly.
pub type Verdicts = Result<(), Box<dyn StdError + Send + Sync>>;

/// Data of one case, which can be opened again after the store over it was closed.
pub trait Backend: Send + Sync + 'static {
    /// Opens the store over this value's data, made when absent. Always the same data.
    fn open(
        &self,
        sealer: Sealer,
        now: Timestamp,
    ) -> impl Future<Output = Result<Arc<Store>, Error>> + Send;
}

/// One `#[tokio::test]` a case: `conformance_tests!(expression)`, whose expression makes a [`Backend`]
/// over new data. With `all` before the expression: `every_case()`, which runs them one by one.
#[macro_export]
macro_rules! conformance_tests {
    ($backend:expr) => {
        $crate::conformance_tests! { @cases each $backend }
    };
    (all $backend:expr) => {
        $crate::conformance_tests! { @cases all $backend }
    };
    (@cases $how:ident $backend:expr) => {
        $crate::conformance_tests! { @$how $backend;
            intake::an_accepted_write_is_found_after_a_restart
            intake::a_hundred_concurrent_accepts_are_all_found_and_claimed_in_order
            intake::an_idempotency_key_replays_its_write_byte_for_byte
            intake::an_idempotency_key_refuses_another_body
            intake::two_hundred_concurrent_twins_make_one_write
            intake::an_accept_that_fails_stores_nothing_and_leaves_its_idempotency_key_free
            intake::expired_idempotency_keys_are_swept_and_others_stay
            intake::a_scope_sees_nothing_of_another_integration
            intake::a_scope_cannot_write_to_another_integration
            intake::only_a_failed_write_can_be_retried
            intake::a_failed_write_is_retried_once_and_so_is_its_repeat
            intake::one_of_many_concurrent_retries_is_accepted
            intake::the_queue_depth_counts_what_has_not_ended
            intake::a_closed_store_refuses
            delivery::due_writes_are_claimed_in_order_and_never_twice
            delivery::a_claim_keeps_to_the_limit_of_each_lane
            delivery::concurrent_claims_share_no_write
            delivery::nothing_is_claimed_before_it_is_due
            delivery::lanes_due_lists_each_integration_once
            delivery::a_renewed_lease_stays
            delivery::a_lapsed_lease_comes_back_with_its_attempt_unknown
            delivery::what_is_cut_off_again_and_again_waits_from_the_third_time
            delivery::all_leases_can_be_ended_at_once
            delivery::a_lease_and_its_errors_survive_a_restart
            delivery::a_late_confirmation_counts
            delivery::a_late_failure_changes_nothing
            delivery::an_attempt_after_the_end_is_recorded_and_changes_nothing
            delivery::a_first_confirmation_creates_and_a_second_updates
            delivery::the_same_vendor_id_in_two_integrations_is_two_prospects
            delivery::prospects_are_listed_newest_first_a_page_at_a_time
            delivery::a_failure_ends_with_its_errors
            delivery::a_write_to_be_tried_again_stays_open_with_its_errors
            delivery::accepts_and_lapses_signal_what_is_due
            delivery::the_end_of_a_write_wakes_who_watches_it
            steps::a_claim_tells_the_last_call
            steps::a_token_is_fetched_by_one_and_goes_with_its_credentials
            steps::a_write_is_put_back_until_its_turn
            limits::claimers_together_hold_as_many_as_may_be_under_way
            limits::claimers_together_keep_to_the_pace
            limits::a_vendor_that_asked_to_be_left_alone_is_left_alone_by_all
            limits::synchronisation_takes_what_writes_leave_and_nothing_of_theirs
            limits::an_integration_that_changed_begins_anew
            intake::a_write_is_kept_out_by_an_open_one_that_blocks_it
            confirmation::an_update_is_of_the_record_that_was_meant_or_says_so
            confirmation::what_has_no_vendor_id_is_stored_all_the_same
            confirmation::what_cannot_be_a_vendor_id_ends_its_write_in_words
            confirmation::a_vendor_may_say_whatever_it_likes
            confirmation::an_appointment_takes_the_place_of_an_upcoming_one
            lists::any_filter_in_any_order_agrees_with_a_model
            lists::a_walk_by_cursor_misses_and_repeats_nothing_while_rows_are_written
            lists::a_row_that_is_gone_is_a_conflict
            lists::a_cursor_leads_behind_no_record_that_its_reader_may_not_see
            lists::a_filter_by_an_id_of_ours_is_answered_to_those_who_may_see_it
            confirmation::what_the_vendor_gives_no_id_is_known_by_what_identifies_it
            confirmation::a_write_about_something_else_reaches_the_prospect_that_it_touches
            history::what_was_seen_is_stored_with_its_diff
            history::a_record_that_changed_after_the_vendor_was_asked_stays
            history::what_is_gone_at_the_vendor_is_marked_and_stays
            history::a_run_is_due_begun_and_ended
            confirmation::an_odd_answer_is_told_and_harms_no_other_record
            history::a_run_that_was_cut_off_is_ended_and_due_again
            history::an_integration_is_synchronised_by_one_at_a_time
            history::a_run_whose_lease_lapsed_is_taken_over
            history::candidates_are_the_newest_and_the_stalest
            history::the_log_of_writes_is_filtered_by_all_that_it_offers
            history::what_is_old_is_swept
            consent::an_event_comes_with_its_write
            consent::a_retry_names_who_first_said_it
            erasure::a_person_is_forgotten_and_others_are_not
            erasure::an_open_write_keeps_a_person_from_being_forgotten
            erasure::nothing_comes_back_of_a_forgotten_person
            erasure::what_ended_long_ago_goes_a_bounded_number_at_a_time
            order::a_write_waits_for_an_earlier_one_with_a_common_key
            order::a_chain_over_two_keys_is_delivered_in_order
            order::a_write_with_two_keys_waits_for_both
            order::a_repeated_attempt_keeps_later_writes_waiting
            order::other_keys_do_not_wait
            order::a_key_named_twice_does_not_block
            order::waiting_survives_a_restart
            order::a_random_history_agrees_with_a_model
            restart::all_answers_are_the_same_and_all_goes_on
            directory::keys_are_made_listed_and_revoked
            directory::a_key_is_known_to_who_sees_all_that_it_does
            directory::a_key_that_exists_is_refused
            directory::registering_again_replaces_and_adds_nothing
            directory::a_credential_comes_back_after_a_restart
            directory::a_registration_that_fails_changes_nothing
            directory::a_registration_takes_nothing_from_another
            directory::the_revision_changes_with_the_directory_only
            directory::a_change_wakes_who_follows_the_directory
            directory::what_is_registered_is_read_by_those_who_may
            directory::a_wrong_master_key_is_refused
            administration::a_change_leaves_what_it_does_not_name
            administration::what_changed_is_read_without_the_rest
            administration::an_archive_waits_for_open_writes_and_takes_the_credential
            administration::members_are_known_by_the_vendors_id_of_them
            administration::a_rotated_key_has_both_tokens_for_a_while
            administration::every_change_is_in_the_audit_log_without_secrets
            sealing::secrets_move_under_another_key_and_nothing_else_changes
            sealing::a_move_that_was_broken_off_needs_both_keys_and_goes_on
            sealing::the_audit_log_is_judged_by_keys_that_are_gone
            sealing::a_store_in_use_follows_a_change_of_key
            sealing::a_secret_that_cannot_be_sealed_under_the_current_key_is_refused
            sealing::secrets_of_subscriptions_move_too
            deliveries::a_random_history_of_deliveries_agrees_with_a_model
            webhooks::a_write_that_ends_is_told_after_what_it_did
            webhooks::a_change_that_fails_tells_nothing
            webhooks::runs_of_synchronisation_are_told
            webhooks::members_are_told_when_something_about_them_differs
            webhooks::an_event_goes_to_those_who_subscribe_to_it
            webhooks::deliveries_are_claimed_in_order_and_never_twice
            webhooks::a_clock_that_is_set_back_delays_no_delivery
            webhooks::a_lapsed_delivery_comes_back_with_its_attempt_cut_off
            webhooks::a_delivery_that_is_cut_off_again_and_again_waits_from_the_third_time
            webhooks::an_attempt_leaves_its_delivery_as_it_says
            webhooks::a_receiver_that_fails_for_five_days_is_switched_off_and_misses_nothing
            webhooks::who_wants_no_more_is_switched_off_at_once
            webhooks::who_says_twice_that_it_is_gone_is_switched_off
            webhooks::changes_of_a_subscription_do_not_undo_each_other
            webhooks::who_delivers_learns_of_each_change_of_a_subscription
            webhooks::a_secret_is_changed_with_an_overlap
            webhooks::a_subscription_is_known_to_who_sees_all_that_it_gets
            webhooks::deliveries_are_replayed_one_or_all_or_since
            webhooks::deliveries_are_listed_by_status_a_page_at_a_time
            webhooks::the_log_of_events_is_walked_both_ways_by_all_that_it_offers
            webhooks::what_happened_long_ago_goes_with_its_deliveries
            webhooks::the_depth_counts_what_waits_for_active_subscriptions
            webhooks::a_forgotten_person_is_in_no_event_and_no_answer
            webhooks::what_is_kept_of_an_old_write_says_nothing_in_its_event
            webhooks::changes_of_subscriptions_are_in_the_audit_log_without_secrets
            webhooks::there_is_an_end_to_the_number_of_subscriptions
            webhooks::a_subscription_ends_with_the_key_that_made_it
            webhooks::a_subscription_ends_with_the_token_that_made_it
            webhooks::a_subscription_that_is_kept_ends_with_the_key_that_kept_it
            webhooks::a_subscription_is_kept_or_adopted_when_its_key_ends
            webhooks::the_health_of_a_receiver_changes_once_however_often_it_is_tried
            administration::there_is_an_end_to_the_number_of_keys
        }
    };
    (@each $backend:expr; $($theme:ident::$case:ident)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() -> $crate::conformance::Verdicts {
            $crate::conformance::$theme::$case($backend).await
        }
    )+};
    (@all $backend:expr; $($theme:ident::$case:ident)+) => {
        async fn every_case() -> $crate::conformance::Verdicts {
            $crate::conformance::all(vec![$(
                Box::pin(async { $crate::conformance::$theme::$case($backend).await })
            ),+]).await
        }
    };
}

/// A case that is still to be run.
pub type Case = Pin<Box<dyn Future<Output = Verdicts>>>;

/// Cases that are run side by side: as many as keep two cores busy.
const CASES_AT_ONCE: usize = 4;

/// Runs cases.
///
/// # Errors
/// As the first that fails.
pub async fn all(cases: Vec<Case>) -> Verdicts {
    stream::iter(cases)
        .buffer_unordered(CASES_AT_ONCE)
        .try_collect()
        .await
}

/// When every case begins.
const START: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

/// How long a signal may take before it counts as lost.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The instant `seconds` after the case began.
const fn at(seconds: i64) -> Timestamp {
    START.plus_millis(seconds * 1_000)
}

/// Splitmix64: the same numbers for the same seed, on every machine.
struct Seeded(AtomicU64);

impl Seeded {
    const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    fn below(&self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

impl Entropy for Seeded {
    fn bytes(&self) -> [u8; 16] {
        ((u128::from(self.next()) << 64) | u128::from(self.next())).to_be_bytes()
    }
}

/// What a case works with: an open store with two integrations, and callers of each kind.
struct World<B> {
    backend: B,
    store: Arc<Store>,
    entropy: Arc<Seeded>,
    here: IntegrationId,
    there: IntegrationId,
    community: CommunityId,
    /// Sees every integration.
    all: Scope,
    /// Is limited to `here`.
    mine: Scope,
    /// Is limited to `there`.
    theirs: Scope,
}

fn sealer(digit: &str, entropy: &Arc<Seeded>) -> Result<Sealer, Error> {
    Sealer::new(&Secret::new(digit.repeat(64)), entropy.clone())
}

impl<B: Backend> World<B> {
    async fn new(backend: B) -> Answer<Self> {
        let entropy = Arc::new(Seeded::new(1));
        let store = backend.open(sealer("a", &entropy)?, START).await?;
        let here = IntegrationId::new(START, &*entropy);
        let there = IntegrationId::new(START, &*entropy);
        let world = Self {
            backend,
            store,
            here,
            there,
            community: CommunityId::new(START, &*entropy),
            all: scope(&entropy, None)?,
            mine: scope(&entropy, Some(vec![here]))?,
            theirs: scope(&entropy, Some(vec![there]))?,
            entropy,
        };
        for id in [here, there] {
            world.register(id).await?;
        }
        Ok(world)
    }

    async fn register(&self, id: IntegrationId) -> Result<(), Error> {
        let registration = Registration {
            integration: integration(id),
            communities: Vec::new(),
            attributions: Vec::new(),
            agents: Vec::new(),
        };
        self.store
            .integration_register(&operator(), registration, START)
            .await
    }

    /// The store as another process has it, where there may be another; else the same.
    async fn elsewhere(&self) -> Answer<Arc<Store>> {
        if !self.store.is_shared() {
            return Ok(self.store.clone());
        }
        let sealer = sealer("a", &self.entropy)?;
        Ok(self.backend.open(sealer, START).await?)
    }

    /// Closes the store and opens its data again.
    async fn restart(&mut self) -> Verdicts {
        self.store.close().await;
        let sealer = sealer("a", &self.entropy)?;
        self.store = self.backend.open(sealer, START).await?;
        Ok(())
    }

    /// A write to `integration_id`, accepted at `accepted_at`.
    fn write(
        &self,
        integration_id: IntegrationId,
        accepted_at: Timestamp,
        order_keys: &[i64],
    ) -> NewWrite {
        let job_id = JobId::new(accepted_at, &*self.entropy);
        NewWrite {
            job_id,
            accepted_at,
            integration_id,
            community_id: self.community,
            operation: Operation::ProspectCreate,
            // Spaces and order as no serializer would write them: an echo is kept as text.
            result: format!("{{ \"z\":1,\"name\" : \"Zoë \\u00e9 😀\",\"job\":\"{job_id}\" }}\n"),
            call: Call {
                method: "POST".to_owned(),
                path: "/v1/prospects".to_owned(),
                x_community_id: "1001".to_owned(),
                body: serde_json::json!({ "profile": { "firstName": "Zoë" }, "job": job_id.to_string() }),
            },
            confirmed: Confirmed {
                create: serde_json::json!({ "first_name": "Zoë", "city": "Seattle", "notes": "first" }),
                update: serde_json::json!({ "notes": "second", "city": null }),
                ..Confirmed::default()
            },
            order_keys: order_keys.to_vec(),
            blocked_by: Vec::new(),
            retry_of: None,
            consent: None,
            request_id: "a-request".to_owned(),
        }
    }

    async fn accept(&self, write: NewWrite) -> Answer<JobId> {
        let job_id = write.job_id;
        match self.store.write_accept(&self.all, write, None).await? {
            Acceptance::Accepted => Ok(job_id),
            other => Err(format!("not accepted: {other:?}").into()),
        }
    }

    /// Accepts a write to `here` at the start.
    async fn accept_here(&self, order_keys: &[i64]) -> Answer<JobId> {
        self.accept(self.write(self.here, START, order_keys)).await
    }

    async fn lane(
        &self,
        id: IntegrationId,
        limit: u32,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Answer<Lane> {
        ask(&self.store, unlimited(id, limit), now, lease_until).await
    }

    /// Claims whatever is due for `here`, under a lease of a minute.
    async fn claim(&self, now: Timestamp) -> Answer<Vec<Claimed>> {
        let until = now.plus_millis(60_000);
        Ok(self.lane(self.here, 1_000, now, until).await?.writes)
    }

    /// Claims the one write that is due for `here`.
    async fn claim_one(&self, now: Timestamp) -> Answer<Ticket> {
        match self.claim(now).await?.as_slice() {
            [one] => Ok(one.ticket),
            other => Err(format!("{} writes are due, not one", other.len()).into()),
        }
    }

    async fn finish(
        &self,
        ticket: Ticket,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<WriteStatus, Error> {
        let class = match verdict {
            Verdict::Delivered { .. } => Class::Delivered,
            Verdict::Failed { .. } => Class::Rejected,
            Verdict::Again { .. } => Class::Retry,
        };
        self.finish_as(ticket, class, verdict, now).await
    }

    async fn finish_as(
        &self,
        ticket: Ticket,
        class: Class,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<WriteStatus, Error> {
        let finish = Finish {
            ticket,
            attempt: attempt(ticket.attempt, class, now),
            verdict,
            pause_until: None,
            now,
        };
        self.store.attempt_finish(&finish).await
    }

    fn delivered(&self, x_id: &str) -> (String, Verdict) {
        let record_id = Kind::Prospect.new_id(START, &*self.entropy);
        let verdict = Verdict::Delivered {
            x_id: Some(x_id.to_owned()),
            record_id: record_id.clone(),
            errors: Vec::new(),
        };
        (record_id, verdict)
    }

    async fn find(&self, job_id: JobId) -> Answer<Write> {
        let found = self.store.write_find(&self.all, job_id).await?;
        Ok(found.ok_or_else(|| format!("{job_id} is not found"))?)
    }

    async fn prospect(&self, id: &str) -> Answer<Prospect> {
        let found = self
            .store
            .record_find(&self.all, Kind::Prospect, id)
            .await?
            .ok_or_else(|| format!("{id} is not found"))?;
        Ok(found.read()?)
    }

    /// Waits until something is signalled as due, and takes it.
    async fn due(&self) -> Answer<HashSet<IntegrationId>> {
        loop {
            let signal = self.store.signals().due();
            let due = self.store.signals().take_due();
            // One that only says that something may have been missed names none.
            if !due.is_empty() {
                return Ok(due);
            }
            tokio::time::timeout(SIGNAL_TIMEOUT, signal).await?;
        }
    }
}

/// Claims for one integration.
async fn ask(store: &Store, ask: Ask, now: Timestamp, lease_until: Timestamp) -> Answer<Lane> {
    let claim = Claim {
        lanes: vec![ask],
        now,
        lease_until,
    };
    let lane = store.writes_claim(claim).await?.pop();
    Ok(lane.ok_or("a claim answers for each lane asked")?)
}

/// Asks for as many as `limit`, whatever others hold.
const fn unlimited(integration_id: IntegrationId, limit: u32) -> Ask {
    Ask {
        integration_id,
        limit,
        concurrency: u32::MAX,
        gap_micros: None,
        as_of: None,
    }
}

fn once(key: u8, body: u8) -> Once {
    Once {
        key_hash: [key; 32],
        fingerprint: [body; 32],
        used_at: at(0),
        expires_at: at(100),
    }
}

fn attempt(number: u32, class: Class, started_at: Timestamp) -> Attempt {
    Attempt {
        number,
        started_at,
        duration_ms: Some(12),
        class,
        error: (class != Class::Delivered).then(|| format!("it was {class}")),
        reply: Reply {
            status: Some(200),
            body: Some("{\"ok\":true}".to_owned()),
            body_is_cut: false,
        },
        kind: AttemptKind::Write,
        x_id: None,
        request: None,
    }
}

fn failed(why: &str) -> Verdict {
    Verdict::Failed {
        errors: vec![why.to_owned()],
    }
}

fn again(at: Timestamp, why: &str) -> Verdict {
    Verdict::Again {
        at,
        errors: vec![why.to_owned()],
    }
}

fn jobs(writes: &[Claimed]) -> Vec<JobId> {
    writes.iter().map(|write| write.job_id).collect()
}

/// A page of a kind by offset, newest first.
fn listed(kind: Kind, offset: u64, limit: u64) -> Query {
    Query {
        from: From::Offset(offset),
        ..Query::new(kind, limit)
    }
}

fn ids(page: &Page<Record>) -> Vec<&str> {
    page.rows.iter().map(|one| one.id.as_str()).collect()
}

/// The operator at the machine.
fn operator() -> Actor {
    #[expect(clippy::disallowed_methods, reason = "a test may act as the operator")]
    Actor::local(Scope::operator())
}

fn credential(id: IntegrationId) -> String {
    format!("secret of {id}, ünïcode")
}

fn integration(id: IntegrationId) -> Integration {
    let settings = Settings {
        extra_headers: vec![("x-community".to_owned(), "{community}".to_owned())],
        max_job_concurrency: 4,
        max_request_frequency: Some(60),
        sync_frequency: 1,
        ..Settings::new("http://127.0.0.1:1")
    };
    Integration::new(
        id,
        "Acme".to_owned(),
        Vendor::named("KNOCK"),
        System::Sandbox,
        settings,
        Secret::new(credential(id)),
    )
}

/// A key and its token.
fn new_key(
    entropy: &Seeded,
    created_at: Timestamp,
    integrations: Option<Vec<IntegrationId>>,
) -> Answer<(Key, Secret)> {
    let (token, kept) = key::token_make(System::Sandbox, entropy, created_at)?;
    let id = KeyId::new(created_at, entropy);
    let key = Key::new(
        id,
        "a key",
        System::Sandbox,
        &Permission::ALL,
        integrations,
        kept,
    );
    Ok((key, token))
}

/// The scope of a key that is limited to `integrations`.
fn scope(entropy: &Seeded, integrations: Option<Vec<IntegrationId>>) -> Answer<Scope> {
    let (key, token) = new_key(entropy, START, integrations)?;
    let contents = Contents {
        keys: vec![key],
        ..Contents::default()
    };
    let scope = Directory::new(contents).authenticate(token.expose(), START);
    Ok(scope.ok_or("a new key is known")?)
}

/// Asserts that `result` is a refusal in words for the caller.
fn assert_conflict<T>(result: Result<T, Error>) {
    let why = result.err();
    assert!(matches!(why, Some(Error::Conflict(_))), "{why:?}");
}

/// Asserts how a write stands.
fn assert_stands(write: &Write, status: WriteStatus, outcome: Option<Outcome>, errors: &[&str]) {
    assert_eq!((write.status, write.outcome), (status, outcome));
    assert_eq!(write.errors, errors);
    assert_eq!(
        write.completed_at.is_some(),
        status != WriteStatus::Pending,
        "a write has a time of completion when it has ended"
    );
}

/// Ends every lease that `which` names, however many a call ends.
async fn lapse(store: &Store, which: Lapse, now: Timestamp) -> Result<u64, Error> {
    let mut all = 0;
    loop {
        match store.leases_lapse(which, now).await? {
            0 => return Ok(all),
            some => all += some,
        }
    }
}
