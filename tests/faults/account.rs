//! The account that is taken after every scenario: what was acknowledged, against what the ledger holds.
//!
//! What must be there comes from the simulator's own knowledge of its stories, so that an effect that was lost and one
//! that was had twice both show, whatever the event ids say.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use colony_gateway::cli::dev::agreement::differences;
use colony_gateway::stripe::simulator::{Delivery, Expected, Role};
use serde::Serialize;

use crate::book::Book;
use crate::gateway::Reply;
use crate::rounds::figures_file;

/// What the load generator saw.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Events with a 2xx.
    pub(crate) acknowledged: BTreeSet<String>,
    /// Answers to genuine deliveries, by status.
    pub(crate) answers: BTreeMap<u16, u64>,
    /// The same that were no 2xx, by the code of the problem.
    pub(crate) problems: BTreeMap<String, u64>,
    /// Genuine deliveries whose connection broke before the answer.
    pub(crate) unanswered: u64,
    /// Forgeries that were let in.
    forged: Vec<String>,
    expected: Expected,
}

/// What a test did and what came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// The test.
    pub(crate) scenario: String,
    /// What its random choices followed from.
    pub(crate) seed: u64,
    /// Times that something was broken.
    pub(crate) rounds: u64,
    /// Processes ended by SIGKILL.
    pub(crate) kills: u64,
    /// Power cuts.
    pub(crate) cuts: u64,
    /// Faults of disks, clocks and connections.
    pub(crate) faults: u64,
    /// Events with a 2xx.
    pub(crate) acknowledged: u64,
    /// Events that the ledger holds.
    pub(crate) applied: u64,
    /// Genuine deliveries that were not answered with a 2xx at first.
    pub(crate) refused: u64,
    /// Events that reached the ledger more than once and had no second effect.
    pub(crate) recognised: u64,
    /// Effects that are not what the events add up to while none is missing.
    pub(crate) repeated: u64,
    /// Events with a 2xx that the ledger does not hold.
    pub(crate) lost: u64,
}

impl Figures {
    /// Prints them, and appends them where they are collected; the line.
    pub(crate) fn tell(&self) -> String {
        let line = serde_json::to_string(self).unwrap();
        println!("{line}");
        // What the account's own test does is nobody's figures.
        if let Some(file) = figures_file()
            && !self.scenario.is_empty()
        {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
            file.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        line
    }
}

impl Account {
    /// Takes note of an answer; tells whether the delivery has come to its end.
    pub(crate) fn answered(&mut self, delivery: &Delivery, reply: Option<&Reply>) -> bool {
        let status = reply.map(|reply| reply.status);
        let is_success = status.is_some_and(|status| (200..300).contains(&status));
        let id = delivery.event.id.as_str().to_owned();
        if let Role::Forged(forgery) = delivery.role {
            if is_success {
                self.forged.push(format!("{id} ({forgery:?})"));
            }
            return matches!(status, Some(200..500));
        }
        match reply {
            Some(reply) => *self.answers.entry(reply.status).or_default() += 1,
            None => self.unanswered += 1,
        }
        if let Some(reply) = reply.filter(|_| !is_success) {
            *self.problems.entry(reply.problem()).or_default() += 1;
        }
        if is_success && self.acknowledged.insert(id) {
            self.expected.learn(&delivery.event);
        }
        is_success
    }

    /// Fails unless every genuine delivery was answered with a 2xx at once.
    pub(crate) fn assert_all_taken(&self) {
        let taken = self.unanswered == 0 && self.problems.is_empty();
        assert!(taken, "not answered 2xx: {:?}, {} without an answer", self.problems, self.unanswered);
    }

    /// Answers to genuine deliveries that were no 2xx.
    fn refusals(&self) -> u64 {
        self.answers.iter().filter(|(status, _)| !(200..300).contains(*status)).map(|(_, times)| times).sum()
    }

    /// Holds the account against the ledger, prints the figures and fails when a promise was broken.
    pub(crate) fn settle(&self, book: &Book, mut figures: Figures) -> Figures {
        let applied = book.events();
        let lost: Vec<&String> = self.acknowledged.difference(&applied).collect();
        let invented: Vec<&String> = applied.difference(&self.acknowledged).collect();
        let (summary, subscriptions) = book.report();
        let wrong = differences(&summary, &subscriptions, &self.expected, Some(0));
        figures.acknowledged = self.acknowledged.len() as u64;
        figures.applied = applied.len() as u64;
        figures.refused = self.refusals() + self.unanswered;
        figures.lost = lost.len() as u64;
        figures.repeated = if lost.is_empty() { wrong.len() as u64 } else { 0 };
        let line = figures.tell();
        assert!(self.forged.is_empty(), "forgeries were let in: {:?}", self.forged);
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}\n{line}");
        assert!(invented.is_empty(), "applied and never acknowledged: {invented:?}\n{line}");
        assert!(wrong.is_empty(), "not what the events add up to: {wrong:#?}\n{line}");
        figures
    }
}

/// The account must see what it is there for, so the ledger is tampered with.
#[cfg(test)]
mod tests {
    use crate::load::{Load, events};
    use crate::world::{World, until_idle};

    use super::*;

    /// Events of the story that is tampered with.
    const EVENTS: u64 = 200;

    /// Whether the account passes after this was done to the ledger's file.
    fn passes(tampering: &str) -> bool {
        let world = World::sqlite();
        let load = Load::of(1, events(1, None).take(usize::try_from(EVENTS).unwrap()));
        let gateway = world.options.serve();
        load.target(&[gateway.webhooks]);
        load.allow(EVENTS * 2);
        let account = load.finish();
        until_idle(&gateway);
        gateway.kill();
        let Book::Sqlite(path) = &world.book else { unreachable!("asked for") };
        rusqlite::Connection::open(path).unwrap().execute_batch(tampering).unwrap();
        let settled = std::panic::AssertUnwindSafe(|| account.settle(&world.book, Figures::default()));
        std::panic::catch_unwind(settled).is_ok()
    }

    #[test]
    fn an_account_finds_what_was_lost_and_what_took_effect_twice() {
        assert!(passes(""));
        for tampering in [
            "DELETE FROM events WHERE rowid = (SELECT MAX(rowid) FROM events)",
            "INSERT INTO events (id, type, account, livemode, created, api_version, object_id, payload, outcome, recorded_at)
             SELECT 'evt_unheard_of', type, account, livemode, created, api_version, object_id, payload, outcome, recorded_at
             FROM events LIMIT 1",
            "DELETE FROM stripe_subscriptions WHERE rowid = (SELECT MIN(rowid) FROM stripe_subscriptions)",
            "UPDATE revenue_entries SET amount_minor = amount_minor * 2",
        ] {
            assert!(!passes(tampering), "{tampering}");
        }
    }
}
