//! Whether a subscription agrees with its price, its customer and its latest invoice.

use super::finding;
use crate::revenue::project::Settings;
use crate::revenue::rows::{Finding, Severity};
use crate::stripe::metadata;
use crate::stripe::object::Object;
use crate::stripe::subscription::Subscription;

/// `object` is a subscription from an event, or a fetched one.
pub(super) fn check(object: Object<'_>, settings: &Settings, findings: &mut Vec<Finding>) {
    let id = object.at("id").id();
    tier_is_the_prices(object, settings, findings);
    currency_is_the_customers(object, findings);
    if object.at("latest_invoice").at("status").is_some() {
        check_against_invoice(object, object.at("latest_invoice"), findings);
    }
    let items = Subscription(object).items();
    let codes: Vec<&str> = items.iter().filter_map(|item| item.currency()).collect();
    if codes.iter().any(|code| !code.eq_ignore_ascii_case(codes[0])) {
        let detail = "its items are in different currencies".to_owned();
        findings.push(finding("currency_items", Severity::Warning, id, detail));
    }
}

fn tier_is_the_prices(object: Object<'_>, settings: &Settings, findings: &mut Vec<Finding>) {
    let (id, tiers) = (object.at("id").id(), &settings.tiers);
    // An item that is not listed may buy another tier.
    let whole = !object.at("items").is_partial_list();
    let items = Subscription(object).items();
    let prices: Vec<&str> = items.iter().filter_map(|item| item.price_id()).collect();
    let bought: Vec<&str> = prices.iter().filter_map(|price| tiers.of_price(price)).collect();
    let named = metadata::tier(object.at("metadata"));
    if let Some(name) = named {
        match tiers.named(name) {
            None => {
                let detail = "metadata names a tier that is not configured".to_owned();
                findings.push(finding("tier_unknown", Severity::Warning, id, detail));
            }
            Some(tier) if whole && !bought.is_empty() && !bought.contains(&tier) => {
                let detail = format!("the price buys {}, metadata says {tier}", bought.join(" and "));
                findings.push(finding("tier_price", Severity::Warning, id, detail));
            }
            Some(_) => {}
        }
    }
    if whole && bought.is_empty() && (tiers.knows_prices() || named.is_none()) {
        let detail = format!("no price of it is in the price map: {}", prices.join(", "));
        findings.push(finding("price_unmapped", Severity::Info, id, detail));
    }
}

fn currency_is_the_customers(object: Object<'_>, findings: &mut Vec<Finding>) {
    let (own, customers) = (Subscription(object).currency(), object.path("customer.currency").word());
    if let (Some(own), Some(customers)) = (own, customers)
        && !own.eq_ignore_ascii_case(customers)
    {
        let detail = format!("the subscription is in {own}, the customer is billed in {customers}");
        findings.push(finding("currency", Severity::Warning, object.at("id").id(), detail));
    }
}

/// `subscription` and `invoice` agree, if the invoice is the subscription's latest.
pub(super) fn check_against_invoice(subscription: Object<'_>, invoice: Object<'_>, findings: &mut Vec<Finding>) {
    let (id, latest) = (subscription.at("id").id(), subscription.at("latest_invoice").id());
    if latest.is_none() || latest != invoice.at("id").id() {
        return;
    }
    let (Some(status), Some(invoiced)) = (subscription.at("status").word(), invoice.at("status").word()) else {
        return;
    };
    let contradiction = match status {
        "active" => matches!(invoiced, "uncollectible" | "void"),
        "past_due" | "unpaid" | "incomplete" => invoiced == "paid",
        _ => false,
    };
    if contradiction {
        let detail = format!("the subscription is {status}, its latest invoice is {invoiced}");
        findings.push(finding("status_invoice", Severity::Warning, id, detail));
    }
}
