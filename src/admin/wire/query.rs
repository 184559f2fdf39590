//! The query of a list: a selection of entries and which page of it, as the command writes it and the listener reads it.
//!
//! A name may come several times, and a value may be a list with commas: both mean alternatives.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::domain::text::percent_decoded;
use crate::inbox::{PAGE_ENTRIES_MAX, Selection};

/// Entries on a page by default.
const LIMIT: usize = 50;

/// Characters that a query's value keeps: letters, digits, and those that are never special (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A page of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct ListQuery {
    pub selection: Selection,
    /// Number of the entry at which the last page ended.
    pub after: Option<EntryId>,
    /// Most entries on the page.
    pub limit: usize,
    /// Whether names and other personal details are shown.
    pub reveal: bool,
}

/// The part of a query that is wrong, for the person who wrote it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(String);

/// Writes the query string, without a question mark.
impl fmt::Display for ListQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limit={}&reveal={}", self.limit, self.reveal)?;
        let mut add = |name: &str, value: &str| write!(f, "&{name}={}", utf8_percent_encode(value, ESCAPED));
        let chosen = &self.selection;
        for entry in &chosen.entries {
            add("entry", &entry.to_string())?;
        }
        for state in &chosen.states {
            add("state", state.as_str())?;
        }
        let texts = [
            ("event", &chosen.events),
            ("type", &chosen.types),
            ("code", &chosen.codes),
            ("endpoint", &chosen.endpoints),
            ("user", &chosen.users),
            ("customer", &chosen.customers),
            ("ref", &chosen.refs),
        ];
        for (name, values) in texts {
            for value in values {
                add(name, value)?;
            }
        }
        for (name, at) in [("since", chosen.since), ("until", chosen.until)] {
            if let Some(at) = at {
                add(name, &at.to_string())?;
            }
        }
        if let Some(after) = self.after {
            add("after", &after.to_string())?;
        }
        Ok(())
    }
}

impl ListQuery {
    /// Reads a query string. Refuses unknown fields, so that a misspelt filter does not show everything.
    ///
    /// # Errors
    /// The part that is wrong, and why.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut query = Self { selection: Selection::default(), after: None, limit: LIMIT, reveal: false };
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            query.set(&decode(name)?, value)?;
        }
        query.selection.check().map_err(|error| QueryError(error.to_string()))?;
        Ok(query)
    }

    fn set(&mut self, name: &str, encoded: &str) -> Result<(), QueryError> {
        let chosen = &mut self.selection;
        if name == "user" || name == "ref" {
            // Of all values, only a user's name can have a comma, which is then encoded.
            let chosen = if name == "user" { &mut chosen.users } else { &mut chosen.refs };
            for id in encoded.split(',') {
                chosen.push(decode(id)?);
            }
            return Ok(());
        }
        let value = decode(encoded)?;
        let value = value.as_str();
        match name {
            "entry" => add(&mut chosen.entries, name, value, |text| text.parse().ok().map(EntryId))?,
            "state" => add(&mut chosen.states, name, value, |text| text.parse().ok())?,
            "event" => add_texts(&mut chosen.events, value),
            "type" => add_texts(&mut chosen.types, value),
            "code" => add_texts(&mut chosen.codes, value),
            "endpoint" => add_texts(&mut chosen.endpoints, value),
            "customer" => add_texts(&mut chosen.customers, value),
            "since" => chosen.since = Some(moment(name, value)?),
            "until" => chosen.until = Some(moment(name, value)?),
            "after" => self.after = Some(EntryId(number(name, value)?)),
            "limit" => {
                self.limit = number(name, value)?;
                if !(1..=PAGE_ENTRIES_MAX).contains(&self.limit) {
                    return Err(QueryError(format!("limit: must be from 1 to {PAGE_ENTRIES_MAX}")));
                }
            }
            "reveal" => {
                self.reveal = value.parse().map_err(|_| QueryError("reveal: must be true or false".to_owned()))?;
            }
            _ => {
                return Err(QueryError(format!("{name:?} is not known; openapi.yaml lists the filters")));
            }
        }
        Ok(())
    }
}

fn add<T>(to: &mut Vec<T>, name: &str, value: &str, read: impl Fn(&str) -> Option<T>) -> Result<(), QueryError> {
    for part in value.split(',') {
        let part = read(part).ok_or_else(|| QueryError(format!("{name}: {part:?} is none")))?;
        to.push(part);
    }
    Ok(())
}

fn add_texts(to: &mut Vec<String>, value: &str) {
    to.extend(value.split(',').map(str::to_owned));
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, QueryError> {
    value.parse().map_err(|_| QueryError(format!("{name}: must be a whole number")))
}

fn moment(name: &str, value: &str) -> Result<Timestamp, QueryError> {
    Timestamp::parse_rfc3339(value)
        .ok_or_else(|| QueryError(format!("{name}: must be a time such as 2026-01-02T03:04:05Z")))
}

/// Decodes percent encoding, and plus signs as spaces.
fn decode(text: &str) -> Result<String, QueryError> {
    percent_decoded(&text.replace('+', " "))
        .ok_or_else(|| QueryError("the query is not percent-encoded UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::StateName;

    #[test]
    fn every_filter_is_read_alone_in_a_list_and_repeated() {
        let query = ListQuery::parse(
            "state=dead,quarantined&type=invoice.*&type=charge.refunded&entry=1,2&user=ada%2Bb%40x&after=9&limit=1000\
             &since=2026-01-02T03:04:05Z&reveal=true",
        );
        let query = query.unwrap();
        assert_eq!(query.selection.states, [StateName::Dead, StateName::Quarantined]);
        assert_eq!(query.selection.types, ["invoice.*", "charge.refunded"]);
        assert_eq!(
            (query.selection.entries.as_slice(), query.after),
            (&[EntryId(1), EntryId(2)][..], Some(EntryId(9)))
        );
        assert_eq!((query.selection.users[0].as_str(), query.limit, query.reveal), ("ada+b@x", 1000, true));
        assert_eq!(query.selection.since.unwrap().to_string(), "2026-01-02T03:04:05Z");
        assert_eq!(ListQuery::parse("").unwrap().limit, LIMIT);
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let selection = Selection {
            entries: vec![EntryId(3)],
            states: StateName::ALL.to_vec(),
            events: vec!["evt_1".to_owned()],
            types: vec!["invoice.*".to_owned()],
            codes: vec!["rule".to_owned()],
            endpoints: vec!["stripe".to_owned()],
            users: vec!["a&b +é%=?#,".to_owned(), "x".to_owned()],
            customers: vec!["cus_1".to_owned()],
            refs: vec!["in_1".to_owned(), "a,b".to_owned()],
            since: Some(Timestamp::from_seconds(5)),
            until: Some(Timestamp::from_seconds(6)),
        };
        let query = ListQuery { selection, after: Some(EntryId(9)), limit: 10, reveal: true };
        assert_eq!(ListQuery::parse(&query.to_string()).unwrap(), query, "{query}");
    }

    #[test]
    fn what_makes_no_sense_says_why() {
        let cases = [
            "stat=dead",
            "state=deadly",
            "entry=x",
            "limit=0",
            "limit=1001",
            "limit=ten",
            "since=yesterday",
            "user=",
            "type=*",
            "reveal=perhaps",
            "user=%",
            "user=%zz",
            "user=%ff",
            "after=",
            "since=2026-01-02T03:04:05Z&until=2026-01-01T00:00:00Z",
        ];
        for case in cases {
            let error = ListQuery::parse(case).expect_err(case);
            assert!(!error.to_string().is_empty(), "{case}");
        }
    }
}
