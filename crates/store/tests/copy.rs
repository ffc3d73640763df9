//! A store that is moved from SQLite to PostgreSQL.
//!
//! Method: cases of the suite that every back end passes, with the store opened on SQLite at first and on PostgreSQL after its first restart, moved in between by [`store::copy`].

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use model::{Entropy, Secret, Timestamp};
use rusqlite::Connection;
use store::{
    Error, Sealer, Store, Unobserved,
    conformance::{self, Backend, Verdicts},
    copy::{self, Progress, Report, Step, TABLES},
    postgres::{self, Place},
    sqlite,
};
use tempfile::TempDir;
use testbed::Database;

/// Data on SQLite at first, then on PostgreSQL.
struct Moving {
    dir: TempDir,
    database: Database,
    opened: AtomicU32,
    /// Whether there is to be something in every table when it moves.
    is_full: bool,
}

impl Moving {
    fn new(is_full: bool) -> std::io::Result<Option<Self>> {
        let Some(database) = Database::create()? else {
            return Ok(None);
        };
        Ok(Some(Self {
            dir: TempDir::new()?,
            database,
            opened: AtomicU32::new(0),
            is_full,
        }))
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("portico.db")
    }

    fn target(&self) -> Place {
        Place::new(self.database.url()).expect("a place")
    }

    fn copy(&self) -> Result<Report, Error> {
        copy::copy(&self.source(), &self.target(), Timestamp::ZERO, &mut |_| ())
    }

    fn check(&self) -> Result<Report, Error> {
        copy::check(&self.source(), &self.target(), &mut |_| ())
    }
}

impl Backend for Moving {
    async fn open(&self, sealer: Sealer, now: Timestamp) -> Result<Arc<Store>, Error> {
        tokio::task::block_in_place(|| {
            let observer = Arc::new(Unobserved);
            match self.opened.fetch_add(1, Ordering::Relaxed) {
                0 => return sqlite::open(&self.source(), sealer, observer, now).map(Arc::new),
                1 => {
                    let (report, again) = (self.copy()?, self.check()?);
                    assert!(report.is_same(), "{report:?}");
                    assert_eq!(report, again);
                    for table in &report.tables {
                        assert_eq!(table.source, table.target);
                        assert!(!self.is_full || table.source.rows > 0, "{}", table.table);
                    }
                }
                _ => {}
            }
            postgres::open(&self.target(), sealer, observer, now).map(Arc::new)
        })
    }
}

/// A case of the suite, moved at its first restart.
macro_rules! moved {
    ($($theme:ident::$case:ident($is_full:expr))+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() -> Verdicts {
            match Moving::new($is_full)? {
                Some(moving) => conformance::$theme::$case(moving).await,
                // Said aloud, and a failure in continuous integration.
                None => Ok(()),
            }
        }
    )+};
}

moved! {
    restart::all_answers_are_the_same_and_all_goes_on(true)
    order::a_random_history_agrees_with_a_model(false)
    order::waiting_survives_a_restart(false)
    delivery::a_lease_and_its_errors_survive_a_restart(false)
    intake::an_idempotency_key_replays_its_write_byte_for_byte(false)
    lists::a_walk_by_cursor_misses_and_repeats_nothing_while_rows_are_written(false)
    consent::an_event_comes_with_its_write(false)
    erasure::a_person_is_forgotten_and_others_are_not(false)
    directory::a_credential_comes_back_after_a_restart(false)
    directory::a_wrong_master_key_is_refused(false)
    administration::every_change_is_in_the_audit_log_without_secrets(false)
    webhooks::a_receiver_that_fails_for_five_days_is_switched_off_and_misses_nothing(false)
    webhooks::a_secret_is_changed_with_an_overlap(false)
}

/// Writes of the tests below, and rows of a page from PostgreSQL, which they are more than.
const WRITES: i64 = 1_200;

/// Writes of a store that has some times as many bytes as may be in memory.
const WRITES_MANY: i64 = 30_000;
const MEMORY_MAX_KIB: u64 = 32 * 1_024;

struct Fixed;

impl Entropy for Fixed {
    fn bytes(&self) -> [u8; 16] {
        [7; 16]
    }
}

fn sealer() -> Sealer {
    Sealer::new(&Secret::new("a".repeat(64)), Arc::new(Fixed)).unwrap()
}

impl Moving {
    /// With an integration and so many writes on SQLite, every second of which is open.
    async fn with(writes: i64) -> Option<Self> {
        let moving = Self::new(false).unwrap()?;
        let (path, observer) = (moving.source(), Arc::new(Unobserved));
        let store = sqlite::open(&path, sealer(), observer, Timestamp::ZERO).unwrap();
        store.close().await;
        moving
            .on_source(
                "INSERT INTO integrations (n, id, vendor, active, credential, body, created_at, updated_at) VALUES (1, 'a', 'KNOCK', 1, x'02', '{}', 0, 0)",
            );
        moving.on_source(&format!(
            "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {writes})
             INSERT INTO writes (seq, job_id, lane, community_id, operation, accepted_at, result, request, status)
             SELECT n, 'job_' || n, 1, 'com', 'prospect_create', n, printf('{{\"name\":\"Zoë\",\"filler\":\"%0900d\"}}', n), printf('%0900d', n), 'PENDING' FROM n;
             INSERT INTO queue (seq, lane, state, due_at, order_keys)
             SELECT seq, 1, 1, accepted_at, CAST(printf('%08d%08d', seq, 7) AS BLOB) FROM writes WHERE seq % 2 = 0;
             INSERT INTO consents SELECT seq, 1, 1, 0, 'request', NULL, NULL FROM writes WHERE seq = 5"
        ));
        Some(moving)
    }

    fn on_source(&self, sql: &str) {
        let connection = Connection::open(self.source()).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    /// Runs statements on PostgreSQL, also those that its triggers refuse to others.
    fn on_target(&self, sql: &str) -> Vec<Vec<String>> {
        let sql = format!("SET session_replication_role = replica; {sql}");
        self.database.query(&sql).unwrap()
    }

    /// The tables on PostgreSQL.
    fn tables(&self) -> BTreeSet<String> {
        let sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()";
        let rows = self.database.query(sql).unwrap();
        rows.into_iter().flatten().collect()
    }

    fn refused(&self) -> String {
        match self.copy() {
            Err(Error::Conflict(why)) => why,
            other => unreachable!("not refused: {other:?}"),
        }
    }

    /// The tables that differ, the key at which they do, and in which way.
    fn differences(&self) -> Vec<String> {
        let report = self.check().unwrap();
        let differing = report.tables.iter().filter_map(|table| {
            let difference = table.difference.as_ref()?;
            assert!(table.source != table.target || difference.what.contains("was given"));
            Some(format!(
                "{} {} {}",
                table.table, difference.key, difference.what
            ))
        });
        differing.collect()
    }
}

/// A column: its type, whether it may be NULL, and its place in the key.
type Columns = BTreeMap<String, (String, bool, i64)>;

/// A later step of one schema that forgets the other fails here, and a table that is not copied too.
#[tokio::test(flavor = "multi_thread")]
async fn both_schemas_have_the_same_tables_and_columns_and_all_are_copied() {
    let Some(moving) = Moving::with(1).await else {
        return;
    };
    tokio::task::block_in_place(|| {
        moving.copy().unwrap();
        let connection = Connection::open(moving.source()).unwrap();
        let names: BTreeSet<String> = connection
            .prepare(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
            )
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let with = |own: &[&str], without: &[&str]| -> BTreeSet<String> {
            let copied = TABLES.iter().filter(|table| !without.contains(table));
            copied.chain(own).map(|&table| table.to_owned()).collect()
        };
        // Who goes before whom is in memory on SQLite, and so is the last time that was given.
        assert_eq!(names, with(&["migrations"], &["queue_order"]));
        assert_eq!(moving.tables(), with(&["migrations", "turn"], &[]));
        // Each database's own.
        for table in names.into_iter().filter(|table| table != "migrations") {
            let ours: Columns = connection
                .prepare("SELECT name, type, \"notnull\" OR pk > 0, pk FROM pragma_table_info(?1)")
                .unwrap()
                .query_map([&table], |row| {
                    let kind: String = row.get(1)?;
                    let kind = match kind.as_str() {
                        "INTEGER" => "bigint",
                        "BLOB" => "bytea",
                        "TEXT" => "text",
                        other => other,
                    };
                    Ok((row.get(0)?, (kind.to_owned(), row.get(2)?, row.get(3)?)))
                })
                .unwrap()
                .map(Result::unwrap)
                .collect();
            let theirs: Columns = moving
                .database
                .query(&format!(
                    "SELECT c.column_name, replace(c.data_type, 'boolean', 'bigint'), c.is_nullable, coalesce(k.ordinal_position, 0), coalesce(c.collation_name, '')
                     FROM information_schema.columns c LEFT JOIN information_schema.key_column_usage k
                     ON k.table_name = c.table_name AND k.column_name = c.column_name
                     AND k.constraint_name IN (SELECT constraint_name FROM information_schema.table_constraints WHERE constraint_type = 'PRIMARY KEY' AND table_name = c.table_name)
                     WHERE c.table_schema = current_schema() AND c.table_name = '{table}'"
                ))
                .unwrap()
                .into_iter()
                .map(|row| {
                    let place = row[3].parse().unwrap();
                    // Rows are read in the order of the key, which is the order of bytes on SQLite.
                    assert!(place == 0 || row[1] != "text" || row[4] == "C", "{table}.{}", row[0]);
                    (row[0].clone(), (row[1].clone(), row[2] == "NO", place))
                })
                .collect();
            assert_eq!(ours, theirs, "{table}");
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_differs_is_named_with_its_table_and_key() {
    let Some(moving) = Moving::with(WRITES).await else {
        return;
    };
    tokio::task::block_in_place(|| {
        let mut steps = Vec::new();
        let mut note = |progress: Progress| steps.push(progress);
        let now = Timestamp::ZERO;
        let report = copy::copy(&moving.source(), &moving.target(), now, &mut note).unwrap();
        assert!(report.is_same());
        let rows = |name| {
            report
                .tables
                .iter()
                .find(|one| one.table == name)
                .unwrap()
                .source
                .rows
        };
        assert_eq!((rows("writes"), rows("queue")), (1_200, 600));
        assert_eq!((rows("queue_order"), rows("keys")), (1_200, 0));
        for step in [Step::Copy, Step::Compare] {
            let ended = steps.iter().filter(|one| one.step == step && one.is_over);
            assert!(ended.map(|one| one.table).eq(TABLES));
        }
        assert_eq!(moving.differences(), [""; 0]);

        for (change, undo, difference) in [
            (
                "UPDATE writes SET result = replace(result, 'Zoë', 'Zoe') WHERE seq = 777",
                "UPDATE writes SET result = replace(result, 'Zoe', 'Zoë') WHERE seq = 777",
                "writes seq 777 differs in result",
            ),
            (
                "UPDATE writes SET outcome = '', kept = 1 WHERE seq >= 1200",
                "UPDATE writes SET outcome = NULL, kept = 2 WHERE seq >= 1200",
                "writes seq 1200 differs in outcome, kept",
            ),
            (
                "DELETE FROM queue WHERE seq = 2",
                "INSERT INTO queue SELECT 2, 1, 1, 2, NULL, 0, NULL, CAST('0000000200000007' AS BYTEA)",
                "queue seq 2 is in SQLite only",
            ),
            (
                "INSERT INTO keys VALUES ('key_z', 1, NULL, NULL, '{}')",
                "DELETE FROM keys",
                "keys id \"key_z\" is in PostgreSQL only",
            ),
            (
                "UPDATE integrations SET active = FALSE",
                "UPDATE integrations SET active = TRUE",
                "integrations n 1 differs in active",
            ),
            (
                "UPDATE consents SET key_id = ''",
                "UPDATE consents SET key_id = NULL",
                "consents seq 5 differs in key_id",
            ),
            (
                "ALTER TABLE writes ALTER COLUMN seq RESTART WITH 1200",
                "ALTER TABLE writes ALTER COLUMN seq RESTART WITH 1201",
                "writes seq 1200 was given, and PostgreSQL would give 1200 to the next row",
            ),
        ] {
            moving.on_target(change);
            assert_eq!(moving.differences(), [difference]);
            moving.on_target(undo);
            assert_eq!(moving.differences(), [""; 0]);
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgresql_cannot_store_is_refused_before_anything_is_there() {
    let Some(moving) = Moving::with(WRITES).await else {
        return;
    };
    tokio::task::block_in_place(|| {
        moving.on_source("UPDATE writes SET community_id = 'a' || char(0) WHERE seq = 1100");
        let why = moving.refused();
        let expected = "the row of writes with seq 1100 has a NUL character in community_id";
        assert!(why.starts_with(expected), "{why}");
        moving.on_source("UPDATE writes SET community_id = CAST(x'ff' AS TEXT) WHERE seq = 1100");
        let why = moving.copy().unwrap_err().to_string();
        assert!(
            why.contains("writes with seq 1100 has no Text in community_id"),
            "{why}"
        );
        moving.on_source(
            "UPDATE writes SET community_id = 'com'; UPDATE integrations SET active = 2",
        );
        let why = moving.copy().unwrap_err().to_string();
        assert!(
            why.contains("integrations with n 1 has no Boolean in active"),
            "{why}"
        );
        assert!(moving.tables().is_empty());
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_broken_off_leaves_nothing() {
    let Some(moving) = Moving::with(WRITES).await else {
        return;
    };
    tokio::task::block_in_place(|| {
        for step in [Step::Copy, Step::Compare] {
            let mut cut = |progress: Progress| {
                if progress.step == step && progress.table == "writes" {
                    moving.on_target("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'portico' AND datname = current_database()");
                }
            };
            let now = Timestamp::ZERO;
            let broken = copy::copy(&moving.source(), &moving.target(), now, &mut cut);
            assert!(broken.is_err(), "{broken:?}");
            assert!(moving.tables().is_empty());
        }
        assert!(moving.copy().unwrap().is_same());
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_empty_target_is_copied_to() {
    let Some(moving) = Moving::with(WRITES).await else {
        return;
    };
    let target = moving.target();
    let why = tokio::task::block_in_place(|| moving.check().unwrap_err().to_string());
    assert!(why.ends_with("holds no Portico data"), "{why}");
    let opened = tokio::task::block_in_place(|| {
        postgres::open(&target, sealer(), Arc::new(Unobserved), Timestamp::ZERO)
    });
    opened.unwrap().close().await;
    tokio::task::block_in_place(|| {
        let why = moving.refused();
        assert!(
            why.contains("rows in master_key, audit_keys, of a server that was started on it"),
            "{why}"
        );
        assert!(!why.contains(':') || why.contains("is not empty"), "{why}");
        let before = moving.differences();
        assert_eq!(before.len(), 5, "{before:?}");
        // A schema without rows is as good as none.
        moving.on_target("DELETE FROM master_key; DELETE FROM audit_keys");
        assert!(moving.copy().unwrap().is_same());
        let why = moving.refused();
        let expected = "rows in master_key, integrations, writes, queue, queue_order, audit_keys";
        assert!(why.contains(expected), "{why}");
        assert_eq!(moving.differences(), [""; 0], "it is as it was");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_source_of_this_version_that_nobody_changes_is_copied() {
    let Some(moving) = Moving::with(1).await else {
        return;
    };
    tokio::task::block_in_place(|| {
        let other = Connection::open(moving.source()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert!(moving.refused().contains("another process is changing"));
        other.execute_batch("ROLLBACK").unwrap();
        // Nor while it is copied.
        let mut tries = 0;
        let mut change = |_: Progress| {
            other.busy_timeout(std::time::Duration::ZERO).unwrap();
            assert!(other.execute_batch("DELETE FROM queue").is_err());
            tries += 1;
        };
        let now = Timestamp::ZERO;
        copy::check(&moving.source(), &moving.target(), &mut change).unwrap_err();
        copy::copy(&moving.source(), &moving.target(), now, &mut change).unwrap();
        assert!(tries > TABLES.len());

        let newest = "(SELECT max(number) FROM migrations)";
        let forget = format!("DELETE FROM migrations WHERE number = {newest}");
        moving.on_target(&forget);
        let why = moving.check().unwrap_err().to_string();
        assert!(
            why.contains("an older one: bring it up to date")
                || why.ends_with("holds no Portico data"),
            "{why}"
        );
        moving.on_source(&forget);
        let why = moving.refused();
        assert!(
            why.contains("an older one: bring it up to date with `portico store migrate`"),
            "{why}"
        );
        moving.on_source("INSERT INTO migrations VALUES (99, 'later', 'x', 0)");
        assert!(moving.refused().contains("another build"));
        moving.on_source("DELETE FROM migrations");
        assert!(moving.refused().ends_with("holds no Portico data"));
        std::fs::remove_file(moving.source()).unwrap();
        let why = moving.copy().unwrap_err().to_string();
        assert!(why.contains("cannot be opened"), "{why}");
        assert!(!moving.source().exists(), "none is made");
    });
}

/// The most memory that this process has used, in KiB.
fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_store_is_copied_in_little_memory() {
    let Some(moving) = Moving::with(WRITES_MANY).await else {
        return;
    };
    moving.on_source(
        "INSERT INTO records (seq, id, kind, lane, x_id, body, created_at, updated_at, last_seen) SELECT seq, 'pro_' || seq, 'prospect', 1, seq, request, seq, seq, seq FROM writes;
         INSERT INTO record_terms SELECT seq * 7919 % 1000003, seq FROM writes;
         INSERT INTO attempts SELECT seq, 1, substr(request, 1, 300) FROM writes;
         INSERT INTO events (seq, id, at, lane, trigger, kind, subject) SELECT seq, 'evt_' || seq, seq, 1, 'DATA_NEW', 'prospect', job_id FROM writes",
    );
    tokio::task::block_in_place(|| {
        let before = memory_kib();
        assert!(moving.copy().unwrap().is_same());
        let used = memory_kib() - before;
        assert!(used < MEMORY_MAX_KIB, "{used} KiB");
    });
}
