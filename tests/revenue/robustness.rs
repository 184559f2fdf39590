//! Whatever an event holds, it gets a verdict, its neighbours get theirs, and its rows can be stored.

use bytes::Bytes;
use colony_gateway::domain::clock::Timestamp;
use colony_gateway::revenue::validator::PROJECTION_FAILED;
use colony_gateway::revenue::verdict::Verdict;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::story::{VERSIONS, bodies, validator};

fn arbitrary_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)),
        "\\PC{0,12}".prop_map(Value::from),
        prop_oneof!["-?[0-9]{1,25}(\\.[0-9]{1,15})?", "\0|(sub|in|pi|ch)_[a-z]", "paid|active|canceled"]
            .prop_map(Value::from),
        Just(json!("9".repeat(300))),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("data|id|object|metadata|amount|\\PC{1,4}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Replaces the `place`th value of a document, counted depth first from the root and over the end.
fn replace(value: &mut Value, place: usize, with: &Value) {
    let count = count(value);
    replace_at(value, place % count, with);
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

fn replace_at(value: &mut Value, mut place: usize, with: &Value) {
    if place == 0 {
        *value = with.clone();
        return;
    }
    place -= 1;
    let children: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => return,
    };
    for child in children {
        let size = count(child);
        if place < size {
            return replace_at(child, place, with);
        }
        place -= size;
    }
}

/// Panics unless every text of a plan is free of NUL and every moment is one that a database has.
fn assert_storable(verdict: &Verdict) {
    let text = serde_json::to_string(verdict).unwrap();
    assert!(!text.contains("\\u0000"), "{text}");
    let Verdict::Apply(plan) = verdict else { return };
    let moments = plan.subscriptions.iter().flat_map(|row| {
        [row.created, row.current_period_start, row.current_period_end, row.cancel_at, row.trial_end]
            .into_iter()
            .flatten()
    });
    for moment in moments.chain(plan.revenue.iter().map(|row| row.occurred_at)) {
        assert!(Timestamp::parse_rfc3339(&moment.to_string()).is_some(), "{moment}");
    }
    let keys: Vec<_> = plan.revenue.iter().map(|row| (row.kind, row.key.clone())).collect();
    assert_eq!(keys.len(), keys.iter().collect::<std::collections::BTreeSet<_>>().len(), "{keys:?}");
}

fn verdicts(events: &[Bytes]) -> Vec<Verdict> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(validator().validate(events))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_damaged_event_harms_nobody(
        version in 0..VERSIONS.len(),
        event in any::<prop::sample::Index>(),
        damages in prop::collection::vec((any::<usize>(), arbitrary_json()), 1..4),
    ) {
        let bodies = bodies(VERSIONS[version].0);
        let neighbour = bodies[0].clone();
        let mut value: Value = serde_json::from_slice(&bodies[event.index(bodies.len())]).unwrap();
        for (place, with) in &damages {
            // The object is where the rules look; the rest of an event is soon read.
            let object = value.pointer_mut("/data/object");
            match object {
                Some(object) if place % 5 != 0 => replace(object, *place, with),
                Some(_) | None => replace(&mut value, *place, with),
            }
        }
        let damaged = Bytes::from(value.to_string());
        let verdicts = verdicts(&[neighbour.clone(), damaged, neighbour]);
        prop_assert_eq!(verdicts.len(), 3);
        let unharmed = matches!(verdicts[..], [Verdict::Apply(_), _, Verdict::Apply(_)]);
        prop_assert!(unharmed);
        for verdict in &verdicts {
            assert_storable(verdict);
            if let Verdict::Quarantine { rule, .. } = verdict {
                prop_assert_ne!(rule, PROJECTION_FAILED);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_event_are_rejected(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let verdicts = verdicts(&[Bytes::from(body)]);
        let rejected = matches!(verdicts[..], [Verdict::Reject { .. }]);
        prop_assert!(rejected);
    }
}
