//! The schema's steps: numbered SQL files, embedded, applied in order, each once.
//!
//! Guarantee: a store whose steps this program does not know, or knows in another wording, is refused and left as it is.

use sha2::{Digest, Sha256};

/// One step.
#[derive(Clone, Copy)]
pub struct Migration {
    /// Its number, from 1 on without gaps.
    pub number: i64,
    /// Its name.
    pub name: &'static str,
    /// Its SQL.
    pub sql: &'static str,
    /// The step that a program must know to work on a database that has this one: the one before, if that program's statements mean the same there. Then nodes are upgraded
    /// one after the other, and back. Its own number where they do not, or where one process owns the database anyway.
    pub needs: i64,
}

/// A step that a store has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub number: i64,
    /// [`Migration::checksum`] of what it was.
    pub checksum: String,
    /// [`Migration::needs`]; none where one process owns the database.
    pub needs: Option<i64>,
}

impl Migration {
    /// SHA-256 of the SQL, in hexadecimal.
    pub fn checksum(&self) -> String {
        model::hex::encode(&Sha256::digest(self.sql.as_bytes()))
    }
}

/// The steps of the SQLite back end.
pub const SQLITE: &[Migration] = &[
    Migration {
        number: 1,
        name: "initial",
        sql: include_str!("sqlite/0001_initial.sql"),
        needs: 1,
    },
    Migration {
        number: 2,
        name: "reads",
        sql: include_str!("sqlite/0002_reads.sql"),
        needs: 2,
    },
    Migration {
        number: 3,
        name: "administration",
        sql: include_str!("sqlite/0003_administration.sql"),
        needs: 3,
    },
    Migration {
        number: 4,
        name: "master_key",
        sql: include_str!("sqlite/0004_master_key.sql"),
        needs: 4,
    },
    Migration {
        number: 5,
        name: "privacy",
        sql: include_str!("sqlite/0005_privacy.sql"),
        needs: 5,
    },
    Migration {
        number: 6,
        name: "webhooks",
        sql: include_str!("sqlite/0006_webhooks.sql"),
        needs: 6,
    },
    Migration {
        number: 7,
        name: "nodes",
        sql: include_str!("sqlite/0007_nodes.sql"),
        needs: 7,
    },
    Migration {
        number: 8,
        name: "contacts",
        sql: include_str!("sqlite/0008_contacts.sql"),
        needs: 8,
    },
    Migration {
        number: 9,
        name: "gone_receivers",
        sql: include_str!("sqlite/0009_gone_receivers.sql"),
        needs: 9,
    },
    Migration {
        number: 10,
        name: "clock",
        sql: include_str!("sqlite/0010_clock.sql"),
        needs: 10,
    },
    Migration {
        number: 11,
        name: "makers",
        sql: include_str!("sqlite/0011_makers.sql"),
        needs: 11,
    },
    Migration {
        number: 12,
        name: "audit_macs",
        sql: include_str!("sqlite/0012_audit_macs.sql"),
        needs: 12,
    },
    Migration {
        number: 13,
        name: "vendor_steps",
        sql: include_str!("sqlite/0013_vendor_steps.sql"),
        needs: 13,
    },
];

/// The steps of the PostgreSQL back end.
pub const POSTGRES: &[Migration] = &[
    Migration {
        number: 1,
        name: "initial",
        sql: include_str!("postgres/0001_initial.sql"),
        needs: 1,
    },
    Migration {
        number: 2,
        name: "contacts",
        sql: include_str!("postgres/0002_contacts.sql"),
        needs: 2,
    },
    Migration {
        number: 3,
        name: "gone_receivers",
        sql: include_str!("postgres/0003_gone_receivers.sql"),
        needs: 2,
    },
    Migration {
        number: 4,
        name: "clock",
        sql: include_str!("postgres/0004_clock.sql"),
        needs: 2,
    },
    Migration {
        number: 5,
        name: "makers",
        sql: include_str!("postgres/0005_makers.sql"),
        needs: 2,
    },
    // A node of before would write entries without a MAC.
    Migration {
        number: 6,
        name: "audit_macs",
        sql: include_str!("postgres/0006_audit_macs.sql"),
        needs: 6,
    },
    Migration {
        number: 7,
        name: "vendor_steps",
        sql: include_str!("postgres/0007_vendor_steps.sql"),
        // Two tables and a column more, which an older node has no use for: it has no vendor that gives
        // tokens or limits calls by itself.
        needs: 6,
    },
];

/// The steps still to apply, given those that the store has, in order.
///
/// # Errors
/// In words, when the store has a step that this program does not have or has in another wording.
pub fn pending(
    steps: &'static [Migration],
    applied: &[Applied],
) -> Result<&'static [Migration], String> {
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    for (
        place,
        Applied {
            number,
            checksum,
            needs,
        },
    ) in applied.iter().enumerate()
    {
        let Some(step) = steps.get(place) else {
            if needs.is_some_and(|needs| needs <= known) {
                // A newer Portico was here, beside which this one can work.
                continue;
            }
            return Err(format!(
                "the store has schema step {number}, this program knows {known} steps: it was written by a newer Portico; start that one"
            ));
        };
        if step.number != *number || step.checksum() != *checksum {
            return Err(format!(
                "schema step {} ({}) in the store is not the one this program has: it was written by another build; restore a backup or start that build",
                step.number, step.name
            ));
        }
    }
    Ok(steps.get(applied.len()..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_changed_steps_are_refused() {
        let step = |number, checksum, needs| Applied {
            number,
            checksum,
            needs,
        };
        let known = step(1, SQLITE[0].checksum(), None);
        assert_eq!(pending(SQLITE, &[]).map(<[_]>::len), Ok(SQLITE.len()));
        assert_eq!(
            pending(SQLITE, std::slice::from_ref(&known)).map(<[_]>::len),
            Ok(SQLITE.len() - 1)
        );
        assert!(
            pending(SQLITE, &[step(1, "0".repeat(64), None)])
                .is_err_and(|why| why.contains("another build"))
        );
        let mut newer: Vec<_> = SQLITE
            .iter()
            .map(|one| step(one.number, one.checksum(), None))
            .collect();
        newer.push(step(99, "0".repeat(64), None));
        assert!(pending(SQLITE, &newer).is_err_and(|why| why.contains("newer Portico")));
        // One that says that this program can work beside it.
        let all = i64::try_from(SQLITE.len()).unwrap();
        for (needs, is_taken) in [(all - 1, true), (all, true), (all + 1, false)] {
            if let Some(last) = newer.last_mut() {
                last.needs = Some(needs);
            }
            let pending = pending(SQLITE, &newer);
            assert_eq!(pending.is_ok_and(<[_]>::is_empty), is_taken, "{needs}");
        }
    }
}
