//! How a list is read: along what, and what must hold.
//!
//! Guarantee: where filters and order pull different ways, whichever of the two is cheaper by the counts kept leads, and neither walks the whole
//! table while the other would do with less.

use model::{
    IntegrationId, Scope, Timestamp,
    record::{Filter, NAME_SORTED_CHARS, Record, SortField},
};

use crate::{
    Error, Query,
    engines::db::{Db, Value as Sql, values},
    listing,
    records::{
        self,
        query::{Range, Row, RowValue, Sort},
        terms,
    },
};

/// Rows that a value which is not counted is taken to have: of such values a record has its own.
const NARROW_ROWS: u64 = 16;

/// Rows of a time's range that are counted before it is decided whether the range leads: beyond it, it does not.
const RANGE_LEADS_MAX_ROWS: u64 = 20_000;

/// What a list is read along.
#[derive(Clone, Debug, PartialEq)]
enum Lead {
    /// The records of a kind, in the order stored.
    Kind,
    /// Those with one of these terms.
    Terms(Vec<i64>),
    /// Those of a kind, by a time.
    Time(SortField),
    /// Those of a kind, by their ids, which begin with the kind's prefix.
    Id,
    /// The one under a vendor's id.
    Vendor,
}

/// A query as it will be run.
pub(crate) struct Plan<'a> {
    query: &'a Query,
    /// The terms that a record must have, with how many records have each, as far as known.
    terms: Vec<(i64, u64)>,
    /// The integrations that a record must be of one of: the number of each, and its term.
    lanes: Option<Vec<(i64, i64)>>,
    x_id: Option<(i64, &'a str)>,
    /// The place of the row to go on behind.
    behind: Option<(i64, &'a Row)>,
    lead: Lead,
    /// The order asked for, made whole.
    order: Vec<Sort>,
}

impl<'a> Plan<'a> {
    /// `None` when nothing can be found.
    pub(crate) fn new(db: &Db<'_>, scope: &Scope, query: &'a Query) -> Result<Option<Self>, Error> {
        let kind = query.kind;
        let mut equal = Vec::new();
        for one in &query.equal {
            let within = one
                .integration_id
                .map(|id| id.to_string())
                .unwrap_or_default();
            let term = terms::of_value(kind, &one.filter, &within, &one.value);
            let rows = if one.filter.is_wide {
                terms::counted(db, term)?
            } else {
                NARROW_ROWS
            };
            equal.push((term, rows));
        }
        let mut lanes = None;
        if let Some(seen) = listing::seen(scope, query.integrations.as_deref()) {
            match owner(db, query)? {
                Some(owner) if !seen.contains(&owner) => return Ok(None),
                // What has the id of something is of the integration that this is of: that need not be asked of each record.
                Some(_) => {}
                None => {
                    let mut all = Vec::new();
                    for id in seen {
                        if let Some(number) = listing::lane(db, id)? {
                            let filter = &Filter::INTEGRATION;
                            all.push((number, terms::of_value(kind, filter, "", &id.to_string())));
                        }
                    }
                    match all.as_slice() {
                        [] => return Ok(None),
                        // One integration is a value like any other.
                        [(_, term)] => equal.push((*term, terms::counted(db, *term)?)),
                        _ => lanes = Some(all),
                    }
                }
            }
        }
        let x_id = match &query.x_id {
            None => None,
            Some((id, x_id)) => match listing::lane(db, *id)? {
                Some(number) => Some((number, x_id.as_str())),
                None => return Ok(None),
            },
        };
        let behind = match query.from.row() {
            None => None,
            Some(row) => {
                // A caller can write any id into a cursor. The record of an integration that it may
                // not see is answered as one that does not exist.
                let seq = db
                    .find(
                        "SELECT seq FROM records WHERE id = ?1 AND kind = ?2 AND (CAST(?3 AS TEXT) IS NULL
                             OR lane IN (SELECT n FROM integrations WHERE id IN (SELECT value FROM json_each(?3))))",
                        values![row.id.as_str(), kind.word(), listing::limited_to(scope)],
                        |found| found.get(0),
                    )?
                    .ok_or_else(|| Error::Conflict("the cursor's record is gone".to_owned()))?;
                Some((seq, row))
            }
        };
        let mut plan = Self {
            query,
            terms: equal,
            lanes,
            x_id,
            behind,
            lead: Lead::Kind,
            order: order(&query.order),
        };
        plan.lead = plan.choose(db)?;
        Ok(Some(plan))
    }

    fn choose(&self, db: &Db<'_>) -> Result<Lead, Error> {
        if self.x_id.is_some() {
            return Ok(Lead::Vendor);
        }
        let in_order = match self.order.first().map(|sort| sort.field) {
            Some(time @ (SortField::UpdatedAt | SortField::LastSeen)) => Some(Lead::Time(time)),
            Some(SortField::Id) => Some(Lead::Id),
            // No index has this order, so what leads is what has the fewest rows to sort.
            Some(SortField::Name) => None,
            Some(SortField::CreatedAt) | None => Some(Lead::Kind),
        };
        let mut best = self
            .terms
            .iter()
            .map(|(term, rows)| (vec![*term], *rows))
            .min_by_key(|(_, rows)| *rows);
        if let Some(lanes) = &self.lanes {
            let mut rows = 0;
            for (_, term) in lanes {
                rows += terms::counted(db, *term)?;
            }
            if best.as_ref().is_none_or(|(_, least)| rows < *least) {
                let terms = lanes.iter().map(|(_, term)| *term);
                best = Some((terms.collect(), rows));
            }
        }
        let by_range = self.range_leads(db)?;
        let Some(in_order) = in_order else {
            return Ok(best.map_or(Lead::Kind, |(terms, _)| Lead::Terms(terms)));
        };
        // A range of the very time that orders the list bounds the walk along it.
        if by_range == Some(in_order.clone()) {
            return Ok(in_order);
        }
        let Some((best, rows)) = best else {
            return Ok(by_range.unwrap_or(in_order));
        };
        let keeps_order = in_order == Lead::Kind && best.len() == 1;
        if keeps_order && by_range.is_none() {
            return Ok(Lead::Terms(best));
        }
        // Sorting what has the value costs its number; walking in order until a page is full, what lies between two of them for each row.
        let all = terms::counted(db, terms::of_kind(self.query.kind))?;
        let walked = self
            .query
            .from
            .skipped()
            .saturating_add(self.query.limit)
            .saturating_mul(all / rows.max(1));
        if rows <= walked {
            Ok(Lead::Terms(best))
        } else {
            Ok(by_range.unwrap_or(in_order))
        }
    }

    /// The range that few enough records lie in to be read before they are put in order.
    fn range_leads(&self, db: &Db<'_>) -> Result<Option<Lead>, Error> {
        for range in &self.query.ranges {
            let (condition, mut values) = range_condition(range, 2);
            values.insert(0, text(self.query.kind.word()));
            let sql = format!(
                "SELECT count(*) FROM (SELECT 1 FROM records r WHERE r.kind = ?1 AND {condition} LIMIT {RANGE_LEADS_MAX_ROWS}) AS found"
            );
            let rows: i64 = db.one(&sql, &values, |row| row.get(0))?;
            if rows.unsigned_abs() < RANGE_LEADS_MAX_ROWS {
                return Ok(Some(Lead::Time(range.field)));
            }
        }
        Ok(None)
    }

    /// What is read along, what must hold, and the values of both.
    fn candidates(&self) -> (String, Vec<String>, Vec<Sql<'static>>) {
        let (mut holds, mut values) = (Vec::new(), vec![text(self.query.kind.word())]);
        let mut bind = |value: Sql<'static>| {
            values.push(value);
            format!("?{}", values.len())
        };
        let leading: &[i64] = match &self.lead {
            Lead::Terms(terms) => terms,
            _ => &[],
        };
        let from = match &self.lead {
            Lead::Kind => "records r INDEXED BY records_kind".to_owned(),
            Lead::Time(SortField::LastSeen) => "records r INDEXED BY records_seen".to_owned(),
            Lead::Time(_) => "records r INDEXED BY records_updated".to_owned(),
            Lead::Id => "records r INDEXED BY sqlite_autoindex_records_1".to_owned(),
            Lead::Vendor => "records r INDEXED BY records_x".to_owned(),
            Lead::Terms(terms) => {
                let places: Vec<String> =
                    terms.iter().map(|term| bind(Sql::Integer(*term))).collect();
                holds.push(match places.as_slice() {
                    [one] => format!("t.term = {one}"),
                    several => format!("t.term IN ({})", several.join(", ")),
                });
                // Not the other way round: the terms lead.
                "record_terms t CROSS JOIN records r ON r.seq = t.seq".to_owned()
            }
        };
        holds.push("r.kind = ?1".to_owned());
        if self.lead == Lead::Id {
            let prefix = self.query.kind.facts().id_prefix;
            let (least, beyond) = (format!("{prefix}_"), format!("{prefix}`"));
            let (least, beyond) = (bind(text(&least)), bind(text(&beyond)));
            holds.push(format!("r.id >= {least} AND r.id < {beyond}"));
        }
        if self.query.is_at_vendor {
            holds.push("r.x_id IS NOT NULL".to_owned());
        }
        for (term, _) in &self.terms {
            if leading != [*term] {
                let place = bind(Sql::Integer(*term));
                holds.push(format!(
                    "EXISTS (SELECT 1 FROM record_terms p WHERE p.term = {place} AND p.seq = r.seq)"
                ));
            }
        }
        if let Some(lanes) = &self.lanes
            && !lanes.iter().map(|(_, term)| term).eq(leading)
        {
            let places: Vec<String> = lanes
                .iter()
                .map(|(number, _)| bind(Sql::Integer(*number)))
                .collect();
            holds.push(format!("+r.lane IN ({})", places.join(", ")));
        }
        if let Some((lane, x_id)) = self.x_id {
            let (lane, x_id) = (bind(Sql::Integer(lane)), bind(text(x_id)));
            holds.push(format!("r.lane = {lane} AND r.x_id = {x_id}"));
        }
        for range in &self.query.ranges {
            let (condition, more) = range_condition(range, values.len() + 1);
            values.extend(more);
            holds.push(condition);
        }
        (from, holds, values)
    }

    /// The statement that reads the page and one row more.
    pub(crate) fn page(&self) -> (String, Vec<Sql<'static>>) {
        let (from, mut holds, mut values) = self.candidates();
        if let Some((seq, row)) = self.behind {
            holds.push(self.behind(seq, row, &mut values));
        }
        let by: Vec<String> = self
            .order
            .iter()
            .map(|sort| format!("{} {}", self.column(sort.field), direction(*sort)))
            .collect();
        let by = by.join(", ");
        let mut number = |count: u64| {
            values.push(Sql::Integer(i64::try_from(count).unwrap_or(i64::MAX)));
            values.len()
        };
        let limit = number(self.query.limit.saturating_add(1));
        let offset = number(self.query.from.skipped());
        let sql = format!(
            "SELECT {} FROM {from} CROSS JOIN integrations i ON i.n = r.lane WHERE {} ORDER BY {by} LIMIT ?{limit} OFFSET ?{offset}",
            records::COLUMNS,
            holds.join(" AND ")
        );
        (sql, values)
    }

    pub(crate) fn rows(&self, db: &Db<'_>) -> Result<Vec<Record>, Error> {
        let (sql, values) = self.page();
        let rows: Vec<(String, Record)> = db.all(&sql, &values, records::read)?;
        rows.into_iter().map(records::assemble).collect()
    }

    /// What holds for the rows behind one, in the order asked for.
    fn behind(&self, seq: i64, row: &Row, values: &mut Vec<Sql<'static>>) -> String {
        let places: Vec<(String, String, bool)> = self
            .order
            .iter()
            .enumerate()
            .map(|(place, sort)| {
                let value = match (sort.field, row.values.get(place)) {
                    (SortField::CreatedAt, _) | (_, None) => Sql::Integer(seq),
                    (_, Some(RowValue::Time(micros))) => Sql::Integer(*micros),
                    (_, Some(RowValue::Text(value))) => text(value),
                };
                values.push(value);
                (
                    self.column(sort.field),
                    format!("?{}", values.len()),
                    sort.is_descending,
                )
            })
            .collect();
        let mut holds = "FALSE".to_owned();
        for (column, value, is_descending) in places.iter().rev() {
            let beyond = if *is_descending { '<' } else { '>' };
            holds = format!("({column} {beyond} {value} OR ({column} = {value} AND {holds}))");
        }
        // What follows from it of the first column alone, for the index.
        match places.first() {
            Some((column, value, is_descending)) => {
                let bound = if *is_descending { "<=" } else { ">=" };
                format!("{column} {bound} {value} AND {holds}")
            }
            None => holds,
        }
    }

    fn column(&self, field: SortField) -> String {
        match field {
            SortField::CreatedAt => match &self.lead {
                Lead::Terms(_) => "t.seq".to_owned(),
                _ => "r.seq".to_owned(),
            },
            SortField::UpdatedAt => "r.updated_at".to_owned(),
            SortField::LastSeen => "r.last_seen".to_owned(),
            SortField::Id => "r.id".to_owned(),
            SortField::Name => {
                let members = self.query.kind.facts().name.iter();
                let texts: Vec<String> = members
                    .map(|member| format!("coalesce(json_extract(r.body, '$.{member}'), '')"))
                    .collect();
                let whole = texts.join(" || ' ' || ");
                format!("substr({whole}, 1, {NAME_SORTED_CHARS})")
            }
        }
    }

    /// How many records there are in all.
    pub(crate) fn total(&self, db: &Db<'_>) -> Result<u64, Error> {
        let is_plain =
            self.query.ranges.is_empty() && self.x_id.is_none() && !self.query.is_at_vendor;
        let kind = self.query.kind;
        match (is_plain, self.terms.as_slice(), &self.lanes) {
            (true, [], None) => return terms::counted(db, terms::of_kind(kind)),
            (true, [], Some(lanes)) => {
                let counts = lanes.iter().map(|(_, term)| terms::counted(db, *term));
                return counts.sum();
            }
            (true, [(term, rows)], None) => {
                let is_counted = self.query.equal.iter().all(|one| one.filter.is_wide);
                if is_counted {
                    return Ok(*rows);
                }
                return db
                    .one(
                        "SELECT count(*) FROM record_terms WHERE term = ?1",
                        values![term],
                        |row| row.get::<i64>(0),
                    )
                    .map(i64::unsigned_abs);
            }
            _ => {}
        }
        let (from, holds, values) = self.candidates();
        db.one(
            &format!("SELECT count(*) FROM {from} WHERE {}", holds.join(" AND ")),
            &values,
            |row| row.get::<i64>(0),
        )
        .map(i64::unsigned_abs)
    }
}

/// The order, without what can make no difference and with what makes it whole: no two records were stored at the same time or have the same id.
fn order(asked: &[Sort]) -> Vec<Sort> {
    let mut order: Vec<Sort> = Vec::new();
    for sort in asked {
        if order.iter().all(|known| known.field != sort.field) {
            order.push(*sort);
        }
        if matches!(sort.field, SortField::CreatedAt | SortField::Id) {
            return order;
        }
    }
    order.push(Sort {
        field: SortField::CreatedAt,
        is_descending: asked.last().is_none_or(|last| last.is_descending),
    });
    order
}

/// The integration of what a filter names by an id of ours, if one does and there is such a thing.
fn owner(db: &Db<'_>, query: &Query) -> Result<Option<IntegrationId>, Error> {
    for one in query.equal.iter().filter(|one| one.filter.names_a_record()) {
        let owner: Option<String> = db.find(
            "SELECT i.id FROM records r JOIN integrations i ON i.n = r.lane WHERE r.id = ?1",
            values![&one.value],
            |row| row.get(0),
        )?;
        if let Some(owner) = owner {
            return owner
                .parse()
                .map(Some)
                .map_err(|_| Error::Corrupt("the id of an integration".to_owned()));
        }
    }
    Ok(None)
}

fn range_condition(range: &Range, first: usize) -> (String, Vec<Sql<'static>>) {
    let column = match range.field {
        SortField::LastSeen => "r.last_seen",
        _ => "r.updated_at",
    };
    let (mut holds, mut values) = (Vec::new(), Vec::new());
    let bounds: [(Option<Timestamp>, &str); 2] = [(range.least, ">="), (range.most, "<=")];
    for (bound, sign) in bounds {
        if let Some(bound) = bound {
            holds.push(format!("{column} {sign} ?{}", first + values.len()));
            values.push(Sql::Integer(bound.as_micros()));
        }
    }
    if holds.is_empty() {
        holds.push("TRUE".to_owned());
    }
    (holds.join(" AND "), values)
}

fn direction(sort: Sort) -> &'static str {
    if sort.is_descending { "DESC" } else { "ASC" }
}

fn text(value: &str) -> Sql<'static> {
    Sql::from(value.to_owned())
}
