//! What becomes of a row that is held beside what all payloads come to.

use crate::ledger::recount::{Change, Link, Money};

/// What is known of the version of a held row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its payload was counted. A row that the payload no longer gives was made by an older rule.
    Counted,
    /// Its payload was counted, but the event may have written more, from an answer of Stripe.
    Partly,
    /// Its payload is gone or lacks its object, or it was fetched, or it is newer than the recount.
    Unknown,
}

/// Judges a row of money: as it is held, as all payloads together give it, and whether payloads that were not counted may
/// have told something about its object.
pub(super) fn money(
    held: Option<Money>,
    today: Option<Money>,
    standing: Standing,
    is_open: bool,
) -> Option<Change<Money>> {
    let (held, today) = match (held, today) {
        (Some(held), Some(today)) => (held, today),
        (held, today) => return one_sided(held, today, standing),
    };
    if !is_known(&held.version, &today.version, standing) {
        return None;
    }
    let only_grows = is_open || standing != Standing::Counted;
    // One version may have a name that another lacks. So a name may be replaced by another name, but never by none.
    let name = |held: &Option<String>, today: &Option<String>| {
        if only_grows { held.clone().max(today.clone()) } else { today.clone().or_else(|| held.clone()) }
    };
    let around_stripe = if only_grows { held.outside_minor } else { today.outside_minor };
    let now = Money {
        payment_id: name(&held.payment_id, &today.payment_id),
        charge_id: name(&held.charge_id, &today.charge_id),
        customer_id: name(&held.customer_id, &today.customer_id),
        outside_minor: today.outside_minor.max(around_stripe),
        ..today
    };
    (now != held).then_some(Change { held: Some(held), now: Some(now) })
}

/// The same for a link.
pub(super) fn link(held: Option<Link>, today: Option<Link>, standing: Standing) -> Option<Change<Link>> {
    match (held, today) {
        (Some(held), Some(today)) => {
            let differs = is_known(&held.version, &today.version, standing) && today != held;
            differs.then_some(Change { held: Some(held), now: Some(today) })
        }
        (held, today) => one_sided(held, today, standing),
    }
}

/// Whether the result of the payloads is known to be the row's content.
fn is_known(held: &str, today: &str, standing: Standing) -> bool {
    match standing {
        Standing::Counted => true,
        Standing::Partly => today >= held,
        Standing::Unknown => today > held,
    }
}

fn one_sided<T>(held: Option<T>, today: Option<T>, standing: Standing) -> Option<Change<T>> {
    let is_known = today.is_some() || held.is_some() && standing == Standing::Counted;
    is_known.then_some(Change { held, now: today })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(version: &str, amount: i64) -> Money {
        Money {
            kind: "invoice".to_owned(),
            key: "in_1".to_owned(),
            version: version.to_owned(),
            as_of: 0,
            account: None,
            livemode: true,
            amount_minor: amount,
            outside_minor: 0,
            uncaptured_minor: 0,
            voided_minor: 0,
            currency: "cad".to_owned(),
            occurred_at: 0,
            payment_id: None,
            charge_id: None,
            invoice_id: None,
            subscription_id: None,
            customer_id: None,
            user_id: None,
            status: None,
        }
    }

    fn named(payment: &str, outside: i64) -> Money {
        Money { payment_id: Some(payment.to_owned()), outside_minor: outside, ..row("b", 5) }
    }

    #[test]
    fn what_stands_on_a_payload_becomes_what_the_payloads_come_to() {
        for today in [row("b", 6), row("a", 6), row("c", 6)] {
            let change = money(Some(row("b", 5)), Some(today.clone()), Standing::Counted, false).unwrap();
            assert_eq!((change.held, change.now), (Some(row("b", 5)), Some(today)));
        }
        let gone = money(Some(row("b", 5)), None, Standing::Counted, false).unwrap();
        assert_eq!((gone.held, gone.now), (Some(row("b", 5)), None));
        assert_eq!(money(Some(row("b", 5)), Some(row("b", 5)), Standing::Counted, false), None);
    }

    #[test]
    fn what_stands_on_something_else_yields_only_to_what_is_newer() {
        for today in [None, Some(row("b", 6)), Some(row("a", 6))] {
            assert_eq!(money(Some(row("b", 5)), today, Standing::Unknown, false), None);
        }
        assert!(money(Some(row("b", 5)), Some(row("c", 6)), Standing::Unknown, false).is_some());
        assert!(money(None, Some(row("a", 6)), Standing::Unknown, false).is_some());
    }

    #[test]
    fn what_stands_on_a_part_of_what_its_event_told_yields_to_what_that_part_says() {
        for (today, changes) in [(None, false), (Some(row("a", 6)), false), (Some(row("b", 6)), true)] {
            assert_eq!(money(Some(row("b", 5)), today, Standing::Partly, true).is_some(), changes);
        }
        assert_eq!(money(Some(named("pi_2", 3)), Some(named("pi_1", 0)), Standing::Partly, true), None);
    }

    #[test]
    fn names_and_what_came_around_stripe_only_grow_where_not_all_is_known() {
        let now = |is_open, today| money(Some(named("pi_2", 3)), Some(today), Standing::Counted, is_open);
        assert_eq!(now(false, named("pi_1", 1)).unwrap().now, Some(named("pi_1", 1)));
        assert_eq!(now(true, named("pi_1", 1)), None);
        assert_eq!(now(true, named("pi_3", 4)).unwrap().now, Some(named("pi_3", 4)));
        assert_eq!(now(false, Money { outside_minor: 3, ..row("b", 5) }), None, "a name that others told stays");
    }

    #[test]
    fn links_are_judged_by_version_too() {
        let link_of = |version: &str, evidence| Link {
            payment_id: "pi_1".to_owned(),
            invoice_id: "in_1".to_owned(),
            evidence,
            version: version.to_owned(),
        };
        let judged = |today, standing| link(Some(link_of("b", 2)), today, standing).map(|change| change.now);
        assert_eq!(judged(None, Standing::Counted), Some(None));
        assert_eq!(judged(None, Standing::Unknown), None);
        assert_eq!(judged(Some(link_of("b", 1)), Standing::Counted), Some(Some(link_of("b", 1))));
        assert_eq!(judged(Some(link_of("a", 1)), Standing::Unknown), None);
        assert_eq!(judged(Some(link_of("b", 2)), Standing::Counted), None);
    }
}
