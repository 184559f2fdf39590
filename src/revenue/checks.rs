//! Checks of what should add up. They produce findings and never hold an event back.
//!
//! A check speaks only of what the event (or an object fetched for it) shows by itself, so that the same event gives
//! the same findings in whatever order events come. Where a part is missing or only partly listed, it says nothing.

mod invoice;
mod lists;
mod payment;
mod subscription;

use super::project::Context;
use super::rows::{Finding, Severity};
use super::verdict::Plan;
use crate::stripe::event::{Event, Family};
use crate::stripe::object::Object;
use crate::stripe::payment::shows_releases_as_refunds;

/// Adds to a plan the contradictions and doubts in its event.
pub fn check(event: &Event, context: Context<'_>, plan: &mut Plan) {
    let object = context.related.map_or(event.object(), |fetched| Object::new(&fetched.object));
    let fetched = context.subscription.map(|fetched| Object::new(&fetched.object));
    let mut findings = Vec::new();
    match event.family {
        Family::Invoice => invoice::check(object, &mut findings),
        Family::Charge => {
            let with_releases = context.related.is_none() && shows_releases_as_refunds(event.api_version.as_deref());
            payment::check_charge(object, with_releases, &mut findings);
        }
        Family::Refund | Family::Dispute => payment::check_reversal(object, &mut findings),
        Family::Subscription => subscription::check(fetched.unwrap_or(object), context.settings, &mut findings),
        Family::Customer | Family::Session | Family::InvoicePayment | Family::PaymentIntent | Family::Other => {}
    }
    if let Some(fetched) = fetched
        && event.family != Family::Subscription
    {
        subscription::check(fetched, context.settings, &mut findings);
        if event.family == Family::Invoice {
            subscription::check_against_invoice(fetched, object, &mut findings);
        }
    }
    // A fetched subscription takes the place of the event's own object.
    if event.family != Family::Subscription || fetched.is_none() {
        lists::check(object, &mut findings);
    }
    if let Some(fetched) = fetched {
        lists::check(fetched, &mut findings);
    }
    for finding in findings {
        let known = |row: &Finding| row.code == finding.code && row.subject == finding.subject;
        if !plan.findings.iter().any(known) {
            plan.findings.push(finding);
        }
    }
}

fn finding(code: &str, severity: Severity, subject: Option<&str>, detail: String) -> Finding {
    Finding { code: code.to_owned(), severity, subject: subject.unwrap_or_default().to_owned(), detail }
}
