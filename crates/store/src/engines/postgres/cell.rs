//! Values on their way to PostgreSQL and back.

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::session::database;
use crate::{Error, engines::db::Value};

type Fault = Box<dyn std::error::Error + Sync + Send>;

/// A value that no place of a statement takes: a fault of Portico's, which says nothing of the connection.
#[derive(Debug, thiserror::Error)]
#[error("a value does not fit the type {0}")]
pub(super) struct Unfit(Type);

/// What stands for a NUL character, as for all that cannot be read.
const INSTEAD_OF_NUL: &str = "\u{fffd}";

/// A value as PostgreSQL sent it.
pub(crate) enum Cell<'a> {
    /// A number.
    Integer(i64),
    /// Yes or no.
    Boolean(bool),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

impl<'a> FromSql<'a> for Cell<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Fault> {
        Ok(match *ty {
            Type::INT8 => Self::Integer(i64::from_sql(ty, raw)?),
            Type::INT4 => Self::Integer(i32::from_sql(ty, raw)?.into()),
            Type::BOOL => Self::Boolean(bool::from_sql(ty, raw)?),
            Type::BYTEA => Self::Blob(raw),
            _ => Self::Text(<&str>::from_sql(ty, raw)?),
        })
    }

    fn accepts(ty: &Type) -> bool {
        matches!(
            *ty,
            Type::INT8 | Type::INT4 | Type::BOOL | Type::BYTEA | Type::TEXT | Type::VARCHAR
        )
    }
}

/// What a value can be read as.
pub(crate) trait FromCell: Sized {
    /// From a value that may be absent; `None` when it is another kind of value.
    fn from_cell(cell: Option<Cell<'_>>) -> Option<Self>;
}

impl FromCell for i64 {
    fn from_cell(cell: Option<Cell<'_>>) -> Option<Self> {
        match cell {
            Some(Cell::Integer(value)) => Some(value),
            _ => None,
        }
    }
}

impl FromCell for u32 {
    fn from_cell(cell: Option<Cell<'_>>) -> Option<Self> {
        i64::from_cell(cell).and_then(|value| value.try_into().ok())
    }
}

impl FromCell for bool {
    fn from_cell(cell: Option<Cell<'_>>) -> Option<Self> {
        match cell {
            Some(Cell::Boolean(value)) => Some(value),
            _ => None,
        }
    }
}

impl FromCell for String {
    fn from_cell(cell: Option<Cell<'_>>) -> Option<Self> {
        match cell {
            Some(Cell::Text(value)) => Some(value.to_owned()),
            _ => None,
        }
    }
}

impl FromCell for Vec<u8> {
    fn from_cell(cell: Option<Cell<'_>>) -> Option<Self> {
        match cell {
            Some(Cell::Blob(value)) => Some(value.to_vec()),
            _ => None,
        }
    }
}

impl<T: FromCell> FromCell for Option<T> {
    fn from_cell(cell: Option<Cell<'_>>) -> Option<Self> {
        match cell {
            None => Some(None),
            cell => T::from_cell(cell).map(Some),
        }
    }
}

/// The value at a place of a row, whatever it is.
///
/// # Errors
/// When it is of a type that no column has.
pub(crate) fn cell(row: &tokio_postgres::Row, place: usize) -> Result<Option<Cell<'_>>, Error> {
    row.try_get(place).map_err(|why| database(&why))
}

/// The value at a place of a row.
///
/// # Errors
/// When it is of another type.
pub(crate) fn get<T: FromCell>(row: &tokio_postgres::Row, place: usize) -> Result<T, Error> {
    T::from_cell(cell(row, place)?)
        .ok_or_else(|| Error::Database(format!("column {place} is not of the type expected")))
}

/// PostgreSQL has no NUL in text, and a statement that brings one fails, however often it is repeated. So here, at the one way in, another character stands for it: a
/// vendor's words are kept but for that, and nothing is found under an id that has one. What is JSON has it escaped, and keeps it.
impl ToSql for Value<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Fault> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(value) if *ty == Type::INT4 => i32::try_from(*value)
                .map_err(|_| Unfit(ty.clone()))?
                .to_sql(ty, out),
            Self::Integer(value) if *ty == Type::INT8 => value.to_sql(ty, out),
            Self::Boolean(value) if *ty == Type::BOOL => value.to_sql(ty, out),
            Self::Blob(value) if *ty == Type::BYTEA => (&**value).to_sql(ty, out),
            Self::Text(value) if *ty == Type::TEXT || *ty == Type::VARCHAR => {
                if value.contains('\0') {
                    return value.replace('\0', INSTEAD_OF_NUL).to_sql(ty, out);
                }
                (&**value).to_sql(ty, out)
            }
            _ => Err(Unfit(ty.clone()).into()),
        }
    }

    fn accepts(ty: &Type) -> bool {
        Cell::accepts(ty)
    }

    to_sql_checked!();
}
