//! Applies a batch in one transaction, event by event.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::events::{Known, State};
use super::fault::fault;
use super::truth::{CUSTOMERS, Merged, SUBSCRIPTIONS, VOUCHED};
use super::{bindings, claims, entries, erased, events, settle, truth, vouched};
use crate::domain::clock::Timestamp;
use crate::ledger::{LedgerError, Outcome};
use crate::revenue::rows::{Decision, EventFacts};
use crate::revenue::verdict::{Plan, Suspicion, Verdict};

/// Applies the batch. If this fails, nothing of it is there.
pub(super) fn apply(
    connection: &mut Connection,
    batch: &[Verdict],
    now: Timestamp,
) -> Result<Vec<Outcome>, LedgerError> {
    apply_all(connection, batch, now).map_err(fault)
}

fn apply_all(connection: &mut Connection, batch: &[Verdict], now: Timestamp) -> rusqlite::Result<Vec<Outcome>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcomes = apply_within(&transaction, batch, now)?;
    transaction.commit()?;
    Ok(outcomes)
}

/// Applies the batch as a part of a transaction.
pub(super) fn apply_within(
    transaction: &Transaction<'_>,
    batch: &[Verdict],
    now: Timestamp,
) -> rusqlite::Result<Vec<Outcome>> {
    batch.iter().map(|verdict| apply_one(transaction, verdict, now)).collect()
}

fn apply_one(transaction: &Transaction<'_>, verdict: &Verdict, now: Timestamp) -> rusqlite::Result<Outcome> {
    let redacted = erased::redacted(transaction, verdict)?;
    let verdict = redacted.as_ref().unwrap_or(verdict);
    if let Some(event) = verdict.event()
        && let Some(known) = events::known(transaction, &event.id)?
        && let Some(answer) = known_one(transaction, verdict, event, known, now)?
    {
        return Ok(answer);
    }
    let outcome = match verdict {
        Verdict::Apply(plan) => {
            record_decisions(transaction, &plan.event, &plan.decisions)?;
            return apply_plan(transaction, plan, now);
        }
        Verdict::Ignore { event, decisions, .. } => {
            record_decisions(transaction, event, decisions)?;
            Outcome::Ignored
        }
        Verdict::Quarantine { event, rule, reason, decisions } => {
            record_decisions(transaction, event, decisions)?;
            Outcome::Quarantined { rule: rule.clone(), reason: reason.clone() }
        }
        Verdict::Drop { event, reason } => {
            events::record_drop(transaction, event, reason, now)?;
            return Ok(Outcome::Ignored);
        }
        Verdict::Reject { code, reason } => Outcome::Failed { code: (*code).to_owned(), reason: reason.clone() },
    };
    if let Some(event) = verdict.event() {
        events::record(transaction, event, &outcome, now)?;
    }
    Ok(outcome)
}

/// What becomes of an event that is recorded; `None` if it is judged again, because a person asks for it or drops it.
///
/// Another rendering of the event tells facts in any case. A rendering that no rule holds vouches for the event, whether it
/// comes first or last; until one does, the newest says which rule holds it.
fn known_one(
    transaction: &Transaction<'_>,
    verdict: &Verdict,
    event: &EventFacts,
    known: Known,
    now: Timestamp,
) -> rusqlite::Result<Option<Outcome>> {
    let is_decided = matches!(known.state, State::Dropped) || matches!(verdict, Verdict::Drop { .. });
    let otherwise = known.is_rendered_otherwise(event) && !is_decided;
    let is_newest = otherwise && events::take_newer_rendering(transaction, event)?;
    match (&known.state, verdict) {
        (State::Quarantined { .. } | State::Dropped, verdict) if verdict.reopens() => return Ok(None),
        (State::Quarantined { .. }, Verdict::Drop { .. }) => return Ok(None),
        (State::Dropped, Verdict::Drop { .. }) => return Ok(Some(Outcome::Ignored)),
        _ => {}
    }
    if otherwise {
        record_decisions_of_rendering(transaction, verdict)?;
    }
    match (known.state, verdict) {
        (State::Quarantined { .. }, Verdict::Apply(plan)) if otherwise && plan.suspicion.is_none() => {
            apply_plan(transaction, plan, now).map(Some)
        }
        (State::Quarantined { .. }, Verdict::Ignore { .. }) if otherwise => {
            events::record(transaction, event, &Outcome::Ignored, now)?;
            Ok(Some(Outcome::Ignored))
        }
        // An applied event was vouched for; a rule that would hold it now does not change that.
        (State::Applied, Verdict::Apply(plan))
            if (plan.released || plan.replayed || otherwise) && plan.suspicion.is_none() =>
        {
            write_again(transaction, plan, now).map(Some)
        }
        (state, verdict) => {
            if let Verdict::Apply(plan) = verdict
                && otherwise
            {
                let merged = merge(transaction, plan)?;
                settle_all(transaction, plan, merged)?;
            }
            if let (State::Quarantined { .. }, Some((rule, reason))) = (&state, verdict.held_by())
                && is_newest
            {
                let outcome = Outcome::Quarantined { rule: rule.to_owned(), reason: reason.to_owned() };
                events::record(transaction, event, &outcome, now)?;
                return Ok(Some(outcome));
            }
            Ok(Some(state.outcome()))
        }
    }
}

/// Settles what depends on several events of the plan's objects. Returns whether a row changed.
fn settle_all(transaction: &Transaction<'_>, plan: &Plan, merged: Merged) -> rusqlite::Result<bool> {
    let mut changed = false;
    if merged.doubtful {
        for row in &plan.subscriptions {
            changed |= settle::settle(transaction, &SUBSCRIPTIONS, &row.id)?;
        }
        for row in &plan.customers {
            changed |= settle::settle(transaction, &CUSTOMERS, &row.id)?;
        }
    }
    if merged.doubted {
        for row in &plan.subscriptions {
            settle::settle(transaction, &VOUCHED, &row.id)?;
        }
    }
    plan.subscriptions.iter().try_for_each(|row| settle::set_grace(transaction, &row.id))?;
    Ok(changed)
}

/// Writes the rows of a plan, including those of an event that a rule holds, and records the event.
fn apply_plan(transaction: &Transaction<'_>, plan: &Plan, now: Timestamp) -> rusqlite::Result<Outcome> {
    let merged = merge(transaction, plan)?;
    let rows = plan.claims.len()
        + plan.bindings.len()
        + plan.subscriptions.len()
        + plan.customers.len()
        + plan.revenue.len()
        + plan.links.len();
    let outcome = match plan.suspicion.clone() {
        Some(Suspicion { rule, reason }) => Outcome::Quarantined { rule, reason },
        None if merged.changed > 0 || rows == 0 => Outcome::Applied,
        None => Outcome::Stale,
    };
    events::record(transaction, &plan.event, &outcome, now)?;
    if settle_all(transaction, plan, merged)? && outcome == Outcome::Stale {
        events::record(transaction, &plan.event, &Outcome::Applied, now)?;
        return Ok(Outcome::Applied);
    }
    Ok(outcome)
}

/// Merges the rows of an event that was applied before; records only what is new about it.
fn write_again(transaction: &Transaction<'_>, plan: &Plan, now: Timestamp) -> rusqlite::Result<Outcome> {
    let merged = merge(transaction, plan)?;
    if merged.changed == 0 {
        settle_all(transaction, plan, merged)?;
        return Ok(Outcome::Duplicate);
    }
    if plan.released || plan.replayed {
        record_decisions(transaction, &plan.event, &plan.decisions)?;
    }
    events::record(transaction, &plan.event, &Outcome::Applied, now)?;
    settle_all(transaction, plan, merged)?;
    Ok(Outcome::Applied)
}

/// Merges the rows of a plan by their versions.
fn merge(transaction: &Transaction<'_>, plan: &Plan) -> rusqlite::Result<Merged> {
    let mut merged = Merged::default();
    for claim in &plan.claims {
        merged.changed += claims::merge(transaction, claim)?;
    }
    for binding in &plan.bindings {
        merged.changed += bindings::merge(transaction, binding)?;
    }
    for subscription in &plan.subscriptions {
        merged.add(vouched::merge_subscription(transaction, subscription, plan.suspicion.is_some())?);
    }
    for customer in &plan.customers {
        merged.add(truth::merge_customer(transaction, customer)?);
    }
    for row in &plan.revenue {
        merged.changed += entries::merge_revenue(transaction, row)?;
    }
    for link in &plan.links {
        merged.changed += entries::merge_link(transaction, link)?;
    }
    for finding in &plan.findings {
        entries::record_finding(transaction, &plan.event.id, finding)?;
    }
    Ok(merged)
}

fn record_decisions(transaction: &Transaction<'_>, event: &EventFacts, decisions: &[Decision]) -> rusqlite::Result<()> {
    decisions.iter().try_for_each(|decision| entries::record_decision(transaction, &event.id, decision))
}

/// Records what rules say about another rendering of a recorded event.
fn record_decisions_of_rendering(transaction: &Transaction<'_>, verdict: &Verdict) -> rusqlite::Result<()> {
    let (event, decisions) = match verdict {
        Verdict::Apply(plan) => (&plan.event, &plan.decisions),
        Verdict::Ignore { event, decisions, .. } | Verdict::Quarantine { event, decisions, .. } => (event, decisions),
        Verdict::Drop { .. } | Verdict::Reject { .. } => return Ok(()),
    };
    decisions.iter().try_for_each(|decision| entries::record_decision_of_rendering(transaction, &event.id, decision))
}
