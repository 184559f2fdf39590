//! Counting again: the rows that older rules made of payloads that are still here, by today's.
//!
//! All payloads are projected again, page by page, and what they come to together is kept in a scratch file. Then the rows that
//! are held are compared with it, page by page, and those that differ are replaced. What an applied payload does not come to
//! any more is removed; what it comes to and is missing is added. Guarantees: a row changes only where the payload that it
//! stands on is here and tells all, or where a newer one is; what stands on a fetch or on a person's word, what a person has
//! dropped or has still to judge, and erased people stay as they are. Claims about users are no part of it: who has what is
//! not decided anew by counting. A run that is interrupted has mended some rows, and the next finds the rest.

mod judge;
mod scratch;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

use self::judge::Standing;
use self::scratch::Scratch;
use super::ReconcileError;
use super::report::RecountReport;
use super::stubborn::stubbornly;
use crate::domain::backoff::Backoff;
use crate::ledger::expiry::is_reduced;
use crate::ledger::recount::{Change, Content, Link, Mending, Money, RECOUNT_ROWS_MAX, StoredEvent, TruthKind, replay};
use crate::ledger::report::StateOfRecord;
use crate::revenue::rows::{Rank, SORT_KEY_CLASS, SORT_KEY_EVENT, event_of_sort_key};
use crate::revenue::validator::{Again, Untold, Validator};
use crate::revenue::verdict::Plan;

/// Counts again, with only a ledger: Stripe is not asked.
#[derive(Debug)]
pub struct Recounter<'a> {
    /// The ledger to count.
    pub ledger: &'a dyn StateOfRecord,
    /// Makes rows of payloads.
    pub validator: &'a Validator,
    /// The directory for the scratch file.
    pub scratch: &'a Path,
    /// Waits between attempts at one step.
    pub backoff: Backoff,
}

impl Recounter<'_> {
    /// Counts, and corrects differences unless it is a dry run. Reports its progress after each page. An error ends it and
    /// is in the report.
    pub async fn run(&self, dry_run: bool, mut tell: impl FnMut(&RecountReport) + Send) -> RecountReport {
        let mut report = RecountReport::default();
        let result = self.count(dry_run, &mut report, &mut tell).await;
        report.error = result.err().map(|error| crate::domain::causes::chain(&error));
        report
    }

    async fn count(
        &self,
        dry_run: bool,
        report: &mut RecountReport,
        tell: &mut (impl FnMut(&RecountReport) + Send),
    ) -> Result<(), ReconcileError> {
        let mut scratch = Scratch::new(self.scratch)?;
        let mut after = String::new();
        loop {
            let page = self.step(|| self.ledger.stored_events(&after)).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            let plans = self.read(&mut scratch, page, report)?;
            self.compare_truths(&plans, dry_run, report).await?;
            tell(report);
        }
        self.compare_money(&mut scratch, dry_run, report, tell).await?;
        self.compare_links(&mut scratch, dry_run, report, tell).await
    }

    async fn step<T, F>(&self, step: impl FnMut() -> F + Send) -> Result<T, ReconcileError>
    where
        F: Future<Output = Result<T, crate::ledger::LedgerError>> + Send,
    {
        stubbornly(&self.backoff, step).await
    }

    /// Adds the payloads of a page to the count. Returns what each of them gives by itself.
    fn read(
        &self,
        scratch: &mut Scratch,
        page: Vec<StoredEvent>,
        report: &mut RecountReport,
    ) -> Result<Vec<Plan>, ReconcileError> {
        let mut plans = Vec::with_capacity(page.len());
        scratch.together(|scratch| {
            for event in page {
                report.events += 1;
                let told = match event.payload.as_ref().filter(|payload| !is_reduced(payload)) {
                    None => {
                        report.without_payload += 1;
                        None
                    }
                    Some(payload) => match self.validator.again(&Bytes::from(payload.to_string())) {
                        Ok(again) => Some(again),
                        Err(untold) => {
                            match untold {
                                Untold::Thin => report.asked_of_stripe += 1,
                                Untold::Refused => report.refused += 1,
                            }
                            None
                        }
                    },
                };
                if told.as_ref().is_none_or(|again| !again.is_whole) {
                    event.object_id.iter().try_for_each(|object| scratch.leave_open(object))?;
                }
                let Some(Again { plan, is_whole }) = told else { continue };
                report.counted += 1;
                scratch.count_event(&event.id, plan.event.api_version.as_deref(), is_whole)?;
                plan.revenue.iter().try_for_each(|row| scratch.add_money(Money::from(row)))?;
                plan.links.iter().try_for_each(|row| scratch.add_link(&Link::from(row)))?;
                plans.push(plan);
            }
            Ok(())
        })?;
        Ok(plans)
    }

    /// Compares the contents of subscriptions and customers that are held under the version of a payload.
    async fn compare_truths(
        &self,
        plans: &[Plan],
        dry_run: bool,
        report: &mut RecountReport,
    ) -> Result<(), ReconcileError> {
        if plans.iter().all(|plan| plan.subscriptions.is_empty() && plan.customers.is_empty()) {
            return Ok(());
        }
        let mut contents = self.step(|| self.ledger.differing(plans)).await?;
        let mut writers: BTreeMap<&str, &Plan> = BTreeMap::new();
        for plan in plans {
            if replay(plan).is_some() {
                writers.insert(plan.event.id.as_str(), plan);
            }
        }
        contents.retain(|content| writers.contains_key(event_of_sort_key(&content.version)));
        if contents.is_empty() {
            return Ok(());
        }
        let kind = |content: &Content| match content.truth {
            TruthKind::Subscriptions => "subscription",
            TruthKind::Customers => "customer",
        };
        if dry_run {
            for content in &contents {
                report.of(kind(content)).replaced += 1;
            }
            return Ok(());
        }
        writers.retain(|event, _| contents.iter().any(|content| event_of_sort_key(&content.version) == *event));
        let batch = writers.into_values().filter_map(replay).collect();
        let mending = Mending { contents, batch, ..Mending::default() };
        let mended = self.step(|| self.ledger.mend(&mending)).await?;
        for (content, made) in mending.contents.iter().zip(mended.contents) {
            report.note(kind(content), true, true, made);
        }
        Ok(())
    }

    async fn compare_money(
        &self,
        scratch: &mut Scratch,
        dry_run: bool,
        report: &mut RecountReport,
        tell: &mut (impl FnMut(&RecountReport) + Send),
    ) -> Result<(), ReconcileError> {
        let mut after = None;
        loop {
            let page = self.step(|| self.ledger.held_money(after.as_ref())).await?;
            let Some(last) = page.last().cloned() else { break };
            report.rows += page.len() as u64;
            let mut changes = Vec::new();
            for held in page {
                let today = scratch.take_money(&held.kind, &held.key)?;
                let standing = standing(scratch, &held.version)?;
                let names =
                    [Some(&held.key), held.payment_id.as_ref(), held.charge_id.as_ref(), held.invoice_id.as_ref()];
                let is_open = scratch.is_open(names.into_iter().flatten().map(String::as_str))?;
                changes.extend(judge::money(Some(held), today, standing, is_open));
            }
            self.mend_money(changes, dry_run, report).await?;
            after = Some(last);
            tell(report);
        }
        loop {
            let missing = scratch.take_some_money()?;
            if missing.is_empty() {
                return Ok(());
            }
            let changes = missing.into_iter().map(|today| Change { held: None, now: Some(today) }).collect();
            self.mend_money(changes, dry_run, report).await?;
            tell(report);
        }
    }

    async fn mend_money(
        &self,
        changes: Vec<Change<Money>>,
        dry_run: bool,
        report: &mut RecountReport,
    ) -> Result<(), ReconcileError> {
        if changes.is_empty() {
            return Ok(());
        }
        debug_assert!(changes.len() <= RECOUNT_ROWS_MAX as usize, "a page of rows is bounded");
        let mending = Mending { money: changes, ..Mending::default() };
        let made = if dry_run {
            vec![true; mending.money.len()]
        } else {
            self.step(|| self.ledger.mend(&mending)).await?.money
        };
        for (change, made) in mending.money.iter().zip(made) {
            let row = change.now.as_ref().or(change.held.as_ref());
            let kind = row.map_or("money", |row| row.kind.as_str());
            report.note(kind, change.held.is_some(), change.now.is_some(), made);
        }
        Ok(())
    }

    async fn compare_links(
        &self,
        scratch: &mut Scratch,
        dry_run: bool,
        report: &mut RecountReport,
        tell: &mut (impl FnMut(&RecountReport) + Send),
    ) -> Result<(), ReconcileError> {
        let mut after = None;
        loop {
            let page = self.step(|| self.ledger.held_links(after.as_ref())).await?;
            let Some(last) = page.last().cloned() else { break };
            report.rows += page.len() as u64;
            let mut changes = Vec::new();
            for held in page {
                let today = scratch.take_link(&held.payment_id, &held.invoice_id)?;
                let standing = standing(scratch, &held.version)?;
                changes.extend(judge::link(Some(held), today, standing));
            }
            self.mend_links(changes, dry_run, report).await?;
            after = Some(last);
            tell(report);
        }
        loop {
            let missing = scratch.take_some_links()?;
            if missing.is_empty() {
                return Ok(());
            }
            let changes = missing.into_iter().map(|today| Change { held: None, now: Some(today) }).collect();
            self.mend_links(changes, dry_run, report).await?;
            tell(report);
        }
    }

    async fn mend_links(
        &self,
        changes: Vec<Change<Link>>,
        dry_run: bool,
        report: &mut RecountReport,
    ) -> Result<(), ReconcileError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mending = Mending { links: changes, ..Mending::default() };
        let made = if dry_run {
            vec![true; mending.links.len()]
        } else {
            self.step(|| self.ledger.mend(&mending)).await?.links
        };
        for (change, made) in mending.links.iter().zip(made) {
            report.note("link", change.held.is_some(), change.now.is_some(), made);
        }
        Ok(())
    }
}

/// Whether a version is that of a counted payload, in the counted rendering.
fn standing(scratch: &Scratch, version: &str) -> Result<Standing, ReconcileError> {
    let rank = version.get(SORT_KEY_CLASS - 1..SORT_KEY_CLASS).and_then(|rank| rank.parse::<u8>().ok());
    if rank.is_none_or(|rank| rank >= Rank::Fetched as u8) {
        return Ok(Standing::Unknown);
    }
    let rendering = version.get(SORT_KEY_EVENT..).and_then(|rest| rest.split_once(' ')).map(|(_, rendering)| rendering);
    Ok(match scratch.counted(event_of_sort_key(version), rendering)? {
        Some(true) => Standing::Counted,
        Some(false) => Standing::Partly,
        None => Standing::Unknown,
    })
}
