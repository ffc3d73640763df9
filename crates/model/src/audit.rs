//! Who changed what: the audit log's entries, and the chain that they form.
//!
//! Guarantee: an entry's hash covers all of it and the hash of the one before, so no entry can be changed, taken out or put in between without the chain
//! breaking there, unless it is made anew from there on. A MAC over each hash, under a key that the log's database does not have, shows that too. What is cut
//! off at the end can be told only by who has noted the last hash elsewhere.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    clock::Timestamp,
    hex,
    id::{IntegrationId, KeyId},
    scope::Scope,
};

/// Who asks for a change, and from where.
#[derive(Clone, Debug)]
pub struct Actor {
    /// What they may see and do.
    pub scope: Scope,
    /// The address that they asked from; `None` at the machine itself.
    pub address: Option<IpAddr>,
    /// The request that it came with.
    pub request_id: Option<String>,
}

impl Actor {
    /// Who acts at the machine itself, with this scope.
    pub const fn local(scope: Scope) -> Self {
        Self {
            scope,
            address: None,
            request_id: None,
        }
    }
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place: 1, 2, ... without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// By which key; `None`: by the operator, on the command line.
    pub key_id: Option<KeyId>,
    /// From which address; `None`: at the machine itself.
    pub address: Option<IpAddr>,
    /// The request that it came with.
    pub request_id: Option<String>,
    /// What was done, by the name of the operation, such as `key_create`.
    pub action: String,
    /// The integration that it concerns, when it is one.
    pub integration_id: Option<IntegrationId>,
    /// The id of what was changed.
    pub subject: String,
    /// How that was before, without secrets; `null` when it was not there.
    pub before: Value,
    /// How that is since, without secrets.
    pub after: Value,
}

/// What the first entry follows: nothing.
pub const CHAIN_START: [u8; 32] = [0; 32];

/// The hash of an entry, given the one before it and the entry as it is kept: JSON text.
pub fn chained(before: &[u8], entry: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(before)
        .chain_update(entry)
        .finalize()
        .into()
}

/// Bytes of the id of a key that entries are authenticated with.
pub const AUDIT_KEY_ID_BYTES: usize = 8;

/// Where a chain was followed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Entries so far.
    pub count: u64,
    /// The hash of the last of them.
    pub head: [u8; 32],
    /// Entries with a MAC, which are the last ones.
    pub with_mac: u64,
    /// The key of the last MAC.
    pub mac_key: Option<[u8; AUDIT_KEY_ID_BYTES]>,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            count: 0,
            head: CHAIN_START,
            with_mac: 0,
            mac_key: None,
        }
    }
}

impl Chain {
    /// Follows it to the next entry as it is kept, and gives that.
    ///
    /// # Errors
    /// In words, when that is not the entry which was written there.
    pub fn follow(&mut self, seq: u64, entry: &str, hash: &[u8]) -> Result<Entry, String> {
        let expected = self.count + 1;
        if seq != expected {
            return Err(format!("entry {expected} is missing: entry {seq} follows"));
        }
        let found = chained(&self.head, entry);
        if found != hash {
            return Err(format!(
                "entry {seq} was changed, or one before it was put in its place: its hash is {}, and would be {}",
                hex::encode(hash),
                hex::encode(&found)
            ));
        }
        let told: Entry = serde_json::from_str(entry)
            .ok()
            .filter(|told: &Entry| told.seq == seq)
            .ok_or_else(|| format!("entry {seq} is not readable as that entry"))?;
        (self.count, self.head) = (seq, found);
        Ok(told)
    }

    /// Takes note of the key that the MAC of `entry`, the last one, was made with; the MAC itself is good. `rotation` is the
    /// action of entries with which another key begins.
    ///
    /// # Errors
    /// In words, when that entry lacks a MAC or has one under another key, and that cannot be.
    pub fn authenticated(
        &mut self,
        entry: &Entry,
        key: Option<[u8; AUDIT_KEY_ID_BYTES]>,
        rotation: &str,
    ) -> Result<(), String> {
        let seq = entry.seq;
        match (self.mac_key, key) {
            (None, None) => return Ok(()),
            (Some(_), None) => {
                return Err(format!(
                    "entry {seq} has no MAC, and the one before it has: it was written by somebody without the master key, or by a version of Portico from before there were MACs"
                ));
            }
            (Some(before), Some(key)) if before != key && entry.action != rotation => {
                return Err(format!(
                    "entry {seq} has a MAC under key {}, and the one before it under key {}, without a rotation of the master key between them",
                    hex::encode(&key),
                    hex::encode(&before)
                ));
            }
            (_, Some(_)) => {}
        }
        self.with_mac += 1;
        self.mac_key = key;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(entries: &[(u64, String, Vec<u8>)]) -> Result<u64, String> {
        let mut chain = Chain::default();
        for (seq, entry, hash) in entries {
            chain.follow(*seq, entry, hash)?;
        }
        Ok(chain.count)
    }

    fn written(count: u64) -> Vec<(u64, String, Vec<u8>)> {
        let mut head = CHAIN_START;
        (1..=count)
            .map(|seq| {
                let entry = Entry {
                    seq,
                    at: Timestamp::ZERO,
                    key_id: None,
                    address: None,
                    request_id: None,
                    action: "key_create".to_owned(),
                    integration_id: None,
                    subject: format!("key_{seq}"),
                    before: Value::Null,
                    after: Value::Null,
                };
                let entry = serde_json::to_string(&entry).unwrap();
                head = chained(&head, &entry);
                (seq, entry, head.to_vec())
            })
            .collect()
    }

    #[test]
    fn entries_with_a_mac_end_the_log_and_keys_change_by_rotation_alone() {
        let entries = written(4);
        let follow = |keys: [Option<u8>; 4], rotated_at: u64| {
            let mut chain = Chain::default();
            for ((seq, entry, hash), key) in entries.iter().zip(keys) {
                let mut entry = chain.follow(*seq, entry, hash)?;
                if *seq == rotated_at {
                    entry.action = "rotate".to_owned();
                }
                let key = key.map(|key| [key; AUDIT_KEY_ID_BYTES]);
                chain.authenticated(&entry, key, "rotate")?;
            }
            Ok::<_, String>(chain.with_mac)
        };
        assert_eq!(follow([None; 4], 0), Ok(0));
        assert_eq!(follow([None, None, Some(1), Some(1)], 0), Ok(2));
        assert_eq!(follow([Some(1), Some(1), Some(2), Some(2)], 3), Ok(4));
        for (keys, part) in [
            ([None, Some(1), None, Some(1)], "entry 3 has no MAC"),
            ([Some(1), Some(1), Some(1), None], "entry 4 has no MAC"),
            (
                [Some(1), Some(1), Some(2), Some(2)],
                "entry 3 has a MAC under",
            ),
        ] {
            assert!(follow(keys, 0).is_err_and(|why| why.contains(part)));
        }
    }

    #[test]
    fn a_chain_that_was_left_alone_holds_and_any_other_breaks() {
        let entries = written(5);
        assert_eq!(chain(&entries), Ok(5));
        for place in 0..5 {
            let mut changed = entries.clone();
            changed[place].1 = changed[place].1.replace("key_create", "key_revoke");
            assert!(
                chain(&changed).is_err_and(|why| why.contains(&format!("entry {}", place + 1)))
            );
            let mut rehashed = changed.clone();
            let before = if place == 0 {
                CHAIN_START.to_vec()
            } else {
                entries[place - 1].2.clone()
            };
            rehashed[place].2 = chained(&before, &rehashed[place].1).to_vec();
            assert_eq!(chain(&rehashed).is_ok(), place == 4, "the next one tells");
            let mut taken_out = entries.clone();
            taken_out.remove(place);
            assert_eq!(chain(&taken_out).is_ok(), place == 4, "the end can be cut");
        }
        let mut swapped = entries.clone();
        swapped.swap(1, 2);
        assert!(chain(&swapped).is_err());
    }
}
