//! Lists of records: every filter in every order, by offset and by cursor.
//!
//! Method: random records, changed at random; what a list answers is compared with the same question put to all rows in plain Rust.

#![expect(missing_docs, reason = "a case's name is its sentence")]

use std::{cmp::Ordering, collections::HashSet};

use futures_util::future::try_join_all;
use model::{
    IntegrationId, JobId, Scope, Timestamp,
    record::{Kind, Record, SortField},
};
use serde_json::{Map, Value, json};

use super::{Answer, Backend, Verdicts, World, assert_conflict, at, listed};
use crate::{
    Query,
    logs::history::Seen,
    records::query::{Equal, From, Range, Row, RowValue, Sort},
};

/// Rows of the random lists: more than a page, fewer than what a range may have and still lead.
const ROWS: usize = 300;

/// Pages of a walk from the first row to the last, at most.
const WALK_PAGES: u64 = 5;

/// Random questions put to them.
const QUESTIONS: usize = 400;

impl<B: Backend> World<B> {
    fn seen(&self, kind: Kind, x_id: &str, body: Value) -> Seen {
        Seen {
            kind,
            x_id: x_id.to_owned(),
            asked_at: Timestamp::from_micros(i64::MAX),
            update: match body.clone() {
                Value::Object(update) => update,
                _ => Map::new(),
            },
            add: Vec::new(),
            create: Some((kind.new_id(at(0), &*self.entropy), body)),
            is_gone: false,
        }
    }

    async fn show(&self, id: IntegrationId, seen: Vec<Seen>, now: Timestamp) -> Answer<()> {
        let job_id = JobId::new(now, &*self.entropy);
        self.store.sync_record(id, job_id, seen, now).await?;
        Ok(())
    }

    fn pick<'a, T>(&self, all: &'a [T]) -> &'a T {
        &all[self.entropy.below(all.len())]
    }

    fn person(&self) -> Value {
        let letter = ["a", "b", "c"];
        let mut body = json!({
            "community_id": format!("com_{}", self.pick(&letter)),
            "attribution_id": format!("att_{}", self.pick(&letter)),
            "email_1": format!("P{}@Example.com", self.entropy.below(40)),
        });
        if self.entropy.below(2) == 0 {
            body["agent_id"] = json!(format!("agt_{}", self.pick(&letter)));
            body["x_agent_id"] = json!(format!("agent {}", self.pick(&letter)));
        }
        if self.entropy.below(3) > 0 {
            body["last_name"] = json!(self.pick(&["Byron", "Zoë", "Ångström", &"x".repeat(70)]));
            body["first_name"] = json!(self.pick(&["Ada", "Zoë"]));
        }
        if self.entropy.below(3) == 0 {
            body["status"] = json!(self.pick(&["New", "Open"]));
        }
        body
    }

    /// Prospects of both integrations, some of them changed, some seen again.
    async fn populate(&self) -> Answer<()> {
        let mut shown = Vec::new();
        for n in 0..ROWS * 2 {
            let integration = *self.pick(&[self.here, self.here, self.there]);
            let x_id = self.entropy.below(ROWS).to_string();
            let now = at(i64::try_from(n)? / 3);
            let seen = self.seen(Kind::Prospect, &x_id, self.person());
            shown.push(self.show(integration, vec![seen], now));
        }
        // Side by side, in this order: some share a commit.
        try_join_all(shown).await?;
        Ok(())
    }

    async fn all(&self, scope: &Scope, kind: Kind) -> Answer<Vec<Record>> {
        let page = self
            .store
            .records_list(scope, &listed(kind, 0, 10_000))
            .await?;
        assert_eq!(page.total, Some(page.rows.len() as u64));
        Ok(page.rows)
    }

    fn question(&self) -> Query {
        let mut query = Query::new(Kind::Prospect, self.entropy.below(20) as u64 + 1);
        let filters = Kind::Prospect.filters();
        for _ in 0..self.entropy.below(3) {
            let filter = *self.pick(filters);
            let body = self.person();
            let Some(value) = filter.values(&body).pop() else {
                continue;
            };
            query.equal.push(Equal {
                filter,
                integration_id: filter.is_of_vendor.then_some(self.here),
                value,
            });
        }
        let ids = [
            vec![self.here],
            vec![self.there],
            vec![self.here, self.there],
            vec![],
        ];
        if self.entropy.below(3) == 0 {
            query.integrations = Some(self.pick(&ids).clone());
        }
        if self.entropy.below(8) == 0 {
            query.x_id = Some((self.here, self.entropy.below(ROWS).to_string()));
        }
        let times = [SortField::UpdatedAt, SortField::LastSeen];
        for _ in 0..self.entropy.below(2) {
            let bound = |n: usize| Some(at(i64::try_from(n).unwrap_or(0)));
            query.ranges.push(Range {
                field: *self.pick(&times),
                least: (self.entropy.below(2) == 0)
                    .then(|| bound(self.entropy.below(ROWS)))
                    .flatten(),
                most: (self.entropy.below(2) == 0)
                    .then(|| bound(self.entropy.below(ROWS)))
                    .flatten(),
            });
        }
        query.order = (0..=self.entropy.below(2))
            .map(|_| Sort {
                field: *self.pick(SortField::ALL),
                is_descending: self.entropy.below(2) == 0,
            })
            .collect();
        query
    }
}

fn keeps(query: &Query, record: &Record) -> bool {
    let of = |ids: &[IntegrationId]| ids.iter().any(|id| id.to_string() == record.integration_id);
    let equal = query.equal.iter().all(|one| {
        one.filter.values(&record.body).contains(&one.value)
            && one.integration_id.is_none_or(|id| of(&[id]))
    });
    let within = query.ranges.iter().all(|range| {
        let time = match range.field {
            SortField::LastSeen => record.last_seen,
            _ => record.updated_at,
        };
        range.least.is_none_or(|least| time >= least) && range.most.is_none_or(|most| time <= most)
    });
    let under = query
        .x_id
        .as_ref()
        .is_none_or(|(id, x_id)| of(&[*id]) && record.x_id.as_ref() == Some(x_id));
    query.integrations.as_deref().is_none_or(of) && equal && within && under
}

fn compare(order: &[Sort], one: &Record, other: &Record) -> Ordering {
    let mut last = true;
    for sort in order {
        let by = match sort.field {
            SortField::CreatedAt => one.created_at.cmp(&other.created_at),
            SortField::UpdatedAt => one.updated_at.cmp(&other.updated_at),
            SortField::LastSeen => one.last_seen.cmp(&other.last_seen),
            SortField::Id => one.id.cmp(&other.id),
            SortField::Name => {
                let name = |one: &Record| Kind::Prospect.sorted_name(&one.body);
                name(one).cmp(&name(other))
            }
        };
        last = sort.is_descending;
        let by = if sort.is_descending { by.reverse() } else { by };
        if by != Ordering::Equal {
            return by;
        }
    }
    let by = one.created_at.cmp(&other.created_at);
    if last { by.reverse() } else { by }
}

fn ids(rows: &[Record]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}

pub async fn any_filter_in_any_order_agrees_with_a_model<B: Backend>(backend: B) -> Verdicts {
    let mut world = World::new(backend).await?;
    world.populate().await?;
    world.restart().await?;
    let everything = world.all(&world.all, Kind::Prospect).await?;
    assert!(everything.len() > ROWS / 2);
    let times: HashSet<Timestamp> = everything.iter().map(|row| row.created_at).collect();
    assert_eq!(times.len(), everything.len(), "no two share a time");
    for n in 0..QUESTIONS {
        let mut query = world.question();
        let (scope, limited) = if n % 3 == 0 {
            (&world.mine, Some(world.here.to_string()))
        } else {
            (&world.all, None)
        };
        let mut expected: Vec<Record> = everything
            .iter()
            .filter(|row| limited.as_ref().is_none_or(|id| *id == row.integration_id))
            .filter(|row| keeps(&query, row))
            .cloned()
            .collect();
        expected.sort_by(|one, other| compare(&query.order, one, other));

        let (offset, limit) = (world.entropy.below(30), usize::try_from(query.limit)?);
        query.from = From::Offset(offset as u64);
        let page = world.store.records_list(scope, &query).await?;
        let rest = expected.get(offset..).unwrap_or_default();
        assert_eq!(
            ids(&page.rows),
            ids(&rest[..limit.min(rest.len())]),
            "{query:?}"
        );
        assert_eq!(page.total, Some(expected.len() as u64), "{query:?}");
        assert_eq!(page.has_more, rest.len() > limit, "{query:?}");
        assert!(page.total_is_exact, "{query:?}");

        // The same page, begun at a row that was read before.
        let known = world.entropy.below(offset + 1);
        if let Some(row) = known.checked_sub(1).and_then(|place| expected.get(place)) {
            query.from = From::Near {
                row: Row::of(row, query.kind, &query.order),
                skip: (offset - known) as u64,
                offset: offset as u64,
            };
            let near = world.store.records_list(scope, &query).await?;
            assert_eq!(ids(&near.rows), ids(&page.rows), "{query:?}");
            assert_eq!(
                (near.total, near.has_more),
                (page.total, page.has_more),
                "{query:?}"
            );
        }

        // By cursor from the beginning to the end, in a few pages.
        query.from = From::Offset(0);
        query.limit = query.limit.max(expected.len() as u64 / WALK_PAGES + 1);
        let mut walked: Vec<Record> = Vec::new();
        loop {
            let page = world.store.records_list(scope, &query).await?;
            walked.extend(page.rows);
            let Some(last) = walked.last().filter(|_| page.has_more) else {
                break;
            };
            query.from = From::Row(Row::of(last, query.kind, &query.order));
        }
        assert_eq!(ids(&walked), ids(&expected), "{query:?}");
    }
    Ok(())
}

pub async fn a_walk_by_cursor_misses_and_repeats_nothing_while_rows_are_written<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    world.populate().await?;
    for (field, is_descending) in [
        (SortField::CreatedAt, true),
        (SortField::CreatedAt, false),
        (SortField::UpdatedAt, false),
    ] {
        let before: HashSet<String> = world
            .all(&world.all, Kind::Prospect)
            .await?
            .into_iter()
            .map(|row| row.id)
            .collect();
        let mut query = Query::new(Kind::Prospect, 7);
        query.order = vec![Sort {
            field,
            is_descending,
        }];
        let (mut walked, mut written) = (Vec::new(), 0);
        loop {
            let page = world.store.records_list(&world.all, &query).await?;
            let last = page.rows.last().cloned();
            walked.extend(page.rows.into_iter().map(|row| row.id));
            let Some(last) = last.filter(|_| page.has_more) else {
                break;
            };
            query.from = From::Row(Row::of(&last, query.kind, &query.order));
            // Meanwhile some come, and some that are there change; on a clock that even runs backwards.
            if written < 200 {
                for _ in 0..3 {
                    written += 1;
                    let x_id = match world.entropy.below(2) {
                        0 => format!("new {field:?} {is_descending} {written}"),
                        _ => world.entropy.below(ROWS).to_string(),
                    };
                    let now = at(500 - i64::from(written));
                    let seen = world.seen(Kind::Prospect, &x_id, world.person());
                    world.show(world.here, vec![seen], now).await?;
                }
            }
        }
        let distinct: HashSet<&String> = walked.iter().collect();
        assert!(before.iter().all(|id| distinct.contains(id)), "none missed");
        if field == SortField::CreatedAt {
            assert_eq!(distinct.len(), walked.len(), "none twice");
        }
        if !is_descending {
            let after = world.all(&world.all, Kind::Prospect).await?;
            assert_eq!(distinct.len(), after.len(), "nor what came meanwhile");
        }
    }
    Ok(())
}

pub async fn a_row_that_is_gone_is_a_conflict<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    world.populate().await?;
    let mut query = Query::new(Kind::Prospect, 7);
    query.from = From::Row(Row {
        id: Kind::Prospect.new_id(at(0), &*world.entropy),
        values: vec![RowValue::Time(0)],
    });
    assert_conflict(world.store.records_list(&world.all, &query).await);
    Ok(())
}

pub async fn a_cursor_leads_behind_no_record_that_its_reader_may_not_see<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    for integration in [world.here, world.there] {
        for n in 0..2 {
            let prospect = world.seen(Kind::Prospect, &n.to_string(), world.person());
            world.show(integration, vec![prospect], at(n)).await?;
        }
    }
    let read = async |scope: &Scope, row: &Record| {
        let mut query = Query::new(Kind::Prospect, 7);
        query.from = From::Row(Row::of(row, query.kind, &query.order));
        world.store.records_list(scope, &query).await
    };
    for (own, other) in [(&world.mine, &world.theirs), (&world.theirs, &world.mine)] {
        for row in world.all(other, Kind::Prospect).await? {
            assert_conflict(read(own, &row).await);
            read(other, &row).await?;
            read(&world.all, &row).await?;
        }
    }
    Ok(())
}

pub async fn a_filter_by_an_id_of_ours_is_answered_to_those_who_may_see_it<B: Backend>(
    backend: B,
) -> Verdicts {
    let world = World::new(backend).await?;
    let mut communities = Vec::new();
    for integration in [world.here, world.there] {
        let body = json!({ "name": "a community" });
        let community = world.seen(Kind::Community, "c1", body);
        let id = community.create.as_ref().map(|(id, _)| id.clone());
        world.show(integration, vec![community], at(0)).await?;
        let id = id.ok_or("a new community has an id")?;
        for n in 0..3 {
            let body = json!({ "community_id": id });
            let prospect = world.seen(Kind::Prospect, &n.to_string(), body);
            world.show(integration, vec![prospect], at(n)).await?;
        }
        communities.push(id);
    }
    let filter = Kind::Prospect.filter("community_id").ok_or("a filter")?;
    for (scope, integrations, community, rows) in [
        (&world.all, None, 0, 3),
        (&world.mine, None, 0, 3),
        (&world.mine, None, 1, 0),
        (&world.theirs, None, 1, 3),
        (&world.all, Some(vec![world.here]), 0, 3),
        (&world.all, Some(vec![world.here]), 1, 0),
        (&world.all, Some(vec![world.here, world.there]), 1, 3),
        (&world.mine, Some(vec![world.there]), 1, 0),
    ] {
        let query = Query {
            integrations,
            equal: vec![Equal {
                filter: *filter,
                integration_id: None,
                value: communities[community].clone(),
            }],
            ..Query::new(Kind::Prospect, 10)
        };
        let page = world.store.records_list(scope, &query).await?;
        assert_eq!(
            (page.rows.len(), page.total),
            (rows, Some(rows as u64)),
            "{query:?}"
        );
    }
    Ok(())
}
