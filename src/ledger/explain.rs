//! Why a person has what there is, and why not more: the answer of a support desk, made of what the ledger holds.
//!
//! Guarantees: names no user; each reason says what it means and what can be done about it.

use serde::Serialize;

use super::desk::{PERSON_ROWS_MAX, PersonReport, PersonSubscription};
use super::lines::Reason;
use crate::domain::clock::Timestamp;

/// What a person has, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Some subscription gives access now.
    pub has_access: bool,
    /// One sentence for the whole.
    pub words: String,
    pub lines: Vec<Line>,
}

/// One subscription and what it gives, or a remark about the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// `sub_…`; empty if the line is about the person.
    pub subject: String,
    /// Whether it gives access.
    pub gives: bool,
    pub why: String,
    /// What the operator can do; empty if there is nothing to do.
    pub advice: &'static str,
}

/// Explains the report as of `now`.
pub fn explain(report: &PersonReport, now: Timestamp) -> Explanation {
    let mut lines: Vec<Line> = report.subscriptions.iter().map(|one| of_subscription(one, report, now)).collect();
    for id in &report.untold {
        let why = "Other events name it, and no event has told what it is, so it gives nothing.".to_owned();
        lines.push(Line { subject: id.clone(), gives: false, why, advice: remedy(Reason::Untold) });
    }
    if let Some(erased) = report.erased_at_ms {
        let why = format!("The data of this person was erased at {}.", day(erased));
        lines.push(Line { subject: String::new(), gives: false, why, advice: "" });
    }
    let known = report.subscriptions.len() + report.untold.len();
    if known == 0 {
        let advice = "if the person has paid, look for the payment's events with `colony-gateway inbox list --ref \
                      ID` or `--user USER`, and check at Stripe whether the payment belongs to a subscription; `reconcile \
                      subscriptions` fetches subscriptions that never arrived";
        let why = "The ledger has no subscription for this id.".to_owned();
        lines.push(Line { subject: String::new(), gives: false, why, advice });
    }
    if report.users.len() > 1 {
        let is_contested = report.subscriptions.iter().any(|one| one.claimed && one.user_id.is_none());
        let (rest, advice) = if is_contested || report.subscriptions.is_empty() {
            ("", remedy(Reason::Contested))
        } else {
            (", and the strongest claim of each subscription counts", "")
        };
        let why = format!("Claims name {} users{rest}.", report.users.len());
        lines.push(Line { subject: String::new(), gives: false, why, advice });
    }
    for access in report.access.iter().filter(|access| !access.shown && access.fault.is_some()) {
        let fault = access.fault.as_deref().unwrap_or_default();
        let why = format!("The public tables do not show it: {fault}.");
        let advice = "remove the cause; the gateway tries again by itself, and `colony-gateway findings` lists it \
                      until then";
        lines.push(Line { subject: access.subscription_id.clone().unwrap_or_default(), gives: false, why, advice });
    }
    if report.shadow {
        let why = "Shadow mode is on: the public tables are not written.".to_owned();
        lines.push(Line { subject: String::new(), gives: false, why, advice: "" });
    }
    let giving = report.subscriptions.iter().filter(|one| one.gives && one.user_id.is_some());
    let (others, own): (Vec<_>, Vec<_>) = giving.partition(|one| is_of_another(one, report));
    let giving = own.len();
    let mut words = match (giving, known) {
        (0, 1) if !others.is_empty() => "No access: the one subscription is another user's.".to_owned(),
        (0, all) if !others.is_empty() => format!("No access: none of {all} subscriptions gives this user any."),
        (0, 0) => "No access: there is no subscription for this id.".to_owned(),
        (0, 1) => "No access: the one subscription gives none.".to_owned(),
        (0, all) => format!("No access: none of {all} subscriptions gives any."),
        (1, 1) => "Access, by one subscription.".to_owned(),
        (giving, all) => format!("Access, by {giving} of {all} subscriptions."),
    };
    if u32::try_from(known).is_ok_and(|known| known >= PERSON_ROWS_MAX) {
        words.push_str(" No more subscriptions are looked at, and those that give most come first.");
    }
    Explanation { has_access: giving > 0, words, lines }
}

fn of_subscription(one: &PersonSubscription, report: &PersonReport, now: Timestamp) -> Line {
    let (gives, why, advice) = if one.withheld && one.dropped {
        (false, "A rule held the event that would give access, and a person dropped it.".to_owned(), "")
    } else if one.gives && is_of_another(one, report) {
        let why = format!("It is {}, and gives what it gives to another user.", one.status);
        (false, why, "if this user should have it, run `colony-gateway bind SUBSCRIPTION --user USER`")
    } else {
        judge(one, now)
    };
    Line { subject: one.id.clone(), gives, why, advice }
}

/// Whether a subscription that a shared payer leads to has another user than the one whom the report is about.
fn is_of_another(one: &PersonSubscription, report: &PersonReport) -> bool {
    match report.users.as_slice() {
        [user] => one.user_id.as_ref().is_some_and(|owner| owner != user),
        _ => false,
    }
}

fn judge(one: &PersonSubscription, now: Timestamp) -> (bool, String, &'static str) {
    if one.entitles && one.user_id.is_none() && one.erased {
        let why = "The person's data was erased, and Stripe still collects.";
        return (false, why.to_owned(), remedy(Reason::Erased));
    }
    if one.withheld {
        return (false, "A rule holds the event that would give access.".to_owned(), remedy(Reason::Withheld));
    }
    if one.entitles && one.user_id.is_none() {
        let (reason, why) = if one.claimed {
            (Reason::Contested, "Claims about its customer name several users, so it belongs to none of them.")
        } else {
            (Reason::Unnamed, "No event names its user.")
        };
        return (false, why.to_owned(), remedy(reason));
    }
    if one.gives {
        let tier = one.given_tier.as_deref().map_or_else(
            || "a price that is in no map, so without a tier".to_owned(),
            |tier| format!("the tier {tier}"),
        );
        let end = match (one.will_cancel, one.cancel_at_ms.or(one.current_period_end_ms)) {
            (true, Some(at)) => format!(" It ends at {}.", day(at)),
            _ => String::new(),
        };
        let late = one.grace_ends_at_ms.map(|at| format!(" The payer is late: access ends at {}.", day(at)));
        let advice = if one.given_tier.is_none() {
            "name the price in the map of prices to tiers, restart the gateway and its bees, and run `colony-gateway reconcile counts`"
        } else {
            ""
        };
        return (true, format!("It is {}, and gives {tier}.{end}{}", one.status, late.unwrap_or_default()), advice);
    }
    let advice = if one.account.is_some() { "" } else { advice_for(&one.status) };
    (false, without_access(one, now), advice)
}

/// The advice alone; the sentence before says what is wrong.
pub fn remedy(reason: Reason) -> &'static str {
    let advice = reason.advice();
    advice.split_once(": ").map_or(advice, |(_, remedy)| remedy)
}

/// Why a subscription gives nothing, no matter who its user is.
fn without_access(one: &PersonSubscription, now: Timestamp) -> String {
    if let Some(ended) = one.ended_at_ms {
        return format!("It ended at {}.", day(ended));
    }
    if let Some(grace) = one.grace_ends_at_ms.filter(|grace| *grace <= now.millis()) {
        return format!("It is {}: the payer is late, and the time to pay was over at {}.", one.status, day(grace));
    }
    if let Some(from) = one.access_from_ms.filter(|from| *from > now.millis()) {
        return format!("It is paused until {}.", day(from));
    }
    if let Some(pause) = &one.pause_behavior {
        return format!("Its payments are paused ({pause}).");
    }
    if let (Some(account), "active" | "trialing" | "past_due") = (&one.account, one.status.as_str()) {
        return format!(
            "It is {}, on the connected account {account}, which gives no access to the platform.",
            one.status
        );
    }
    match one.status.as_str() {
        "incomplete" => "It is incomplete: the first payment has not succeeded.".to_owned(),
        "incomplete_expired" => "The first payment never succeeded, and Stripe gave it up.".to_owned(),
        "past_due" | "unpaid" => format!("It is {}: an invoice was not paid.", one.status),
        "paused" => "It is paused: the trial ended without a way to pay.".to_owned(),
        "canceled" => "It was cancelled.".to_owned(),
        status => format!("Its status is {status}, which gives no access."),
    }
}

fn advice_for(status: &str) -> &'static str {
    match status {
        "incomplete" | "past_due" | "unpaid" => {
            "the payer has to pay the open invoice; Stripe's event then gives access by itself"
        }
        _ => "",
    }
}

/// A moment to the minute, in UTC.
fn day(millis: i64) -> String {
    let text = Timestamp::from_millis(millis).to_string().replace('T', " ");
    format!("{} UTC", text.get(..16).unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(status: &str) -> PersonSubscription {
        let line = serde_json::json!({
            "id": "sub_1", "account": null, "livemode": true, "customer_id": "cus_1", "status": status, "entitles": status == "active",
            "tier": "gold", "version": "1.0", "source": "payload", "currency": "cad", "mrr_minor": 999, "price_id": null,
            "will_cancel": false, "partial": false, "pause_behavior": null, "started_at_ms": null,
            "current_period_end_ms": null, "cancel_at_ms": null, "canceled_at_ms": null, "ended_at_ms": null,
            "trial_end_ms": null, "late_since_ms": null, "grace_ends_at_ms": null, "access_from_ms": null,
            "user_id": "zoe-1", "claimed": true, "doubted": false, "withheld": false, "erased": false, "gives": status == "active",
            "given_tier": "gold", "vouched": null});
        serde_json::from_value(line).unwrap()
    }

    fn explained(one: PersonSubscription) -> Explanation {
        let report =
            PersonReport { users: vec!["zoe-1".to_owned()], subscriptions: vec![one], ..PersonReport::default() };
        explain(&report, Timestamp::from_seconds(1_800_000_000))
    }

    #[test]
    fn what_a_person_dropped_asks_for_no_decision_any_more() {
        let held = PersonSubscription { withheld: true, gives: false, ..subscription("active") };
        let told = |dropped| explained(PersonSubscription { dropped, ..held.clone() }).lines.remove(0);
        let dropped = told(true);
        assert!(dropped.why.contains("a person dropped it") && dropped.advice.is_empty(), "{dropped:?}");
        let open = told(false);
        assert!(open.why.contains("A rule holds") && open.advice.contains("inbox release"), "{open:?}");
    }

    #[test]
    fn what_another_user_has_from_the_same_payer_is_no_access_of_this_one() {
        let child = PersonSubscription { user_id: Some("child-1".to_owned()), ..subscription("active") };
        let told = explained(child.clone());
        assert!(!told.has_access && told.words.contains("another user's") && !told.lines[0].gives, "{told:?}");
        assert!(told.lines[0].why.contains("to another user") && !format!("{told:?}").contains("child-1"), "{told:?}");
        let of = |subscriptions| {
            let report = PersonReport { users: vec!["zoe-1".to_owned()], subscriptions, ..PersonReport::default() };
            explain(&report.masked(), Timestamp::from_seconds(1_800_000_000)).words
        };
        assert_eq!(of(vec![child.clone(), child.clone()]), "No access: none of 2 subscriptions gives this user any.");
        assert_eq!(of(vec![subscription("active"), child]), "Access, by 1 of 2 subscriptions.");
    }

    #[test]
    fn a_payer_for_several_users_is_contested_only_if_a_subscription_is() {
        let child = PersonSubscription { user_id: Some("child-1".to_owned()), ..subscription("active") };
        let open = PersonSubscription { user_id: None, ..subscription("active") };
        let told = |subscriptions| {
            let users = vec!["zoe-1".to_owned(), "child-1".to_owned()];
            let report = PersonReport { users, subscriptions, ..PersonReport::default() };
            explain(&report, Timestamp::from_seconds(1_800_000_000)).lines.pop().unwrap()
        };
        let apart = told(vec![subscription("active"), child.clone()]);
        assert!(apart.why.contains("2 users, and the strongest claim") && apart.advice.is_empty(), "{apart:?}");
        let contested = told(vec![child, open]);
        assert!(contested.why == "Claims name 2 users." && contested.advice.contains("bind"), "{contested:?}");
    }

    #[test]
    fn each_way_to_have_nothing_is_told_with_what_can_be_done_and_without_a_name() {
        let active = subscription("active");
        assert!(explained(active.clone()).has_access);
        let cases = [
            (PersonSubscription { withheld: true, gives: false, ..active.clone() }, "A rule holds", "inbox release"),
            (PersonSubscription { user_id: None, claimed: false, ..active.clone() }, "No event names", "bind"),
            (PersonSubscription { user_id: None, ..active.clone() }, "several users", "bind"),
            (PersonSubscription { user_id: None, erased: true, ..active.clone() }, "was erased", "at Stripe"),
            (
                PersonSubscription { ended_at_ms: Some(1_700_000_000_000), ..subscription("canceled") },
                "ended at 2023-11-14",
                "",
            ),
            (subscription("incomplete"), "first payment", "has to pay"),
            (subscription("past_due"), "not paid", "has to pay"),
            (
                PersonSubscription { grace_ends_at_ms: Some(1_700_000_000_000), ..subscription("past_due") },
                "time to pay was over",
                "has to pay",
            ),
            (
                PersonSubscription { access_from_ms: Some(1_900_000_000_000), ..subscription("paused") },
                "paused until",
                "",
            ),
            (subscription("something_new"), "something_new", ""),
            (
                PersonSubscription {
                    account: Some("acct_1".to_owned()),
                    entitles: false,
                    gives: false,
                    ..active.clone()
                },
                "on the connected account acct_1",
                "",
            ),
        ];
        for (one, why, advice) in cases {
            let told = explained(one);
            let line = told.lines.first().unwrap();
            assert!(!told.has_access && !line.gives, "{line:?}");
            assert!(line.why.contains(why) && line.advice.contains(advice), "{line:?}");
            assert!(!format!("{told:?}").contains("zoe-1"), "{told:?}");
        }
        let nothing = explain(&PersonReport::default(), Timestamp::from_seconds(1));
        assert!(!nothing.has_access && nothing.lines[0].why.contains("no subscription"), "{nothing:?}");
    }
}
