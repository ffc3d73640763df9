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
}

impl Migration {
    /// SHA-256 of the SQL, in hexadecimal.
    pub fn checksum(&self) -> String {
        model::key::hex(&Sha256::digest(self.sql.as_bytes()))
    }
}

/// The steps of the SQLite back end.
pub const SQLITE: &[Migration] = &[
    Migration {
        number: 1,
        name: "initial",
        sql: include_str!("sqlite/0001_initial.sql"),
    },
    Migration {
        number: 2,
        name: "reads",
        sql: include_str!("sqlite/0002_reads.sql"),
    },
    Migration {
        number: 3,
        name: "administration",
        sql: include_str!("sqlite/0003_administration.sql"),
    },
    Migration {
        number: 4,
        name: "master_key",
        sql: include_str!("sqlite/0004_master_key.sql"),
    },
    Migration {
        number: 5,
        name: "privacy",
        sql: include_str!("sqlite/0005_privacy.sql"),
    },
    Migration {
        number: 6,
        name: "webhooks",
        sql: include_str!("sqlite/0006_webhooks.sql"),
    },
    Migration {
        number: 7,
        name: "nodes",
        sql: include_str!("sqlite/0007_nodes.sql"),
    },
];

/// The steps of the PostgreSQL back end.
pub const POSTGRES: &[Migration] = &[Migration {
    number: 1,
    name: "initial",
    sql: include_str!("postgres/0001_initial.sql"),
}];

/// The steps still to apply, given those that the store records as `(number, checksum)` in order.
///
/// # Errors
/// In words, when the store has a step that this program does not have or has in another wording.
pub fn pending(
    steps: &'static [Migration],
    applied: &[(i64, String)],
) -> Result<&'static [Migration], String> {
    for (place, (number, checksum)) in applied.iter().enumerate() {
        let step = steps.get(place).ok_or_else(|| {
            format!("the store has schema step {number}, this program knows {} steps: it was written by a newer Portico; start that one", steps.len())
        })?;
        if step.number != *number || step.checksum() != *checksum {
            return Err(format!(
                "schema step {} ({}) in the store is not the one this program has: it was written by another build; restore a backup or start that build",
                step.number, step.name
            ));
        }
    }
    Ok(&steps[applied.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_changed_steps_are_refused() {
        let known = (1, SQLITE[0].checksum());
        assert_eq!(pending(SQLITE, &[]).map(<[_]>::len), Ok(SQLITE.len()));
        assert_eq!(
            pending(SQLITE, std::slice::from_ref(&known)).map(<[_]>::len),
            Ok(SQLITE.len() - 1)
        );
        assert!(
            pending(SQLITE, &[(1, "0".repeat(64))]).is_err_and(|why| why.contains("another build"))
        );
        let mut newer: Vec<_> = SQLITE
            .iter()
            .map(|step| (step.number, step.checksum()))
            .collect();
        newer.push((99, "0".repeat(64)));
        assert!(pending(SQLITE, &newer).is_err_and(|why| why.contains("newer Portico")));
    }
}
