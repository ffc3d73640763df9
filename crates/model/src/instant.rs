//! Instants as people and programs write them.
//!
//! Guarantee: a real date-time is never refused because it lies outside of what an instant can
//! hold: the nearest instant stands for it. `9999-12-31T23:59:59Z` is a usual way to write "for
//! ever".

use jiff::{
    civil::{DateTime, Time},
    fmt::temporal::Pieces,
    tz::Offset,
};

use crate::clock::Timestamp;

/// The blank between a date and a time stands behind so many characters: `2027-03-01` or
/// `20270301`.
const DATE_CHARS: [usize; 2] = [10, 8];

/// A date, with a time and an offset where they are written.
struct Written {
    at: DateTime,
    offset: Option<Offset>,
}

impl Written {
    fn read(text: &str) -> Option<Self> {
        let pieces = Pieces::parse(text).ok()?;
        let offset = pieces.to_numeric_offset();
        // A time zone's name is not an offset: it would need a table of zones to be understood.
        if offset.is_none() && pieces.time_zone_annotation().is_some() {
            return None;
        }
        Some(Self {
            at: pieces
                .date()
                .to_datetime(pieces.time().unwrap_or(Time::midnight())),
            offset,
        })
    }

    fn instant(&self, offset: Offset) -> Timestamp {
        let nearest = if self.at.year() > 0 {
            jiff::Timestamp::MAX
        } else {
            jiff::Timestamp::MIN
        };
        let instant = offset.to_timestamp(self.at).unwrap_or(nearest);
        Timestamp::from_micros(instant.as_microsecond())
    }
}

/// The instant in a date-time with its offset, at the end of what an instant can hold or beyond.
pub(crate) fn beyond(text: &str) -> Option<Timestamp> {
    let written = Written::read(text)?;
    Some(written.instant(written.offset?))
}

/// True if `text` is a real date-time, with an offset or without one.
pub(crate) fn is_real(text: &str) -> bool {
    Written::read(text).is_some()
}

impl Timestamp {
    /// Parses an ISO 8601 date or date-time as it stands in a query. What has no offset is UTC. A
    /// blank stands for the `T`, or for a `+` that was not escaped.
    pub fn parse_query(text: &str) -> Option<Self> {
        let text = text.trim();
        let at = text.find(' ').filter(|at| DATE_CHARS.contains(at));
        let written = match at.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))) {
            Some((date, time)) => format!("{date}T{}", time.replace(' ', "+")),
            None => text.replace(' ', "+"),
        };
        let written = Written::read(&written)?;
        Some(written.instant(written.offset.unwrap_or(Offset::UTC)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_a_query_is_read_as_people_write_it() {
        let latest = jiff::Timestamp::MAX.as_microsecond();
        let earliest = jiff::Timestamp::MIN.as_microsecond();
        let spring = "2027-03-01T14:30:00Z";
        let at = |text: &str| Timestamp::parse(text).ok().map(Timestamp::as_micros);
        let cases = [
            ("2027-03-01T14:30:00Z", at(spring)),
            ("2027-03-01t14:30:00z", at(spring)),
            ("2027-03-01 14:30:00Z", at(spring)),
            ("2027-03-01 14:30:00", at(spring)),
            ("2027-03-01T14:30:00", at(spring)),
            ("2027-03-01T14:30", at(spring)),
            ("2027-03-01 14:30", at(spring)),
            ("2027-03-01T16:30:00+02:00", at(spring)),
            ("2027-03-01T16:30:00 02:00", at(spring)),
            ("2027-03-01 16:30:00 02:00", at(spring)),
            ("2027-03-01 16:30:00+02:00", at(spring)),
            ("2027-03-01 16:30:00 0200", at(spring)),
            ("2027-03-01 16:30 02", at(spring)),
            ("2027-03-01T09:30:00-05:00", at(spring)),
            ("2027-03-01 09:30:00-05:00", at(spring)),
            ("20270301T143000Z", at(spring)),
            ("20270301 143000", at(spring)),
            (" 2027-03-01T14:30:00Z ", at(spring)),
            ("2027-03-01T14:30:00.5Z", at("2027-03-01T14:30:00.500Z")),
            ("2027-03-01T14:30:00,5", at("2027-03-01T14:30:00.500Z")),
            ("2027-03-01", at("2027-03-01T00:00:00Z")),
            ("20270301", at("2027-03-01T00:00:00Z")),
            ("1969-07-20T20:17:40Z", at("1969-07-20T20:17:40Z")),
            ("9999-12-31T23:59:59Z", Some(latest)),
            ("9999-12-31", Some(latest)),
            ("9999-12-31T23:59:59.999999999-12:00", Some(latest)),
            ("-009999-01-01T00:00:00Z", Some(earliest)),
            ("2027-02-29T00:00:00Z", None),
            ("2027-13-01", None),
            ("2027-03-01T25:00:00Z", None),
            ("2027-03-01T14:30:00+99:00", None),
            ("2027-03-01T14:30:00[Europe/Paris]", None),
            ("2027-03", None),
            ("2027", None),
            ("14:30:00", None),
            ("03/01/2027", None),
            ("yesterday", None),
            ("1772375400", None),
            ("2027-03-01T14:30:00ZZ", None),
            ("2027-03-0é 14:30", None),
            ("é", None),
            (" ", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let read = Timestamp::parse_query(text).map(Timestamp::as_micros);
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn a_date_time_of_a_body_has_its_offset_and_may_lie_beyond_the_last_instant() {
        let cases = [
            ("2027-03-01T14:30:00Z", true),
            ("2027-03-01 14:30:00Z", true),
            ("2027-03-01t14:30:00z", true),
            ("2027-03-01T14:30:00-05:00", true),
            ("9999-12-31T23:59:59Z", true),
            ("9999-12-31T23:59:59-05:00", true),
            ("2027-03-01T14:30:00", false),
            ("2027-03-01", false),
            ("9999-12-31", false),
            ("9999-12-32T23:59:59Z", false),
            ("9999-12-31T23:59:59", false),
        ];
        for (text, expected) in cases {
            assert_eq!(Timestamp::parse(text).is_ok(), expected, "{text}");
        }
    }
}
