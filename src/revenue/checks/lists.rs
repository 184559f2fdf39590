//! Whether the lists in an object hold all there is. Stripe lists ten in an event; with a key the rest was asked for.

use super::finding;
use crate::revenue::rows::{Finding, Severity};
use crate::stripe::object::Object;

/// Lists that the gateway reads, what depends on each, and how bad a missing part is.
const LISTS: [(&str, &str, &str, Severity); 4] = [
    (
        "items",
        "items_partial",
        "tier and monthly amount are incomplete; what was known before stays",
        Severity::Warning,
    ),
    ("refunds", "refunds_partial", "single refunds are told by their own events", Severity::Info),
    ("lines", "lines_partial", "whether they make the subtotal was not compared", Severity::Info),
    ("payments", "payments_partial", "payments that are not listed are told by their own events", Severity::Info),
];

pub(super) fn check(object: Object<'_>, findings: &mut Vec<Finding>) {
    for (field, code, meaning, severity) in LISTS {
        let list = object.at(field);
        if !list.is_partial_list() {
            continue;
        }
        let listed = list.items().count();
        let all =
            list.at("total_count").integer().filter(|all| u64::try_from(*all).is_ok_and(|all| all > listed as u64));
        let all = all.map_or_else(|| "more".to_owned(), |all| all.to_string());
        let detail =
            format!("{listed} of {all} {field} are listed: {meaning}; with STRIPE_SECRET_KEY the rest is asked for");
        findings.push(finding(code, severity, object.at("id").id(), detail));
    }
}
