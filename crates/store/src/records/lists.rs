//! Lists of records: any filters, any order, a page at a time.
//!
//! Guarantee: a page costs what its rows cost, however many records there are: it is read along an index, from its place on.

use model::{Scope, record::Record};

use crate::{Error, Page, Query, Store, engines::db::Db, listing, records::plan::Plan};

/// Reads a page.
pub(crate) fn list(db: &Db<'_>, scope: &Scope, query: &Query) -> Result<Page<Record>, Error> {
    let offset = query.from.offset();
    let Some(plan) = Plan::new(db, scope, query)? else {
        return Ok(Page {
            rows: Vec::new(),
            total: offset.map(|_| 0),
            total_is_exact: true,
            has_more: false,
        });
    };
    let mut rows = plan.rows(db)?;
    let found = rows.len() as u64;
    let asked = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > asked;
    rows.truncate(asked);
    let (total, total_is_exact) = match offset {
        None => (None, true),
        Some(offset) => listing::counted_within(plan.total(db), listing::least(offset, found))?,
    };
    Ok(Page {
        rows,
        total,
        total_is_exact,
        has_more,
    })
}

/// Reads the rows of a page, and no more about it.
pub(crate) fn rows(db: &Db<'_>, scope: &Scope, query: &Query) -> Result<Vec<Record>, Error> {
    let Some(plan) = Plan::new(db, scope, query)? else {
        return Ok(Vec::new());
    };
    let mut rows = plan.rows(db)?;
    rows.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
    Ok(rows)
}

/// Rows that a page passes over at most: beyond it, it is expensive. A walk by offset never comes
/// there, since the place where the page before ended is known.
const SKIPPED_MAX: u64 = 5_000;

impl Store {
    /// A page of records.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the row to go on behind is gone.
    pub async fn records_list(&self, scope: &Scope, query: &Query) -> Result<Page<Record>, Error> {
        let is_far = query.from.skipped() > SKIPPED_MAX;
        self.listed_whole(scope, query, is_far, list, |page| page.total_is_exact)
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{
        Entropy, IntegrationId, JobId, Secret, Timestamp, Vendor,
        directory::{Integration, Settings},
        key::System,
        record::{Kind, SortField},
    };
    use rusqlite::params_from_iter;
    use serde_json::json;

    use super::*;
    use crate::{
        Registration, Sealer, Store, Unobserved,
        engines::{db::Db, sqlite},
        logs::history::Seen,
        records::query::{Equal, From, Range, Row, Sort},
    };

    /// What SQLite says that it does for a page of `query`.
    fn explain(
        connection: &rusqlite::Connection,
        scope: &Scope,
        query: &Query,
    ) -> Result<Vec<String>, Error> {
        let Some(plan) = Plan::new(&Db::Sqlite(connection), scope, query)? else {
            return Ok(Vec::new());
        };
        let (sql, values) = plan.page();
        connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .and_then(|mut sql| {
                sql.query_map(params_from_iter(values), |row| row.get(3))?
                    .collect()
            })
            .map_err(sqlite::database)
    }

    struct Counting(std::sync::atomic::AtomicU64);
    impl Entropy for Counting {
        fn bytes(&self) -> [u8; 16] {
            let n = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            u128::from(n).to_be_bytes()
        }
    }

    const START: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

    /// A store with prospects: 2,000 of one integration, ten of another; one community in three has nearly all.
    async fn filled() -> (tempfile::TempDir, Arc<Store>, [IntegrationId; 2]) {
        let dir = tempfile::tempdir().unwrap();
        let entropy = Arc::new(Counting(1.into()));
        let sealer = Sealer::new(&Secret::new("a".repeat(64)), entropy.clone()).unwrap();
        let path = dir.path().join("portico.db");
        let store =
            Arc::new(crate::sqlite::open(&path, sealer, Arc::new(Unobserved), START).unwrap());
        #[expect(clippy::disallowed_methods, reason = "a test acts as the operator")]
        let by = model::Actor::local(Scope::operator());
        let ids = [(); 2].map(|()| IntegrationId::new(START, &*entropy));
        for (place, id) in ids.into_iter().enumerate() {
            let integration = Integration::new(
                id,
                String::new(),
                Vendor::named("KNOCK"),
                System::Sandbox,
                Settings::new("http://127.0.0.1:1"),
                Secret::new("key"),
            );
            let registration = Registration {
                integration,
                communities: Vec::new(),
                attributions: Vec::new(),
                agents: Vec::new(),
            };
            store
                .integration_register(&by, registration, START)
                .await
                .unwrap();
            let seen = |n: usize| Seen {
                kind: Kind::Prospect,
                x_id: n.to_string(),
                asked_at: START,
                update: serde_json::Map::new(),
                add: Vec::new(),
                is_gone: false,
                create: Some((
                    Kind::Prospect.new_id(START, &*entropy),
                    json!({
                        "community_id": if n.is_multiple_of(100) { "com_rare" } else { "com_often" },
                        "email_1": format!("p{n}@example.com"),
                    }),
                )),
            };
            let rows = [2_000, 10][place];
            let job_id = JobId::new(START, &*entropy);
            let seen = (0..rows).map(seen).collect();
            store.sync_record(id, job_id, seen, START).await.unwrap();
        }
        (dir, store, ids)
    }

    #[expect(clippy::disallowed_methods, reason = "a test may see everything")]
    fn everyone() -> Scope {
        Scope::operator()
    }

    /// What SQLite does for a page of `query`: `expect` begins its first step, and it sorts only when `sorts`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "each query is made for its check"
    )]
    fn check(dir: &tempfile::TempDir, query: Query, expect: &str, sorts: bool) {
        let shown = format!("{query:?}");
        let connection = rusqlite::Connection::open(dir.path().join("portico.db")).unwrap();
        let steps = explain(&connection, &everyone(), &query).unwrap();
        assert!(steps[0].starts_with(expect), "{steps:?} for {shown}");
        let has = |what: &str| steps.iter().any(|step| step.starts_with(what));
        assert!(!has("SCAN"), "{steps:?} for {shown}");
        assert_eq!(has("USE TEMP B-TREE"), sorts, "{steps:?} for {shown}");
    }

    fn by(field: SortField, is_descending: bool) -> Vec<Sort> {
        vec![Sort {
            field,
            is_descending,
        }]
    }

    fn of(name: &str, value: &str) -> Equal {
        Equal {
            filter: *Kind::Prospect.filter(name).unwrap(),
            integration_id: None,
            value: value.to_owned(),
        }
    }

    #[tokio::test]
    async fn no_page_is_read_by_a_walk_over_all_records() {
        let (dir, store, [many, few]) = filled().await;
        let all = || Query::new(Kind::Prospect, 50);
        let page = store.records_list(&everyone(), &all()).await.unwrap();
        let last = page.rows.last().unwrap().clone();
        for (field, index) in [
            (SortField::CreatedAt, "records_kind"),
            (SortField::UpdatedAt, "records_updated"),
            (SortField::LastSeen, "records_seen"),
            (SortField::Id, "sqlite_autoindex_records_1"),
        ] {
            for is_descending in [true, false] {
                let order = by(field, is_descending);
                let along = if field == SortField::Id {
                    "id>?"
                } else {
                    "kind=?"
                };
                let expect = format!("SEARCH r USING INDEX {index} ({along}");
                let query = Query {
                    order: order.clone(),
                    ..all()
                };
                check(&dir, query, &expect, false);
                let from = From::Row(Row::of(&last, Kind::Prospect, &order));
                let query = Query {
                    order,
                    from,
                    ..all()
                };
                check(&dir, query, &expect, false);
            }
        }
        let term = "SEARCH t USING PRIMARY KEY (term=?";
        let often = || vec![of("community_id", "com_often")];
        check(
            &dir,
            Query {
                equal: often(),
                ..all()
            },
            term,
            false,
        );
        let from = From::Row(Row::of(&last, Kind::Prospect, &Sort::newest_first()));
        check(
            &dir,
            Query {
                equal: often(),
                from,
                ..all()
            },
            term,
            false,
        );
        let integrations = Some(vec![few]);
        check(
            &dir,
            Query {
                integrations,
                ..all()
            },
            term,
            false,
        );
        let email = vec![of("email_1", "p7@example.com")];
        check(
            &dir,
            Query {
                equal: email,
                ..all()
            },
            term,
            false,
        );
        let x_id = Some((many, "7".to_owned()));
        let vendor = "SEARCH r USING INDEX records_x (lane=? AND kind=? AND x_id=?";
        check(&dir, Query { x_id, ..all() }, vendor, false);

        // By another time than the order stored: what is rare is sorted, what is common is met on the way.
        let rare = vec![of("community_id", "com_rare")];
        let order = || by(SortField::UpdatedAt, true);
        check(
            &dir,
            Query {
                equal: rare,
                order: order(),
                ..all()
            },
            term,
            true,
        );
        let updated = "SEARCH r USING INDEX records_updated (kind=?";
        check(
            &dir,
            Query {
                equal: often(),
                order: order(),
                ..all()
            },
            updated,
            false,
        );
        // A range that holds few leads, whatever the order.
        let ranges = vec![Range {
            field: SortField::UpdatedAt,
            least: Some(last.updated_at),
            most: None,
        }];
        let bounded = "SEARCH r USING INDEX records_updated (kind=? AND updated_at>?";
        check(
            &dir,
            Query {
                ranges: ranges.clone(),
                order: order(),
                ..all()
            },
            bounded,
            false,
        );
        check(&dir, Query { ranges, ..all() }, bounded, true);
        // Behind a known row, the order's index begins there.
        let from = From::Near {
            row: Row::of(&last, Kind::Prospect, &order()),
            skip: 3,
            offset: 53,
        };
        let near = Query {
            equal: often(),
            order: order(),
            from,
            ..all()
        };
        let behind = "SEARCH r USING INDEX records_updated (kind=? AND updated_at<?";
        check(&dir, near, behind, false);
    }

    #[tokio::test]
    async fn a_count_that_takes_too_long_is_told_as_a_lower_bound() {
        let (dir, _store, [many, _]) = filled().await;
        let mut connection = rusqlite::Connection::open(dir.path().join("portico.db")).unwrap();
        let query = |offset| Query {
            equal: vec![of("community_id", "com_often")],
            integrations: Some(vec![many]),
            from: From::Offset(offset),
            ..Query::new(Kind::Prospect, 50)
        };
        let read = |connection: &rusqlite::Connection, offset| {
            let page = list(&Db::Sqlite(connection), &everyone(), &query(offset)).unwrap();
            (
                page.rows.len(),
                page.has_more,
                page.total,
                page.total_is_exact,
            )
        };
        assert_eq!(read(&connection, 100), (50, true, Some(1_980), true));
        // A page is read in far fewer steps than all that match are counted in.
        let ends = connection.progress_handler(20_000, Some(|| true));
        ends.unwrap();
        assert_eq!(read(&connection, 100), (50, true, Some(151), false));
    }
}
