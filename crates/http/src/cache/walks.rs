//! Where pages that were asked for by offset ended.
//!
//! Guarantee: the next page of a walk by offset is read on from there, so it costs the same however
//! far it is, and repeats and misses nothing that is stored or removed meanwhile. Memory is
//! bounded; what is forgotten costs time, and nothing else. A key displaces only its own places
//! while fewer keys walk than are remembered.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::KeyId;
use store::{
    Query,
    query::{From, Row},
};
use tokio::time::Instant;

use crate::cursor;

/// Rows that a page passes over without a place to begin at: so few cost little, and the page is
/// what is stored just now, also for who looks at one again and again.
const EXACT_MAX_ROWS: u64 = 1_000;

/// Keys whose walks are remembered.
const KEYS_MAX: usize = 256;

/// Places that are remembered for a key: some walks of several pages at once. With the keys, some 4
/// MB at the most.
const PLACES_MAX: usize = 64;

/// Bytes of a place that is remembered: no row has longer values, but for names.
const PLACE_MAX_BYTES: usize = 1_024;

/// How long a place is remembered. Who takes longer for a page jumps to the next.
const REMEMBERED: Duration = Duration::from_secs(300);

/// The place behind a row.
struct Place {
    list: String,
    /// Rows in front of it.
    offset: u64,
    row: Row,
    until: Instant,
}

/// The places of a key, the newest last.
struct Walker {
    key: Option<KeyId>,
    places: VecDeque<Place>,
}

/// The places of all keys.
#[derive(Default)]
pub struct Walks {
    /// The one that walked last is the last.
    walkers: Mutex<VecDeque<Walker>>,
}

impl Walks {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Walker>> {
        self.walkers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From where to read a page of `query` that is asked for by offset: from the nearest place
    /// before it that is known.
    pub(crate) fn from(&self, key: Option<KeyId>, query: &Query) -> From {
        let offset = match query.from {
            From::Offset(offset) if offset > EXACT_MAX_ROWS => offset,
            ref from => return from.clone(),
        };
        let (list, now) = (cursor::list_of(query), Instant::now());
        let walkers = self.lock();
        let places = walkers
            .iter()
            .find(|one| one.key == key)
            .into_iter()
            .flat_map(|one| &one.places)
            .filter(|one| one.list == list && one.offset <= offset && one.until > now);
        // Of two at the same offset the newer: the list may have changed in between.
        match places.max_by_key(|one| one.offset) {
            Some(place) => From::Near {
                row: place.row.clone(),
                skip: offset - place.offset,
                offset,
            },
            None => From::Offset(offset),
        }
    }

    /// Remembers that `offset` rows of the list that `query` reads end with `row`.
    pub(crate) fn ended(&self, key: Option<KeyId>, query: &Query, offset: u64, row: Row) {
        let bytes: usize = row.values.iter().map(cursor::bytes_of).sum();
        if bytes + row.id.len() > PLACE_MAX_BYTES {
            return;
        }
        let (list, now) = (cursor::list_of(query), Instant::now());
        let mut walkers = self.lock();
        let known = walkers.iter().position(|one| one.key == key);
        let mut walker = known
            .and_then(|place| walkers.remove(place))
            .unwrap_or_else(|| Walker {
                key,
                places: VecDeque::new(),
            });
        walker
            .places
            .retain(|one| one.until > now && (one.list != list || one.offset != offset));
        if walker.places.len() >= PLACES_MAX {
            walker.places.pop_front();
        }
        walker.places.push_back(Place {
            list,
            offset,
            row,
            until: now + REMEMBERED,
        });
        if walkers.len() >= KEYS_MAX {
            walkers.pop_front();
        }
        walkers.push_back(walker);
    }

    /// Forgets a place whose row is gone.
    pub(crate) fn forget(&self, key: Option<KeyId>, row: &Row) {
        for walker in self.lock().iter_mut().filter(|one| one.key == key) {
            walker.places.retain(|one| one.row.id != row.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::record::Kind;
    use store::query::RowValue;

    use super::*;
    use crate::fixture;

    fn key(n: u8) -> Option<KeyId> {
        Some(fixture::key(n))
    }

    fn at(offset: u64) -> Query {
        Query {
            from: From::Offset(offset),
            ..Query::new(Kind::Prospect, 100)
        }
    }

    fn row(id: &str) -> Row {
        Row {
            id: id.to_owned(),
            values: vec![RowValue::Time(5)],
        }
    }

    fn near(id: &str, skip: u64, offset: u64) -> From {
        From::Near {
            row: row(id),
            skip,
            offset,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_goes_on_from_the_nearest_place_of_its_key_and_list() {
        let walks = Walks::default();
        for offset in [1_000, 2_000, 3_000] {
            walks.ended(key(1), &at(0), offset, row(&offset.to_string()));
        }
        assert_eq!(walks.from(key(1), &at(2_000)), near("2000", 0, 2_000));
        assert_eq!(walks.from(key(1), &at(2_900)), near("2000", 900, 2_900));
        assert_eq!(walks.from(key(1), &at(9_000)), near("3000", 6_000, 9_000));
        assert_eq!(walks.from(key(1), &at(1_000)), From::Offset(1_000), "near");
        assert_eq!(walks.from(key(2), &at(2_000)), From::Offset(2_000));
        let other = Query {
            is_at_vendor: true,
            ..at(2_000)
        };
        assert_eq!(walks.from(key(1), &other), From::Offset(2_000));
        let behind = Query {
            from: From::Row(row("x")),
            ..at(0)
        };
        assert_eq!(walks.from(key(1), &behind), From::Row(row("x")));
        // The same place again: what is there now counts.
        walks.ended(key(1), &at(0), 2_000, row("new"));
        assert_eq!(walks.from(key(1), &at(2_000)), near("new", 0, 2_000));
        walks.forget(key(1), &row("new"));
        assert_eq!(walks.from(key(1), &at(2_000)), near("1000", 1_000, 2_000));
        tokio::time::advance(REMEMBERED).await;
        assert_eq!(walks.from(key(1), &at(2_000)), From::Offset(2_000));
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded_for_each_key_and_over_all() {
        let walks = Walks::default();
        walks.ended(key(9), &at(0), 2_000, row("kept"));
        for offset in 0..2 * PLACES_MAX as u64 {
            walks.ended(key(1), &at(0), 2_000 + offset, row("x"));
        }
        let places = |walks: &Walks| -> usize {
            walks.lock().iter().map(|walker| walker.places.len()).sum()
        };
        assert_eq!(places(&walks), PLACES_MAX + 1);
        assert_eq!(walks.from(key(9), &at(2_000)), near("kept", 0, 2_000));
        let long = Row {
            values: vec![RowValue::Text("x".repeat(PLACE_MAX_BYTES))],
            ..row("x")
        };
        walks.ended(key(9), &at(0), 5_000, long);
        assert_eq!(places(&walks), PLACES_MAX + 1);
        for n in 0..u8::MAX {
            walks.ended(key(n), &at(0), 2_000, row("x"));
        }
        walks.ended(None, &at(0), 2_000, row("x"));
        assert!(walks.lock().len() <= KEYS_MAX);
    }
}
