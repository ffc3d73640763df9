//! The sum of a table's rows: the same on both sides for the same rows.

use sha2::{Digest, Sha256};

use crate::engines::db::Value;

/// All rows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// How many there are.
    pub rows: u64,
    /// SHA-256 over every value of every row in the order of the key, each with its type and length: the same on both sides for the same rows.
    pub digest: [u8; 32],
}

/// A [`Sum`] that grows.
#[derive(Default)]
pub(super) struct Summing {
    pub(super) rows: u64,
    digest: Sha256,
    buffer: Vec<u8>,
}

impl Summing {
    pub(super) fn add(&mut self, row: &[Value<'_>]) {
        let out = &mut self.buffer;
        out.clear();
        for value in row {
            match value {
                Value::Null => out.push(0),
                Value::Integer(value) => {
                    out.push(1);
                    out.extend(value.to_be_bytes());
                }
                Value::Boolean(value) => out.extend([2, u8::from(*value)]),
                Value::Text(value) => {
                    out.push(3);
                    out.extend((value.len() as u64).to_be_bytes());
                    out.extend(value.as_bytes());
                }
                Value::Blob(value) => {
                    out.push(4);
                    out.extend((value.len() as u64).to_be_bytes());
                    out.extend(&**value);
                }
            }
        }
        self.digest.update(out);
        self.rows += 1;
    }

    pub(super) fn sum(self) -> Sum {
        Sum {
            rows: self.rows,
            digest: self.digest.finalize().into(),
        }
    }
}
