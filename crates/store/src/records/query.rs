//! What a list is asked for: which records, in which order, from where on.
//!
//! Guarantee: every back end answers the same query with the same rows. The fields that may stand in one are those of [`Kind::filters`] and
//! [`SortField::ALL`].

use model::{
    IntegrationId, Timestamp,
    record::{Filter, Kind, Record, SortField},
};

/// A list to be read.
#[derive(Clone, Debug)]
pub struct Query {
    /// Of what.
    pub kind: Kind,
    /// Of these integrations only; of all that the caller may see when absent.
    pub integrations: Option<Vec<IntegrationId>>,
    /// Under this vendor's id in that integration.
    pub x_id: Option<(IntegrationId, String)>,
    /// Only what the vendor has an id for.
    pub is_at_vendor: bool,
    /// With these values, in their normal form.
    pub equal: Vec<Equal>,
    /// With times within these bounds.
    pub ranges: Vec<Range>,
    /// In this order; what it leaves open follows the order stored, in the last field's direction.
    pub order: Vec<Sort>,
    /// From where on.
    pub from: From,
    /// Rows at most.
    pub limit: u64,
}

impl Query {
    /// All of a kind, newest first, from the beginning.
    pub fn new(kind: Kind, limit: u64) -> Self {
        Self {
            kind,
            integrations: None,
            x_id: None,
            is_at_vendor: false,
            equal: Vec::new(),
            ranges: Vec::new(),
            order: Sort::newest_first(),
            from: From::Offset(0),
            limit,
        }
    }
}

/// A field that must have a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equal {
    /// The field: one of the kind's filters.
    pub filter: Filter,
    /// For a field of the vendor's, the integration that it is of.
    pub integration_id: Option<IntegrationId>,
    /// The value, in its normal form.
    pub value: String,
}

/// A time that must lie within bounds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Which time: when it changed, or when it was seen.
    pub field: SortField,
    /// Not before.
    pub least: Option<Timestamp>,
    /// Not after.
    pub most: Option<Timestamp>,
}

/// A field and a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The field.
    pub field: SortField,
    /// From the largest down.
    pub is_descending: bool,
}

impl Sort {
    /// The order of a list that is asked for without one.
    pub fn newest_first() -> Vec<Self> {
        vec![Self {
            field: SortField::CreatedAt,
            is_descending: true,
        }]
    }
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// Behind so many rows. The page then says how many there are in all.
    Offset(u64),
    /// Behind a row that was read before.
    Row(Row),
    /// Behind `offset` rows, of which `row` is one that was read before: the place is `skip` rows
    /// behind it. The page says how many there are in all, as with [`From::Offset`], and costs what
    /// the skipped rows cost.
    Near {
        /// The row that was read.
        row: Row,
        /// Rows between it and the page.
        skip: u64,
        /// Rows in front of the page.
        offset: u64,
    },
}

impl From {
    /// Rows that are passed over to get to the page.
    pub const fn skipped(&self) -> u64 {
        match self {
            Self::Offset(offset) => *offset,
            Self::Row(_) => 0,
            Self::Near { skip, .. } => *skip,
        }
    }

    /// Rows in front of the page, when it was asked for by their number.
    pub const fn offset(&self) -> Option<u64> {
        match self {
            Self::Offset(offset) | Self::Near { offset, .. } => Some(*offset),
            Self::Row(_) => None,
        }
    }

    /// The row to go on behind.
    pub const fn row(&self) -> Option<&Row> {
        match self {
            Self::Offset(_) => None,
            Self::Row(row) | Self::Near { row, .. } => Some(row),
        }
    }
}

/// A row as a place in a list: what a cursor holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The record's id.
    pub id: String,
    /// The values that it had in the fields of the order when it was read; times in microseconds.
    pub values: Vec<RowValue>,
}

impl Row {
    /// The place of `record`, which is one of `kind`, in a list that is in this order.
    pub fn of(record: &Record, kind: Kind, order: &[Sort]) -> Self {
        let values = order.iter().map(|sort| match sort.field {
            SortField::CreatedAt => RowValue::Time(record.created_at.as_micros()),
            SortField::UpdatedAt => RowValue::Time(record.updated_at.as_micros()),
            SortField::LastSeen => RowValue::Time(record.last_seen.as_micros()),
            SortField::Id => RowValue::Text(record.id.clone()),
            SortField::Name => RowValue::Text(kind.sorted_name(&record.body)),
        });
        Self {
            id: record.id.clone(),
            values: values.collect(),
        }
    }
}

/// A value of a row in the order of its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowValue {
    /// A time.
    Time(i64),
    /// A text.
    Text(String),
}
