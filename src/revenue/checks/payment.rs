//! Whether what went back is no more than what came in.

use super::finding;
use crate::revenue::rows::{Finding, Severity};
use crate::stripe::object::Object;
use crate::stripe::payment::{captured, refund_failed};

/// `with_releases`: in the event's API version, releasing an authorised amount that was not captured counts as a refund.
pub(super) fn check_charge(object: Object<'_>, with_releases: bool, findings: &mut Vec<Finding>) {
    let id = object.at("id").id();
    let (Some(captured), Some(refunded)) = (captured(object), object.at("amount_refunded").integer()) else { return };
    let most = if with_releases { captured.amount.saturating_add(captured.rest) } else { captured.amount };
    if refunded > most {
        let detail = format!("refunded {refunded} of {most}");
        findings.push(finding("refund_above_charge", Severity::Critical, id, detail));
    }
    let listed = i64::try_from(object.at("refunds").items().count()).unwrap_or(i64::MAX);
    let all = object.path("refunds.total_count").integer().unwrap_or(listed);
    if !object.at("refunds").is_whole_list() || all > listed {
        return;
    }
    let effective = object.at("refunds").items().filter(|refund| !refund_failed(refund.at("status").word()));
    let sum =
        effective.map(|refund| refund.at("amount").integer()).try_fold(0_i64, |sum, amount| sum.checked_add(amount?));
    if let Some(sum) = sum
        && sum != refunded
    {
        let detail = format!("the refunds make {sum}, the charge says {refunded}");
        findings.push(finding("refund_total", Severity::Warning, id, detail));
    }
}

/// A refund or dispute that carries its charge.
pub(super) fn check_reversal(object: Object<'_>, findings: &mut Vec<Finding>) {
    let (id, charge) = (object.at("id").id(), object.at("charge"));
    let (amount, charged) = (object.at("amount").integer(), charge.at("amount").integer());
    if let (Some(amount), Some(charged)) = (amount, charged)
        && amount > charged
    {
        let detail = format!("{amount} of a charge of {charged}");
        findings.push(finding("refund_above_charge", Severity::Critical, id, detail));
    }
    let (own, theirs) = (object.at("currency").word(), charge.at("currency").word());
    if let (Some(own), Some(theirs)) = (own, theirs)
        && !own.eq_ignore_ascii_case(theirs)
    {
        let detail = format!("{own}, of a charge in {theirs}");
        findings.push(finding("currency", Severity::Warning, id, detail));
    }
}
