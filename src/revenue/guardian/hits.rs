//! What rules said of the events that this process looked at: a count a rule, and the latest decisions.
//!
//! Bounded: rules are few, and of the decisions the latest [`LATEST_MAX`] stay.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::revenue::rows::{Action, Decision, Severity};
use crate::stripe::event::Event;

/// How many decisions are remembered.
pub const LATEST_MAX: usize = 50;

/// How many rules are counted. Each reload may bring other rules; those beyond this number are not counted.
const RULES_MAX: usize = 1000;

/// How often a rule had something to say since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Hit {
    pub count: u64,
    pub last: Timestamp,
}

/// One decision of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PastDecision {
    pub at: Timestamp,
    pub event_id: String,
    pub event_type: String,
    pub rule: String,
    pub severity: Severity,
    pub action: Action,
    /// What the rule found, without customer data.
    pub reason: String,
}

#[derive(Debug, Default)]
pub(super) struct Hits(Mutex<(BTreeMap<String, Hit>, VecDeque<PastDecision>)>);

impl Hits {
    fn lock(&self) -> MutexGuard<'_, (BTreeMap<String, Hit>, VecDeque<PastDecision>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, event: &Event, decisions: &[Decision], at: Timestamp) {
        if decisions.is_empty() {
            return;
        }
        let mut known = self.lock();
        for Decision { rule, severity, action, reason } in decisions {
            let has_room = known.0.len() < RULES_MAX;
            if let Some(hit) = known.0.get_mut(rule) {
                *hit = Hit { count: hit.count.saturating_add(1), last: at };
            } else if has_room {
                known.0.insert(rule.clone(), Hit { count: 1, last: at });
            }
            known.1.truncate(LATEST_MAX - 1);
            known.1.push_front(PastDecision {
                at,
                event_id: event.id.to_string(),
                event_type: event.kind.clone(),
                rule: rule.clone(),
                severity: *severity,
                action: *action,
                reason: reason.clone(),
            });
        }
    }

    pub(super) fn by_rule(&self) -> BTreeMap<String, Hit> {
        self.lock().0.clone()
    }

    pub(super) fn latest(&self) -> Vec<PastDecision> {
        self.lock().1.iter().cloned().collect()
    }
}
