//! One story, told in six API versions: a user buys gold, renews late, buys something once, gets a part back, loses a
//! dispute, cancels at the end of the period and is gone. Every version has to end in the same state of record.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::revenue::guardian::{Guardian, Rules};
use colony_gateway::revenue::project::Settings;
use colony_gateway::revenue::rows::{BindingKind, ProjectedStatus};
use colony_gateway::revenue::tiers::Tiers;
use colony_gateway::revenue::validator::Validator;
use colony_gateway::revenue::verdict::{Plan, Verdict};
use serde_json::Value;

use crate::merge::Record;

pub(crate) const VERSIONS: [(&str, char); 6] = [
    ("2020-08-27", 'A'),
    ("2023-10-16", 'B'),
    ("2024-11-20.acacia", 'C'),
    ("2025-03-31.basil", 'D'),
    ("2025-09-30.clover", 'E'),
    ("2026-03-25.dahlia", 'F'),
];

pub(crate) const USER: &str = "6f1c2f1e-77c1-4a8e-9f7a-0d5c4f7f5f10";

/// Start of the story.
pub(crate) const START: i64 = 1_767_225_600;

const MONTH: i64 = 31 * 86_400;

/// The bodies of a version's events, in the order they happened.
pub(crate) fn bodies(version: &str) -> Vec<Bytes> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stripe").join(format!("{version}.jsonl"));
    std::fs::read_to_string(file).unwrap().lines().map(|line| Bytes::from(line.to_owned())).collect()
}

pub(crate) fn settings() -> Settings {
    let tiers = Tiers::new(["bronze", "silver", "gold"], [("price_gold_monthly", "gold")], None).unwrap();
    Settings { tiers, ..Settings::default() }
}

pub(crate) fn validator() -> Validator {
    let clock = Clock::manual(Timestamp::from_seconds(START + 70 * 86_400));
    let rules = Rules::parse("[builtin.event_age]\npast_days = 100").unwrap();
    Validator::new(settings(), Arc::new(Guardian::new(rules)), clock)
}

/// The plans of events that must all be applied.
pub(crate) async fn plans(bodies: &[Bytes]) -> Vec<Plan> {
    let verdicts = validator().validate(bodies).await;
    let plans = verdicts.into_iter().map(|verdict| match verdict {
        Verdict::Apply(plan) => *plan,
        other => panic!("not applied: {other:?}"),
    });
    plans.collect()
}

pub(crate) fn kind(plan: &Plan) -> &str {
    &plan.event.kind
}

#[tokio::test]
async fn every_api_version_tells_the_same_story() {
    for (version, tag) in VERSIONS {
        let plans = plans(&bodies(version)).await;
        let record = Record::of(&plans);
        let (sub, cus) = (format!("sub_Or{tag}"), format!("cus_Lea{tag}"));
        let row = &record.subscriptions[&sub];
        assert_eq!(
            (row.status.as_str(), row.projected_status),
            ("canceled", Some(ProjectedStatus::Canceled)),
            "{version}"
        );
        assert!(!row.entitles && row.will_cancel && row.mrr_minor == 0, "{version}");
        assert_eq!(row.tier.as_deref(), Some("gold"), "{version}");
        assert_eq!(row.customer_id.as_deref(), Some(cus.as_str()), "{version}");
        let period = [START + 60 + MONTH, START + 60 + 2 * MONTH].map(|at| Some(Timestamp::from_seconds(at)));
        assert_eq!([row.current_period_start, row.current_period_end], period, "{version}");
        assert_eq!(row.ended_at, period[1], "{version}");
        // The session named the user of the subscription and, for what the customer buys later, of the customer.
        assert_eq!(record.owner(&sub, &cus), Some(USER), "{version}");
        assert_eq!(record.owner("sub_later", &cus), Some(USER), "{version}");
        assert_eq!(record.bound(BindingKind::SubscriptionCustomer, &sub), Some(cus.as_str()), "{version}");
        // Two invoices, one purchase, a refund of a part, a dispute lost.
        assert_eq!(record.net(), 2300 + 2300 + 1000 - 500 - 2300, "{version}");
        let findings: Vec<_> = plans.iter().flat_map(|plan| &plan.findings).collect();
        let decisions: Vec<_> = plans.iter().flat_map(|plan| &plan.decisions).collect();
        assert!(findings.is_empty() && decisions.is_empty(), "{version}: {findings:?} {decisions:?}");
    }
}

#[tokio::test]
async fn access_follows_the_story_as_it_happens() {
    for (version, tag) in VERSIONS {
        let (mut record, mut seen) = (Record::default(), Vec::new());
        for plan in plans(&bodies(version)).await {
            record.apply(&plan);
            if let Some(row) =
                record.subscriptions.get(&format!("sub_Or{tag}")).filter(|_| !plan.subscriptions.is_empty())
            {
                seen.push((row.status.clone(), row.entitles, row.projected_status.is_some(), row.mrr_minor));
            }
        }
        let expected = [
            ("incomplete", false, false, 0),
            ("active", true, true, 2000),
            ("active", true, true, 2000),
            ("past_due", true, true, 2000),
            ("active", true, true, 2000),
            ("active", true, true, 2000),
            ("canceled", false, true, 0),
        ];
        let expected: Vec<_> = expected.map(|(status, a, b, c)| (status.to_owned(), a, b, c)).to_vec();
        assert_eq!(seen, expected, "{version}");
    }
}

#[tokio::test]
async fn any_order_with_any_duplicates_ends_in_the_same_rows() {
    for (version, _) in VERSIONS {
        let mut plans = plans(&bodies(version)).await;
        let expected = Record::of(&plans);
        let mut random = fastrand::Rng::with_seed(4);
        for _ in 0..200 {
            random.shuffle(&mut plans);
            let again = random.usize(..plans.len());
            assert_eq!(Record::of(plans.iter().chain(&plans[..again])), expected, "{version}");
        }
    }
}

#[tokio::test]
async fn a_plan_is_json_that_a_database_can_take() {
    for (version, _) in VERSIONS {
        for plan in plans(&bodies(version)).await {
            let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            assert_eq!(json(plan.event.payload.as_str())["object"], "event");
            for row in &plan.subscriptions {
                assert_eq!(json(row.raw.as_str())["object"], "subscription");
            }
            let verdict = Verdict::Apply(Box::new(plan));
            let json = json(&serde_json::to_string(&verdict).unwrap());
            assert_eq!((&json["verdict"], &json["event"]["payload"]), (&Value::from("apply"), &Value::Null));
            for row in json["subscriptions"].as_array().unwrap() {
                assert!(Timestamp::parse_rfc3339(row["current_period_end"].as_str().unwrap()).is_some());
            }
        }
    }
}

#[tokio::test]
async fn a_whole_batch_gives_each_event_the_verdict_it_gets_alone() {
    let bodies = bodies("2025-03-31.basil");
    let together = plans(&bodies).await;
    for (body, plan) in bodies.iter().zip(together) {
        let alone = plans(std::slice::from_ref(body)).await;
        assert_eq!(serde_json::to_string(&alone[0]).unwrap(), serde_json::to_string(&plan).unwrap());
    }
}
