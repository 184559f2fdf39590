//! Subscriptions as Stripe lists them against the truth table.
//!
//! What differs is written as a fetched subscription with the time at which the listing began, through the same call as
//! events are. It keeps a row that something newer has changed, and only reports subscriptions that Stripe does not list.

use std::collections::HashSet;

use serde_json::Value;

use super::bounds::{CONFIRMATIONS_MAX, PAGE_TIME_MAX, SUBSCRIPTIONS_MAX};
use super::report::SubscriptionsReport;
use super::{ReconcileError, Reconciler};
use crate::domain::clock::Timestamp;
use crate::ledger::Outcome;
use crate::ledger::audit::SubscriptionFacts;
use crate::revenue::rows::ClaimRank;
use crate::revenue::verdict::Verdict;
use crate::stripe::api::{ApiError, Fetched, Page, Scope, SubscriptionsQuery};
use crate::stripe::object::Object;
use crate::stripe::subscription::Subscription;

impl Reconciler {
    pub(super) async fn compare_subscriptions(
        &self,
        dry_run: bool,
        report: &mut SubscriptionsReport,
        tell: &mut (impl FnMut(&SubscriptionsReport) + Send),
    ) -> Result<(), ReconcileError> {
        let mut confirmations = CONFIRMATIONS_MAX;
        for scope in self.scopes() {
            let mut listed = HashSet::new();
            let mut livemode = self.api.livemode();
            let mut query = SubscriptionsQuery::default();
            // By Stripe's clock, because that dates the list.
            let mut began: Option<Timestamp> = None;
            loop {
                let page = self.stubbornly(|| self.api.subscriptions(&query, &scope, PAGE_TIME_MAX)).await?;
                report.pages += 1;
                began.get_or_insert(page.began);
                query.starting_after = page.last_id().map(str::to_owned);
                let has_more = page.has_more && query.starting_after.is_some();
                for object in &page.objects {
                    let object = Object::new(object);
                    listed.extend(object.at("id").id().map(str::to_owned));
                    livemode = livemode.or(object.at("livemode").flag());
                }
                if listed.len() > SUBSCRIPTIONS_MAX {
                    return Err(ReconcileError::TooManySubscriptions);
                }
                self.compare_page(&scope, page, dry_run, report).await?;
                tell(report);
                if !has_more {
                    break;
                }
            }
            if let (Some(livemode), Some(began)) = (livemode, began) {
                self.find_unknown(&scope, livemode, &listed, began, &mut confirmations, report).await?;
                tell(report);
            }
        }
        Ok(())
    }

    async fn compare_page(
        &self,
        scope: &Scope,
        page: Page,
        dry_run: bool,
        report: &mut SubscriptionsReport,
    ) -> Result<(), ReconcileError> {
        let ids: Vec<String> =
            page.objects.iter().filter_map(|object| Object::new(object).at("id").id().map(str::to_owned)).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let facts = self.stubbornly(|| self.ledger.subscription_facts(&ids)).await?;
        let mut repairs = Vec::new();
        for object in page.objects {
            report.seen += 1;
            let fetched = Fetched { object, began: page.began };
            let id = Object::new(&fetched.object).at("id").id().unwrap_or_default().to_owned();
            let held = facts.iter().find(|facts| facts.id == id);
            let verdict =
                self.validator.listed(&fetched, scope.account.as_deref(), held.map(|held| held.version.as_str()));
            match judge(&verdict, held, &fetched.object) {
                Comparison::Same => report.in_order += 1,
                Comparison::Missing => {
                    report.missing += 1;
                    repairs.push(Repair { id, held: None, fields: Vec::new(), verdict });
                }
                Comparison::Different(fields) => {
                    report.different += 1;
                    for field in &fields {
                        *report.fields.entry(field.clone()).or_default() += 1;
                    }
                    repairs.push(Repair { id, held: held.cloned(), fields, verdict });
                }
            }
        }
        if dry_run {
            for repair in repairs {
                report.show(&repair.id, repair.found(), repair.fields.clone(), "left");
            }
            return Ok(());
        }
        self.repair(repairs, page.began, report).await
    }

    /// Writes the differences. If the ledger refuses the data of all together, each is tried by itself.
    async fn repair(
        &self,
        repairs: Vec<Repair>,
        began: Timestamp,
        report: &mut SubscriptionsReport,
    ) -> Result<(), ReconcileError> {
        if repairs.is_empty() {
            return Ok(());
        }
        let batch: Vec<Verdict> = repairs.iter().map(|repair| repair.verdict.clone()).collect();
        let outcomes = match self.stubbornly(|| self.ledger.apply(&batch)).await {
            Ok(outcomes) => outcomes,
            Err(ReconcileError::Ledger(error)) if error.disposition() == crate::ledger::Disposition::GiveUp => {
                let mut outcomes = Vec::with_capacity(batch.len());
                for verdict in &batch {
                    let one = std::slice::from_ref(verdict);
                    match self.stubbornly(|| self.ledger.apply(one)).await {
                        Ok(mut outcome) => outcomes.extend(outcome.pop()),
                        Err(ReconcileError::Ledger(error))
                            if error.disposition() == crate::ledger::Disposition::GiveUp =>
                        {
                            let (code, reason) = (format!("ledger_{}", error.kind), error.message);
                            outcomes.push(Outcome::Failed { code, reason });
                        }
                        Err(error) => return Err(error),
                    }
                }
                outcomes
            }
            Err(error) => return Err(error),
        };
        for (repair, outcome) in repairs.into_iter().zip(outcomes) {
            let is_newer = repair.held.as_ref().and_then(SubscriptionFacts::at).is_some_and(|at| at > began);
            let end = match outcome {
                Outcome::Applied => {
                    report.repaired += 1;
                    "repaired".to_owned()
                }
                Outcome::Stale | Outcome::Duplicate if is_newer => {
                    report.overtaken += 1;
                    "overtaken".to_owned()
                }
                Outcome::Quarantined { rule, .. } if matches!(repair.verdict, Verdict::Apply(_)) => {
                    failed(report, format!("written, and {rule} withholds what it would give"))
                }
                Outcome::Quarantined { rule, .. } => failed(report, format!("held back by {rule}")),
                Outcome::Failed { code, .. } => failed(report, code),
                Outcome::Stale | Outcome::Duplicate | Outcome::Ignored => {
                    failed(report, "the ledger keeps what it has".to_owned())
                }
            };
            let found = repair.found();
            tracing::warn!(subscription = repair.id, found, fields = ?repair.fields, end, "reconcile: a subscription differed");
            report.show(&repair.id, found, repair.fields, &end);
        }
        Ok(())
    }

    /// Finds subscriptions of the ledger that the list lacked, and asks Stripe for the first of them one by one.
    async fn find_unknown(
        &self,
        scope: &Scope,
        livemode: bool,
        listed: &HashSet<String>,
        began: Timestamp,
        confirmations: &mut usize,
        report: &mut SubscriptionsReport,
    ) -> Result<(), ReconcileError> {
        let mut after = String::new();
        loop {
            let keys = self.stubbornly(|| self.ledger.subscriptions_after(&after, livemode)).await?;
            let Some(last) = keys.last() else { return Ok(()) };
            after.clone_from(&last.id);
            for key in keys {
                // A subscription made during the run came too late for the list.
                let is_new = key.created_ms.is_some_and(|created| Timestamp::from_millis(created) >= began);
                if key.account != scope.account || is_new || listed.contains(&key.id) {
                    continue;
                }
                if *confirmations > 0 {
                    *confirmations -= 1;
                    let asked = self.stubbornly(|| self.api.subscription(&key.id, scope, PAGE_TIME_MAX)).await;
                    match asked {
                        Ok(_) => continue,
                        Err(ReconcileError::Stripe(ApiError::NotFound | ApiError::BadId)) => {}
                        Err(error) => return Err(error),
                    }
                }
                report.unknown_at_stripe += 1;
                tracing::warn!(subscription = key.id, "reconcile: Stripe does not know a subscription of the ledger");
                report.show(&key.id, "unknown_at_stripe", Vec::new(), "left");
            }
        }
    }
}

fn failed(report: &mut SubscriptionsReport, why: String) -> String {
    report.failed += 1;
    why
}

/// A subscription to write.
struct Repair {
    id: String,
    held: Option<SubscriptionFacts>,
    fields: Vec<String>,
    verdict: Verdict,
}

impl Repair {
    fn found(&self) -> &'static str {
        if self.held.is_some() { "different" } else { "missing" }
    }
}

enum Comparison {
    Same,
    Missing,
    Different(Vec<String>),
}

/// Compares what a verdict would write with what the ledger holds.
fn judge(verdict: &Verdict, held: Option<&SubscriptionFacts>, object: &Value) -> Comparison {
    let Some(held) = held else { return Comparison::Missing };
    let Verdict::Apply(plan) = verdict else { return Comparison::Different(vec!["held_back".to_owned()]) };
    let Some(row) = plan.subscriptions.first() else { return Comparison::Different(vec!["unreadable".to_owned()]) };
    let prices = Subscription(Object::new(object)).items().into_iter().map(|item| {
        let quantity = item.quantity().map_or_else(|| "-".to_owned(), |quantity| quantity.to_string());
        format!("{} x {quantity}", item.price_id().unwrap_or("-"))
    });
    let mut fields: Vec<String> = held.differences(row, prices.collect()).into_iter().map(str::to_owned).collect();
    // A rule that holds an event is no reason to write the same again. But if no rule holds the content any more, writing
    // it vouches for it.
    if held.doubted && plan.suspicion.is_none() && !held.vouched {
        fields.push("vouched".to_owned());
    }
    let user = plan.claims.iter().find(|row| row.rank == ClaimRank::Subscription && row.subject == held.id);
    if user.is_some_and(|user| !held.claimed_by.contains(&user.user_id)) {
        fields.push("user".to_owned());
    }
    if fields.is_empty() { Comparison::Same } else { Comparison::Different(fields) }
}
