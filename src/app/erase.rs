//! Erasing a person's data everywhere: the order of the parts, for an inbox in a file or in a database.
//!
//! Tombstones come first, so that no data comes back during the rest. What came in before them, while the inbox was searched, is found
//! once they stand. The link to the user comes last, so that the next run of an interrupted erasure finds the person again.

use serde::Serialize;

use crate::inbox::{EraseStep, Unsettled};
use crate::ledger::person::{Person, Subject};
use crate::ledger::report::StateOfRecord;
use crate::ledger::{BoxFuture, LedgerError};

/// Most unsettled entries that a report lists.
const LISTED_MAX: usize = 50;

/// How often the person is looked for again. Once tombstones stand, no event adds to whom the user's claims lead to.
const LOOKS_MAX: usize = 8;

/// The inbox, opened here or reached over the admin listener of a running gateway.
pub trait InboxSide: Send + Sync {
    /// One step; see [`crate::inbox::Inbox::erase_step`].
    fn step<'a>(&'a self, person: &'a Person, after: i64, dry_run: bool) -> BoxFuture<'a, anyhow::Result<EraseStep>>;
}

/// What to erase, and in spite of what.
#[derive(Clone, Debug)]
pub struct ErasureOrder {
    pub subject: Subject,
    pub dry_run: bool,
    /// Whether to go on although entries of the person are not settled. These are left as they are.
    pub include_unsettled: bool,
    /// Whether to go on although subscriptions entitle the person.
    pub include_active: bool,
}

/// What was erased, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ErasureReport {
    pub fingerprint: String,
    pub dry_run: bool,
    /// Whether the subject was erased before.
    pub erased_before: bool,
    /// Why the erasure would refuse if it were not a dry run.
    pub would_refuse: Vec<Refusal>,
    /// Identifiers that lead to the person: users, customers, subscriptions, and objects such as payments.
    pub ids: [usize; 4],
    /// Subscriptions that entitle the person now.
    pub entitling: u64,
    pub inbox_bodies: u64,
    /// Unsettled entries that were left.
    pub unsettled: u64,
    pub unsettled_entries: Vec<Unsettled>,
    pub ledger_events: u64,
    pub ledger_rows: crate::ledger::erase::RowsErased,
}

/// What keeps an erasure from beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Entries of the person are not settled, and the order does not include them.
    Unsettled,
    /// Subscriptions entitle the person, and the order does not include them.
    Active,
}

impl ErasureOrder {
    /// Every reason to refuse, so that a dry run tells all of them at once.
    fn refusals(&self, report: &ErasureReport) -> Vec<Refusal> {
        let unsettled = (report.unsettled > 0 && !self.include_unsettled).then_some(Refusal::Unsettled);
        let active = (report.entitling > 0 && !self.include_active).then_some(Refusal::Active);
        unsettled.into_iter().chain(active).collect()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum EraseRefused {
    #[error(
        "entries that name the person and are not settled: {}. Nothing unapplied is ever removed: bring them to their end \
         (`inbox list`, `inbox replay`) and run this again, or erase the rest now with --include-unsettled and run this \
         again later:\n{}",
        .0.unsettled, lines(.0)
    )]
    Unsettled(Box<ErasureReport>),
    #[error(
        "subscriptions that still entitle the person: {0}. Cancel them at Stripe and wait for the events, or go on with \
         --include-active: the access that the gateway shows ends then, while Stripe goes on charging"
    )]
    Active(u64),
    #[error("the ledger did not finish its part; run the command again, it goes on from there")]
    Ledger(#[from] LedgerError),
    #[error("the inbox did not finish its part; run the command again, it goes on from there")]
    Inbox(#[source] anyhow::Error),
}

/// The entries of a refusal, one per line.
fn lines(report: &ErasureReport) -> String {
    let line = |one: &Unsettled| format!("  {} {} {} {}", one.entry, one.state, one.event_id, one.event_type);
    let mut lines: Vec<String> = report.unsettled_entries.iter().map(line).collect();
    let more = report.unsettled.saturating_sub(report.unsettled_entries.len() as u64);
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines.join("\n")
}

/// Erases, or reports what it would erase.
///
/// # Errors
/// [`EraseRefused::Unsettled`] and [`EraseRefused::Active`] before anything was changed, except that the tombstones stand if the
/// subscription came in meanwhile; a fault of a store at any point. After any of them the same order can be given again.
pub async fn erase(
    inbox: &dyn InboxSide,
    ledger: &dyn StateOfRecord,
    order: &ErasureOrder,
) -> Result<ErasureReport, EraseRefused> {
    let mut found = ledger.find_person(&order.subject).await?;
    let person = &mut found.person;
    let mut report = ErasureReport {
        fingerprint: order.subject.fingerprint(),
        dry_run: order.dry_run,
        erased_before: found.erased_before,
        ids: person.counts(),
        entitling: found.entitling,
        ..ErasureReport::default()
    };
    over_inbox(inbox, person, true, &mut report).await?;
    let refusals = order.refusals(&report);
    if order.dry_run {
        report.would_refuse = refusals;
    } else {
        match refusals.first() {
            Some(Refusal::Unsettled) => return Err(EraseRefused::Unsettled(Box::new(report))),
            Some(Refusal::Active) => return Err(EraseRefused::Active(report.entitling)),
            None => {}
        }
        ledger.mark_erased(person).await?;
        for _ in 0..LOOKS_MAX {
            let now = ledger.find_person(&order.subject).await?;
            report.entitling = now.entitling;
            if now.entitling > found.entitling && !order.include_active {
                return Err(EraseRefused::Active(now.entitling));
            }
            if !person.take_in(now.person) {
                break;
            }
            ledger.mark_erased(person).await?;
        }
        report.ids = person.counts();
        over_inbox(inbox, person, false, &mut report).await?;
    }
    let mut after = String::new();
    loop {
        let step = ledger.erase_events(person, &after, order.dry_run).await?;
        report.ledger_events += step.erased;
        match step.last {
            Some(last) => after = last,
            None => break,
        }
    }
    report.ledger_rows = ledger.erase_rows(person, order.dry_run).await?;
    Ok(report)
}

async fn over_inbox(
    inbox: &dyn InboxSide,
    person: &Person,
    dry_run: bool,
    report: &mut ErasureReport,
) -> Result<(), EraseRefused> {
    (report.inbox_bodies, report.unsettled) = (0, 0);
    report.unsettled_entries.clear();
    let mut after = 0;
    loop {
        let step = inbox.step(person, after, dry_run).await.map_err(EraseRefused::Inbox)?;
        report.inbox_bodies += step.erased;
        report.unsettled += step.unsettled.len() as u64;
        let room = LISTED_MAX.saturating_sub(report.unsettled_entries.len());
        report.unsettled_entries.extend(step.unsettled.into_iter().take(room));
        match step.last {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}
