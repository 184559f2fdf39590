//! What comes from a person whose data was erased is recorded without personal data.

use std::collections::BTreeSet;

use rusqlite::Transaction;
use serde_json::Value;

use crate::ledger::erase::{ERASED_DETAIL, ERASED_PERSON};
use crate::ledger::person::{Subject, reduced_event, reduced_object, subjects_in};
use crate::revenue::rows::{BindingKind, EventFacts, Finding, RawJson, Severity};
use crate::revenue::verdict::{Plan, Verdict};

/// The verdict without personal data, if it is about an erased person.
pub(super) fn redacted(transaction: &Transaction<'_>, verdict: &Verdict) -> rusqlite::Result<Option<Verdict>> {
    let any: bool =
        transaction.prepare_cached("SELECT EXISTS (SELECT 1 FROM erasures)")?.query_row([], |row| row.get(0))?;
    if !any || !names_erased(transaction, verdict)? {
        return Ok(None);
    }
    let mut verdict = verdict.clone();
    match &mut verdict {
        Verdict::Apply(plan) => redact(plan),
        Verdict::Ignore { event, .. } | Verdict::Quarantine { event, .. } => redact_event(event),
        Verdict::Drop { .. } | Verdict::Reject { .. } => {}
    }
    Ok(Some(verdict))
}

fn names_erased(transaction: &Transaction<'_>, verdict: &Verdict) -> rusqlite::Result<bool> {
    let mut subjects = BTreeSet::new();
    if let Some(event) = verdict.event() {
        subjects_in(&parsed(&event.payload), &mut subjects);
    }
    if let Verdict::Apply(plan) = verdict {
        subjects_of_rows(plan, &mut subjects);
        for payment in plan.revenue.iter().filter_map(|row| row.payment_id.as_ref()) {
            let mut statement = transaction.prepare_cached(
                "SELECT customer_id FROM revenue_entries WHERE payment_id = ?1 AND customer_id IS NOT NULL",
            )?;
            let customers = statement.query_map([payment], |row| row.get(0))?;
            for customer in customers {
                subjects.insert(Subject::Customer(customer?));
            }
        }
    }
    let mut statement =
        transaction.prepare_cached("SELECT EXISTS (SELECT 1 FROM erasures WHERE kind = ?1 AND fingerprint = ?2)")?;
    for subject in subjects {
        if statement.query_row([subject.kind(), &subject.fingerprint()], |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Rows fetched from Stripe may name persons whom the event does not.
fn subjects_of_rows(plan: &Plan, subjects: &mut BTreeSet<Subject>) {
    let mut customer = |id: Option<&String>| subjects.extend(id.cloned().map(Subject::Customer));
    plan.subscriptions.iter().for_each(|row| customer(row.customer_id.as_ref()));
    plan.customers.iter().for_each(|row| customer(Some(&row.id)));
    plan.revenue.iter().for_each(|row| customer(row.customer_id.as_ref()));
    for claim in &plan.claims {
        if claim.rank.is_of_customer() {
            subjects.insert(Subject::Customer(claim.subject.clone()));
        }
        subjects.insert(Subject::User(claim.user_id.clone()));
    }
    let paid = plan.bindings.iter().filter(|row| row.kind == BindingKind::SubscriptionCustomer);
    subjects.extend(paid.map(|row| Subject::Customer(row.to_id.clone())));
    let named = plan.subscriptions.iter().map(|row| &row.metadata_user_id);
    let named = named.chain(plan.customers.iter().map(|row| &row.metadata_user_id));
    let named = named.chain(plan.revenue.iter().map(|row| &row.user_id));
    subjects.extend(named.flatten().cloned().map(Subject::User));
}

fn redact(plan: &mut Plan) {
    redact_event(&mut plan.event);
    plan.claims.clear();
    for row in &mut plan.subscriptions {
        row.raw = RawJson::from_value(&reduced_object(&parsed(&row.raw)));
        row.metadata_user_id = None;
    }
    for row in &mut plan.customers {
        row.raw = RawJson::from_value(&reduced_object(&parsed(&row.raw)));
        row.metadata_user_id = None;
    }
    for row in &mut plan.revenue {
        row.user_id = None;
    }
    plan.findings.push(Finding {
        code: ERASED_PERSON.to_owned(),
        severity: Severity::Warning,
        subject: plan.event.object_id.clone().unwrap_or_default(),
        detail: ERASED_DETAIL.to_owned(),
    });
}

fn redact_event(event: &mut EventFacts) {
    event.payload = RawJson::from_value(&reduced_event(&parsed(&event.payload)));
}

fn parsed(raw: &RawJson) -> Value {
    serde_json::from_str(raw.as_str()).unwrap_or_default()
}
