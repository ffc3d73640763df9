//! What PostgreSQL hears instead of what the use cases say.
//!
//! Their statements are in the words that both databases share; here is the whole list of the others. Guarantee: a statement that has none of these is passed
//! on as it is.

/// A statement in PostgreSQL's words.
pub(crate) fn translate(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find(['?', 'j', 'C', 'I']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        rest = if let Some(after) = rest.strip_prefix('?') {
            // Places: ?1 is $1.
            out.push('$');
            after
        } else if let Some(after) = rest.strip_prefix("CROSS JOIN ") {
            // To SQLite it means that this table comes second; PostgreSQL plans by what it knows of the tables.
            out.push_str("JOIN ");
            after
        } else if let Some(after) = rest.strip_prefix("INDEXED BY ") {
            // The name of the index, and the space behind it.
            let end = after.find(' ').map_or(after.len(), |end| end + 1);
            &after[end..]
        } else if let Some((inside, after)) = called(rest, "json_each(") {
            out.push_str("jsonb_array_elements_text(CAST(");
            out.push_str(&translate(inside));
            out.push_str(" AS jsonb)) AS json_each (value)");
            after
        } else if let Some((inside, after)) = called(rest, "json_extract(") {
            // json_extract(column, '$.member')
            let (column, path) = inside.split_once(", '$.").unwrap_or((inside, ""));
            let path = path.trim_end_matches('\'').replace('.', ",");
            out.push('(');
            push_json(&mut out, column);
            out.push_str(" #>> '{");
            out.push_str(&path);
            out.push_str("}')");
            after
        } else if let Some((inside, after)) = called(rest, "json_remove(") {
            let (column, member) = inside.split_once(", '$.").unwrap_or((inside, ""));
            out.push_str("CAST(");
            push_json(&mut out, column);
            out.push_str(" - '");
            out.push_str(member.trim_end_matches('\''));
            out.push_str("' AS TEXT)");
            after
        } else {
            let end = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..end]);
            &rest[end..]
        };
    }
    out.push_str(rest);
    out
}

/// A column's text as JSON that can be looked into. Of a NUL character, which a vendor's words may have and which is kept escaped, PostgreSQL has no text to give and
/// refuses the whole, whatever is asked of it; so here another character stands for it. The text as it is kept stays.
fn push_json(out: &mut String, column: &str) {
    out.push_str("CAST(replace(");
    out.push_str(column);
    out.push_str(r", E'\\u0000', E'\\ufffd') AS jsonb)");
}

/// What stands in the brackets of a call that `sql` begins with, and what follows it.
fn called<'a>(sql: &'a str, function: &str) -> Option<(&'a str, &'a str)> {
    sql.strip_prefix(function)?.split_once(')')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expect: &str) {
        assert_eq!(translate(sql), expect);
    }

    #[test]
    fn what_differs_is_said_in_other_words() {
        check(
            "SELECT a FROM b WHERE c = ?12",
            "SELECT a FROM b WHERE c = $12",
        );
        check(
            "events e CROSS JOIN integrations i ON i.n = e.lane",
            "events e JOIN integrations i ON i.n = e.lane",
        );
        check("records r INDEXED BY records_kind", "records r ");
        check(
            "writes w INDEXED BY writes_failed WHERE w.seq > ?1",
            "writes w WHERE w.seq > $1",
        );
        check(
            "id IN (SELECT value FROM json_each(?2))",
            "id IN (SELECT value FROM jsonb_array_elements_text(CAST($2 AS jsonb)) AS json_each (value))",
        );
        check(
            "coalesce(json_extract(r.body, '$.name'), '')",
            r"coalesce((CAST(replace(r.body, E'\\u0000', E'\\ufffd') AS jsonb) #>> '{name}'), '')",
        );
        check(
            "SET body = json_remove(body, '$.response') WHERE",
            r"SET body = CAST(CAST(replace(body, E'\\u0000', E'\\ufffd') AS jsonb) - 'response' AS TEXT) WHERE",
        );
        check(
            "INSERT INTO jobs (job_id) VALUES (?1) ON CONFLICT DO NOTHING",
            "INSERT INTO jobs (job_id) VALUES ($1) ON CONFLICT DO NOTHING",
        );
    }
}
