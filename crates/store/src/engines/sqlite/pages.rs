//! Overwriting what SQLite leaves between rows.
//!
//! With `secure_delete` SQLite overwrites what is removed where it stands, and pages that become free. What it leaves are copies: a row that it moves
//! to another page stays readable in the space between the rows of the old one until something is written over it. Here that space is found, page by page,
//! and overwritten. Guarantee: after a walk over all pages, nothing that was removed before it is left in the space between rows.
//!
//! The pages are read and written through SQLite itself (`sqlite_dbpage`, which `.cargo/config.toml` has built in), in transactions like any other. Source: the
//! file format, <https://www.sqlite.org/fileformat2.html#b_tree_pages>.

use rusqlite::{Connection, OptionalExtension, params};

use super::database;
use crate::Error;

/// Pages that one piece of a walk reads: some milliseconds of a reader.
const WALK_PAGES: u32 = 1_000;

/// Pages whose space is overwritten in one transaction: two megabytes of log.
pub(super) const CLEAR_MAX_PAGES: usize = 256;

/// The first bytes of a B-tree's pages: those that have a right-most child, and leaves. Any other page begins with a zero, as the first byte of a page's number.
const INNER: [u8; 2] = [2, 5];
const LEAF: [u8; 2] = [10, 13];

/// Bytes in front of the first page's own: the file's head.
const FILE_HEAD_BYTES: usize = 100;

/// A piece of a walk.
pub(super) struct Piece {
    /// Pages with something in the space between their rows.
    pub(super) unclear: Vec<u32>,
    /// The page to go on with; `None` when there are no more.
    pub(super) next: Option<u32>,
}

/// Refuses an SQLite that cannot show its pages.
pub(super) fn check(connection: &Connection) -> Result<(), Error> {
    read(connection, 1).map(drop).map_err(|why| {
        Error::Database(format!(
            "this Portico was built with an SQLite that has no sqlite_dbpage ({why}); build it within its own workspace, whose .cargo/config.toml asks for it"
        ))
    })
}

fn read(connection: &Connection, page: u32) -> Result<Option<Vec<u8>>, Error> {
    connection
        .prepare_cached("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")
        .and_then(|mut sql| sql.query_row([page], |row| row.get(0)).optional())
        .map_err(database)
}

/// Where the space between the rows of a page begins and ends; `None` for a page without rows.
fn space(number: u32, page: &[u8]) -> Option<(usize, usize)> {
    let head = if number == 1 { FILE_HEAD_BYTES } else { 0 };
    let two = |at: usize| {
        Some(usize::from(u16::from_be_bytes([
            *page.get(at)?,
            *page.get(at + 1)?,
        ])))
    };
    let kind = page.get(head)?;
    let head_bytes = if INNER.contains(kind) {
        12
    } else if LEAF.contains(kind) {
        8
    } else {
        return None;
    };
    let rows = two(head + 3)?;
    // A zero stands for 65,536.
    let end = match two(head + 5)? {
        0 => 65_536,
        end => end,
    };
    let begin = head + head_bytes + 2 * rows;
    (begin <= end && end <= page.len()).then_some((begin, end))
}

/// The space of a page, if there is something in it.
fn unclear(number: u32, page: &[u8]) -> Option<(usize, usize)> {
    let (begin, end) = space(number, page)?;
    page[begin..end]
        .iter()
        .any(|byte| *byte != 0)
        .then_some((begin, end))
}

/// Looks at the pages from `first` on, a piece of them.
pub(super) fn walk(connection: &Connection, first: u32) -> Result<Piece, Error> {
    let count: u32 = connection
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .map_err(database)?;
    let end = count.min(first.saturating_add(WALK_PAGES - 1));
    let mut found = Vec::new();
    for number in first..=end {
        if read(connection, number)?.is_some_and(|page| unclear(number, &page).is_some()) {
            found.push(number);
        }
    }
    Ok(Piece {
        unclear: found,
        next: (end < count).then_some(end + 1),
    })
}

/// Overwrites the space between the rows of `pages`, as they are now.
pub(super) fn clear(connection: &Connection, pages: &[u32]) -> Result<(), Error> {
    for number in pages {
        let Some(mut page) = read(connection, *number)? else {
            continue;
        };
        if let Some((begin, end)) = unclear(*number, &page) {
            page[begin..end].fill(0);
            connection
                .prepare_cached("UPDATE sqlite_dbpage SET data = ?2 WHERE pgno = ?1")
                .and_then(|mut sql| sql.execute(params![number, page]))
                .map_err(database)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splitmix64: the same numbers every time.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, bound: u32) -> u32 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            u32::try_from((mixed ^ (mixed >> 31)) % u64::from(bound)).unwrap()
        }
    }

    fn words(person: u32, times: u32) -> String {
        format!("person{person:06}@x ").repeat(usize::try_from(times).unwrap())
    }

    /// A database in which rows have grown and moved about, and every tenth person was removed.
    fn moved_about(path: &std::path::Path, seed: u64) -> (Connection, Vec<u32>) {
        const PEOPLE: u32 = 1_000;
        let mut numbers = Numbers(seed);
        let connection = Connection::open(path).unwrap();
        connection
            .execute_batch(
                "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA secure_delete = ON;
                 CREATE TABLE writes (seq INTEGER PRIMARY KEY, request TEXT, errors TEXT);
                 CREATE TABLE attempts (seq INTEGER, number INTEGER, body TEXT, PRIMARY KEY (seq, number)) WITHOUT ROWID;
                 BEGIN",
            )
            .unwrap();
        let mut open: Vec<u32> = Vec::new();
        for person in 0..PEOPLE {
            connection
                .execute(
                    "INSERT INTO writes VALUES (?1, ?2, NULL)",
                    params![person, words(person, numbers.below(60) + 20)],
                )
                .unwrap();
            open.push(person);
            while !open.is_empty() && numbers.below(5) < 3 {
                let least = u32::try_from(open.len().saturating_sub(200)).unwrap();
                let place = least + numbers.below(u32::try_from(open.len()).unwrap() - least);
                let done = open.remove(usize::try_from(place).unwrap());
                for number in 0..=numbers.below(4) {
                    connection
                        .execute(
                            "INSERT INTO attempts VALUES (?1, ?2, ?3)",
                            params![done, number, words(done, numbers.below(35) + 5)],
                        )
                        .unwrap();
                }
                connection
                    .execute(
                        "UPDATE writes SET errors = ?2 WHERE seq = ?1",
                        params![done, words(done, numbers.below(10))],
                    )
                    .unwrap();
            }
        }
        let gone: Vec<u32> = (0..PEOPLE).filter(|person| person % 10 == 3).collect();
        for person in &gone {
            connection
                .execute(
                    "UPDATE writes SET request = '', errors = NULL WHERE seq = ?1",
                    [person],
                )
                .unwrap();
            connection
                .execute("DELETE FROM attempts WHERE seq = ?1", [person])
                .unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        (connection, gone)
    }

    fn left(connection: &Connection, path: &std::path::Path, people: &[u32]) -> usize {
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                row.get::<_, i64>(0)
            })
            .unwrap();
        let bytes = std::fs::read(path).unwrap();
        let seen: std::collections::BTreeSet<&[u8]> = bytes
            .windows(12)
            .filter(|window| window.starts_with(b"person"))
            .collect();
        people
            .iter()
            .filter(|person| seen.contains(format!("person{person:06}").as_bytes()))
            .count()
    }

    #[test]
    fn what_sqlite_leaves_between_rows_is_found_and_overwritten() {
        let (mut before, mut after) = (0, 0);
        for seed in 0..2 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.db");
            let (connection, gone) = moved_about(&path, seed);
            before += left(&connection, &path, &gone);
            let (mut next, mut pages) = (Some(1), 0);
            while let Some(first) = next {
                let piece = walk(&connection, first).unwrap();
                clear(&connection, &piece.unclear).unwrap();
                pages += piece.unclear.len();
                next = piece.next;
            }
            assert!(pages > 0);
            after += left(&connection, &path, &gone);
            let sound: String = connection
                .query_row("PRAGMA integrity_check", [], |row| row.get(0))
                .unwrap();
            assert_eq!(sound, "ok");
            let kept: i64 = connection
                .query_row(
                    "SELECT count(*) FROM writes WHERE request LIKE 'person%'",
                    [],
                    |row| row.get(0),
                )
                .unwrap();
            assert_eq!(kept, 900);
        }
        assert!(
            before > 0,
            "nothing was left to be found: the test shows nothing"
        );
        assert_eq!(after, 0);
    }
}
