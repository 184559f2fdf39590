//! The query of a list: a selection of entries and which page of it.
//!
//! A name may come several times, and a value may be a list with commas: both mean alternatives.

use std::str::FromStr;

use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::domain::text::percent_decoded;
use crate::door::Problem;
use crate::inbox::{PAGE_ENTRIES_MAX, Selection};

/// Entries on a page when nobody says how many.
const LIMIT: usize = 50;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListQuery {
    pub(super) selection: Selection,
    pub(super) after: Option<EntryId>,
    pub(super) limit: usize,
    pub(super) reveal: bool,
}

impl ListQuery {
    /// Reads a query string. What is not known is refused, so that a misspelt filter does not show everything.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let mut query = Self { selection: Selection::default(), after: None, limit: LIMIT, reveal: false };
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            query.set(&decode(name)?, &decode(value)?)?;
        }
        query.selection.check().map_err(invalid)?;
        Ok(query)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let chosen = &mut self.selection;
        match name {
            "entry" => add(&mut chosen.entries, name, value, |text| text.parse().ok().map(EntryId))?,
            "state" => add(&mut chosen.states, name, value, |text| text.parse().ok())?,
            "event" => add_texts(&mut chosen.events, value),
            "type" => add_texts(&mut chosen.types, value),
            "code" => add_texts(&mut chosen.codes, value),
            "endpoint" => add_texts(&mut chosen.endpoints, value),
            "user" => add_texts(&mut chosen.users, value),
            "customer" => add_texts(&mut chosen.customers, value),
            "since" => chosen.since = Some(moment(name, value)?),
            "until" => chosen.until = Some(moment(name, value)?),
            "after" => self.after = Some(EntryId(number(name, value)?)),
            "limit" => {
                self.limit = number(name, value)?;
                if !(1..=PAGE_ENTRIES_MAX).contains(&self.limit) {
                    return Err(Problem::Invalid { detail: format!("limit: must be from 1 to {PAGE_ENTRIES_MAX}") });
                }
            }
            "reveal" => {
                self.reveal = value
                    .parse()
                    .map_err(|_| Problem::Invalid { detail: "reveal: must be true or false".to_owned() })?;
            }
            _ => {
                return Err(Problem::Invalid {
                    detail: format!("{name:?} is not known; openapi.yaml lists the filters"),
                });
            }
        }
        Ok(())
    }
}

/// The error of a selection, for the operator.
pub(super) fn invalid(error: impl std::fmt::Display) -> Problem {
    Problem::Invalid { detail: error.to_string() }
}

fn add<T>(to: &mut Vec<T>, name: &str, value: &str, read: impl Fn(&str) -> Option<T>) -> Result<(), Problem> {
    for part in value.split(',') {
        let part = read(part).ok_or_else(|| Problem::Invalid { detail: format!("{name}: {part:?} is none") })?;
        to.push(part);
    }
    Ok(())
}

fn add_texts(to: &mut Vec<String>, value: &str) {
    to.extend(value.split(',').map(str::to_owned));
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, Problem> {
    value.parse().map_err(|_| Problem::Invalid { detail: format!("{name}: must be a whole number") })
}

fn moment(name: &str, value: &str) -> Result<Timestamp, Problem> {
    Timestamp::parse_rfc3339(value)
        .ok_or_else(|| Problem::Invalid { detail: format!("{name}: must be a time such as 2026-01-02T03:04:05Z") })
}

/// Undoes percent encoding, and the plus sign for a space.
fn decode(text: &str) -> Result<String, Problem> {
    percent_decoded(&text.replace('+', " "))
        .ok_or_else(|| Problem::Invalid { detail: "the query is not percent-encoded UTF-8".to_owned() })
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
            let Err(Problem::Invalid { detail }) = ListQuery::parse(case) else { panic!("{case}") };
            assert!(!detail.is_empty(), "{case}");
        }
    }
}
