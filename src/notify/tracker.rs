//! Which matters are open, which of them people were told of, and what there is to tell now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::matter::{Matter, MatterKind, Standing};
use super::message::{Message, News, id};
use crate::domain::clock::Timestamp;
use crate::domain::counted::lasting;

/// Most matters that are followed. Others wait until some are over.
const MATTERS_MAX: usize = 1000;

/// A matter that people were told of, as it is kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    #[serde(flatten)]
    pub matter: Matter,
    pub title: String,
    pub since: Timestamp,
}

#[derive(Debug)]
struct Followed {
    title: String,
    /// When it was first seen.
    since: Timestamp,
    is_told: bool,
    /// Since when it is no longer open; `None` while it is.
    gone: Option<Timestamp>,
}

/// Follows matters. People are told of a matter once it has lasted for the configured time, and of its end once that has
/// lasted as long. So a matter that comes and goes is reported once.
#[derive(Debug)]
pub struct Tracker {
    after: Duration,
    followed: BTreeMap<Matter, Followed>,
}

impl Tracker {
    /// Begins with the matters that people were told of before.
    pub fn new(after: Duration, told: Vec<Told>) -> Self {
        let followed = told
            .into_iter()
            .map(|Told { matter, title, since }| (matter, Followed { title, since, is_told: true, gone: None }));
        Self { after, followed: followed.collect() }
    }

    /// The matters that people were told of and that are not over.
    pub fn told(&self) -> Vec<Told> {
        let told = self.followed.iter().filter(|(_, followed)| followed.is_told);
        told.map(|(matter, followed)| Told {
            matter: matter.clone(),
            title: followed.title.clone(),
            since: followed.since,
        })
        .collect()
    }

    /// Which matters of a kind are followed.
    pub fn followed(&self, kind: MatterKind) -> BTreeSet<String> {
        let of_kind = self.followed.keys().filter(|matter| matter.kind == kind);
        of_kind.map(|matter| matter.key.clone()).collect()
    }

    /// Takes back that a matter was reported: another gateway reports it, or the next look should.
    pub fn untell(&mut self, matter: &Matter) {
        if let Some(followed) = self.followed.get_mut(matter) {
            followed.is_told = false;
        }
    }

    /// Notes the matters that are open now, and returns what to report. The state of the kinds in `unknown` could not be
    /// found out, so they stay unchanged.
    pub fn look(&mut self, open: &BTreeMap<Matter, Standing>, unknown: &[MatterKind], now: Timestamp) -> Vec<Message> {
        let mut news = Vec::new();
        for (matter, standing) in open {
            if !self.followed.contains_key(matter) && self.followed.len() >= MATTERS_MAX {
                continue;
            }
            let followed = self.followed.entry(matter.clone()).or_insert_with(|| Followed {
                title: standing.title.clone(),
                since: now,
                is_told: false,
                gone: None,
            });
            followed.gone = None;
            if followed.is_told {
                continue;
            }
            let is_lasting = matter.kind.is_lasting();
            if !is_lasting || now.since(followed.since) >= self.after {
                followed.is_told = true;
                standing.title.clone_into(&mut followed.title);
                let state = if is_lasting { News::Opened } else { News::Happened };
                news.push(message(matter, state, standing, followed.since));
            }
        }
        let after = self.after;
        self.followed.retain(|matter, followed| {
            if open.contains_key(matter) || unknown.contains(&matter.kind) {
                return true;
            }
            let gone = *followed.gone.get_or_insert(now);
            if !followed.is_told || !matter.kind.is_lasting() {
                return false;
            }
            if now.since(gone) < after {
                return true;
            }
            let lasted = lasting(gone.since(followed.since));
            let standing = Standing {
                title: followed.title.clone(),
                detail: format!("It is over. It lasted {lasted}, since {}.", seconds(followed.since)),
                action: String::new(),
            };
            news.push(message(matter, News::Resolved, &standing, gone));
            false
        });
        news
    }
}

fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_seconds(at.seconds())
}

fn message(matter: &Matter, news: News, standing: &Standing, at: Timestamp) -> Message {
    let Standing { title, detail, action } = standing.clone();
    Message { id: id(), news, matter: Some(matter.clone()), title, detail, action, link: None, at }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_mins(1);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_700_000_000 + seconds)
    }

    fn open(matters: &[(MatterKind, &str)]) -> BTreeMap<Matter, Standing> {
        let standing = |key: &str| Standing { title: key.to_owned(), detail: String::new(), action: String::new() };
        matters.iter().map(|(kind, key)| (Matter::new(*kind, *key), standing(key))).collect()
    }

    fn said(messages: &[Message]) -> Vec<(News, &str)> {
        messages.iter().map(|message| (message.news, message.title.as_str())).collect()
    }

    #[test]
    fn a_matter_is_told_once_when_it_lasts_and_once_when_it_is_over() {
        let mut tracker = Tracker::new(AFTER, Vec::new());
        let one = open(&[(MatterKind::Problem, "a")]);
        assert_eq!(tracker.look(&one, &[], at(0)), []);
        assert_eq!(said(&tracker.look(&one, &[], at(60))), [(News::Opened, "a")]);
        assert_eq!(tracker.look(&one, &[], at(600)), []);
        assert_eq!(tracker.look(&open(&[]), &[], at(610)), []);
        assert_eq!(tracker.look(&one, &[], at(630)), [], "it came back before its end was told");
        assert_eq!(tracker.look(&open(&[]), &[], at(640)), []);
        let over = tracker.look(&open(&[]), &[], at(700));
        assert_eq!(said(&over), [(News::Resolved, "a")]);
        assert!(over[0].detail.contains("10 minutes"), "{}", over[0].detail);
        assert_eq!(tracker.look(&open(&[]), &[], at(800)), []);
    }

    #[test]
    fn what_was_over_before_it_lasted_is_never_told() {
        let mut tracker = Tracker::new(AFTER, Vec::new());
        for round in 0..10 {
            assert_eq!(tracker.look(&open(&[(MatterKind::Component, "a")]), &[], at(round * 40)), []);
            assert_eq!(tracker.look(&open(&[]), &[], at(round * 40 + 20)), []);
        }
    }

    #[test]
    fn what_happened_is_told_at_once_and_is_never_resolved() {
        let mut tracker = Tracker::new(AFTER, Vec::new());
        let missed = open(&[(MatterKind::MissedEvents, "run 1")]);
        assert_eq!(said(&tracker.look(&missed, &[], at(0))), [(News::Happened, "run 1")]);
        assert_eq!(tracker.look(&missed, &[], at(100)), []);
        assert_eq!(tracker.look(&open(&[]), &[], at(200)), []);
        assert_eq!(tracker.look(&open(&[]), &[], at(300)), []);
    }

    #[test]
    fn what_cannot_be_asked_stays_as_it_was_and_a_restart_forgets_nothing() {
        let mut tracker = Tracker::new(AFTER, Vec::new());
        let one = open(&[(MatterKind::Problem, "a")]);
        tracker.look(&one, &[], at(0));
        tracker.look(&one, &[], at(60));
        assert_eq!(tracker.look(&open(&[]), &[MatterKind::Problem], at(500)), []);
        let mut again = Tracker::new(AFTER, tracker.told());
        assert_eq!(again.look(&one, &[], at(600)), []);
        again.look(&open(&[]), &[], at(700));
        assert_eq!(said(&again.look(&open(&[]), &[], at(760))), [(News::Resolved, "a")]);
    }

    #[test]
    fn what_is_taken_back_is_told_at_the_next_look() {
        let mut tracker = Tracker::new(AFTER, Vec::new());
        let one = open(&[(MatterKind::Problem, "a")]);
        tracker.look(&one, &[], at(0));
        assert_eq!(tracker.look(&one, &[], at(60)).len(), 1);
        tracker.untell(&Matter::new(MatterKind::Problem, "a"));
        assert_eq!(tracker.told(), []);
        assert_eq!(said(&tracker.look(&one, &[], at(61))), [(News::Opened, "a")]);
        assert_eq!(tracker.look(&one, &[], at(62)), []);
    }

    #[test]
    fn the_number_of_matters_is_bounded() {
        let keys: Vec<String> = (0..=MATTERS_MAX).map(|number| number.to_string()).collect();
        let many: Vec<(MatterKind, &str)> = keys.iter().map(|key| (MatterKind::Problem, key.as_str())).collect();
        let mut tracker = Tracker::new(AFTER, Vec::new());
        tracker.look(&open(&many), &[], at(0));
        assert_eq!(tracker.look(&open(&many), &[], at(60)).len(), MATTERS_MAX);
    }
}
