//! Integers as JSON Schema counts them: `2.0` is one.
//!
//! Guarantee: whatever number the schema let through as an integer is read as that integer.

use serde::{Deserialize, Deserializer, de::Error as _};

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Whole(i64),
    Float(f64),
}

impl Number {
    fn whole<E: serde::de::Error>(self) -> Result<i64, E> {
        match self {
            Self::Whole(whole) => Ok(whole),
            // Within the 53 bits that a float holds exactly; the schema's bounds are far below.
            Self::Float(float) if float.fract() == 0.0 && float.abs() < 9e15 => Ok(float as i64),
            Self::Float(_) => Err(E::custom("not an integer")),
        }
    }
}

/// Reads an optional integer.
///
/// # Errors
/// When it is a number with a fraction, or no number.
pub fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Option::<Number>::deserialize(deserializer)?
        .map(Number::whole::<D::Error>)
        .transpose()
}

/// Reads an optional count.
///
/// # Errors
/// When it is a number with a fraction, negative or huge, or no number.
pub fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    option(deserializer)?
        .map(|count| u32::try_from(count).map_err(|_| D::Error::custom("not a count")))
        .transpose()
}

/// Reads a count that has to be there; `null` is none.
///
/// # Errors
/// As [`count`].
pub fn some_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    count(deserializer).map(Option::unwrap_or_default)
}

/// Reads an optional list of integers.
///
/// # Errors
/// When a member is a number with a fraction, or no number.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<i64>>, D::Error> {
    Option::<Vec<Number>>::deserialize(deserializer)?
        .map(|list| list.into_iter().map(Number::whole::<D::Error>).collect())
        .transpose()
        .map_err(D::Error::custom)
}
