//! The rows of a table in PostgreSQL, in the order of its key.
//!
//! Guarantee: one page of them is in memory.

use super::layout::Layout;
use crate::{
    Error,
    engines::{
        db::{Value, owned},
        postgres::session::Session,
    },
};

/// Rows of a page.
pub(super) const PAGE_ROWS: usize = 500;

/// The rows of a table in PostgreSQL, in the order of the key, a page at a time.
pub(super) struct Pages<'a> {
    layout: &'a Layout,
    session: &'a Session,
    page: std::vec::IntoIter<tokio_postgres::Row>,
    /// The key of the page's last row; nothing before the first page.
    last: Vec<Value<'static>>,
    has_more: bool,
}

impl<'a> Pages<'a> {
    pub(super) fn new(layout: &'a Layout, session: &'a Session) -> Self {
        Self {
            layout,
            session,
            page: Vec::new().into_iter(),
            last: Vec::new(),
            has_more: true,
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<tokio_postgres::Row>, Error> {
        if self.page.len() == 0 && self.has_more {
            let layout = self.layout;
            let which = if self.last.is_empty() {
                String::new()
            } else {
                let places: Vec<_> = (1..=layout.key).map(|place| format!("?{place}")).collect();
                let key = Layout::names(&layout.columns[..layout.key]);
                format!("WHERE ({key}) > ({})", places.join(", "))
            };
            let sql = format!("{} LIMIT {PAGE_ROWS}", layout.select(&which));
            let rows = self.session.query(&sql, &self.last)?;
            self.has_more = rows.len() == PAGE_ROWS;
            if let Some(last) = rows.last() {
                let row = layout.of_postgres(last)?;
                self.last = owned(&row[..layout.key]);
            }
            self.page = rows.into_iter();
        }
        Ok(self.page.next())
    }
}
