//! A batch of verdicts as the one document that `gateway_apply_batch` takes, and its answer as outcomes.
//!
//! The document is flat: a list of rows per table, each row with the place `n` of its event. An event that stands in
//! the batch several times goes once; the rest are answered here.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{LedgerError, LedgerErrorKind, Outcome};
use crate::domain::ids::EventId;
use crate::domain::ledger_id::LedgerId;
use crate::domain::outcome::{DROPPED, OutcomeName};
use crate::revenue::rows::{
    BindingRow, ClaimRow, CustomerRow, Decision, EventFacts, Finding, PaymentLink, RawJson, RevenueRow, SubscriptionRow,
};
use crate::revenue::verdict::{Plan, Verdict};

/// A batch ready to be sent.
#[derive(Debug)]
pub(super) struct Encoded {
    /// The JSON document; `None` when no verdict of the batch concerns the store.
    pub(super) document: Option<String>,
    places: Vec<Place>,
}

/// Where the outcome of a verdict comes from.
#[derive(Debug)]
enum Place {
    /// Not sent.
    Known(Outcome),
    /// The answer for this `n`.
    Sent(usize),
    /// The same event as the one sent as this `n`.
    Again(usize),
}

#[derive(Debug, Default, Serialize)]
struct Document<'a> {
    events: Vec<EventEntry<'a>>,
    /// By `n`, apart from the events, which are read more than once.
    payloads: BTreeMap<usize, &'a RawJson>,
    claims: Vec<Entry<'a, ClaimRow>>,
    bindings: Vec<Entry<'a, BindingRow>>,
    subscriptions: Vec<SubscriptionEntry<'a>>,
    customers: Vec<Entry<'a, CustomerRow>>,
    revenue: Vec<Entry<'a, RevenueRow>>,
    links: Vec<Entry<'a, PaymentLink>>,
    findings: Vec<ReviewEntry<'a, Finding>>,
    decisions: Vec<ReviewEntry<'a, Decision>>,
}

#[derive(Debug, Serialize)]
struct EventEntry<'a> {
    n: usize,
    verdict: &'static str,
    released: bool,
    replayed: bool,
    rule: Option<&'a str>,
    reason: Option<&'a str>,
    #[serde(flatten)]
    event: &'a EventFacts,
}

impl<'a> EventEntry<'a> {
    fn new(n: usize, verdict: &'static str, event: &'a EventFacts) -> Self {
        Self { n, verdict, released: false, replayed: false, rule: None, reason: None, event }
    }
}

#[derive(Debug, Serialize)]
struct SubscriptionEntry<'a> {
    n: usize,
    /// A rule holds the event, so the row vouches for nothing.
    suspect: bool,
    #[serde(flatten)]
    row: &'a SubscriptionRow,
}

#[derive(Debug, Serialize)]
struct Entry<'a, T> {
    n: usize,
    #[serde(flatten)]
    row: &'a T,
}

#[derive(Debug, Serialize)]
struct ReviewEntry<'a, T> {
    n: usize,
    event_id: &'a EventId,
    #[serde(flatten)]
    row: &'a T,
}

/// One element of the function's answer.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    n: usize,
    outcome: String,
    #[serde(default)]
    rule: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

/// What a sender takes the database to be. The database refuses a batch if this is wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Premises<'a> {
    /// Whether it is in shadow mode.
    pub(super) shadow: bool,
    /// Which ledger it is; `None` if any will do.
    pub(super) ledger: Option<&'a LedgerId>,
}

impl Premises<'_> {
    /// The fields of the document that say so, each with a comma after it. Not in shadow mode is what the database assumes.
    fn fields(self) -> String {
        let shadow = if self.shadow { "\"shadow\":true," } else { "" };
        // An identity is of hex digits, which JSON takes as they are.
        let ledger = self.ledger.map(|ledger| format!("\"ledger\":\"{ledger}\",")).unwrap_or_default();
        format!("{shadow}{ledger}")
    }
}

/// The document of a batch without events. Applying it shows users that wait.
pub(super) fn empty(premises: Premises<'_>) -> String {
    let mut document = format!("{{{}\"payloads\":{{}}", premises.fields());
    for table in
        ["events", "claims", "bindings", "subscriptions", "customers", "revenue", "links", "findings", "decisions"]
    {
        document += ",\"";
        document += table;
        document += "\":[]";
    }
    document + "}"
}

/// The places of a batch, in parts that are sent one after the other. There are several parts only if an event comes in
/// several API versions: each rendering has evidence of its own, but a document holds an event once.
pub(super) fn parts(batch: &[Verdict]) -> Vec<Vec<usize>> {
    let mut renderings: HashMap<&EventId, Vec<Option<&str>>> = HashMap::with_capacity(batch.len());
    let mut parts: Vec<Vec<usize>> = vec![Vec::with_capacity(batch.len())];
    for (n, verdict) in batch.iter().enumerate() {
        // A person's decision is about all renderings, so it goes with the first part.
        let rendered = verdict.event().filter(|_| !matches!(verdict, Verdict::Drop { .. }));
        let part = rendered.map_or(0, |event| {
            let known = renderings.entry(&event.id).or_default();
            let rendering = event.api_version.as_deref();
            known.iter().position(|one| *one == rendering).unwrap_or_else(|| {
                known.push(rendering);
                known.len() - 1
            })
        });
        if parts.len() <= part {
            parts.resize_with(part + 1, Vec::new);
        }
        parts[part].push(n);
    }
    parts
}

/// The document for a batch, for the store `ledger`.
pub(super) fn encode<'a>(
    ledger: &'static str,
    batch: impl IntoIterator<Item = &'a Verdict>,
) -> Result<Encoded, LedgerError> {
    let batch: Vec<&Verdict> = batch.into_iter().collect();
    let chosen = choose(&batch);
    let mut document = Document::default();
    let mut places = Vec::with_capacity(batch.len());
    for (n, &verdict) in batch.iter().enumerate() {
        let place = match (verdict, verdict.event().and_then(|event| chosen.get(&event.id))) {
            (Verdict::Reject { code, reason }, _) => {
                Place::Known(Outcome::Failed { code: (*code).to_owned(), reason: reason.clone() })
            }
            (_, Some(first)) if *first != n => Place::Again(*first),
            _ => {
                document.add(n, verdict);
                Place::Sent(n)
            }
        };
        places.push(place);
    }
    let text =
        (!document.events.is_empty()).then(|| serde_json::to_string(&document)).transpose().map_err(|error| {
            LedgerError::new(ledger, LedgerErrorKind::Rejected, "the batch cannot be written as JSON").caused_by(error)
        })?;
    Ok(Encoded { document: text, places })
}

/// Which of several verdicts about one event is sent: the one that a person released, else the one that a person replayed,
/// else the first.
fn choose<'a>(batch: &[&'a Verdict]) -> HashMap<&'a EventId, usize> {
    let wish = |verdict: &Verdict| match verdict {
        Verdict::Apply(plan) => (plan.released, plan.replayed),
        Verdict::Ignore { reopen, .. } => (false, *reopen),
        Verdict::Quarantine { .. } | Verdict::Drop { .. } | Verdict::Reject { .. } => (false, false),
    };
    let mut chosen: HashMap<&'a EventId, usize> = HashMap::with_capacity(batch.len());
    for (n, verdict) in batch.iter().enumerate() {
        let Some(event) = verdict.event() else { continue };
        let held = chosen.entry(&event.id).or_insert(n);
        if batch.get(*held).is_some_and(|held| wish(verdict) > wish(held)) {
            *held = n;
        }
    }
    chosen
}

impl<'a> Document<'a> {
    fn add(&mut self, n: usize, verdict: &'a Verdict) {
        match verdict {
            Verdict::Apply(plan) => self.add_plan(n, plan),
            Verdict::Ignore { event, decisions, reopen } => {
                let entry = EventEntry { released: *reopen, ..EventEntry::new(n, "ignore", event) };
                self.add_event(entry);
                self.add_decisions(n, event, decisions);
            }
            Verdict::Quarantine { event, rule, reason, decisions } => {
                let (rule, reason) = (Some(rule.as_str()), Some(reason.as_str()));
                self.add_event(EventEntry { rule, reason, ..EventEntry::new(n, "quarantine", event) });
                self.add_decisions(n, event, decisions);
            }
            Verdict::Drop { event, reason } => {
                let reason = Some(reason.as_str());
                self.add_event(EventEntry { reason, ..EventEntry::new(n, "drop", event) });
            }
            Verdict::Reject { .. } => {}
        }
    }

    fn add_event(&mut self, entry: EventEntry<'a>) {
        self.payloads.insert(entry.n, &entry.event.payload);
        self.events.push(entry);
    }

    fn add_plan(&mut self, n: usize, plan: &'a Plan) {
        let event = &plan.event;
        let (released, replayed) = (plan.released, plan.replayed);
        // An event with a rule beside its rows is written and answered as quarantined.
        let rule = plan.suspicion.as_ref().map(|suspicion| suspicion.rule.as_str());
        let reason = plan.suspicion.as_ref().map(|suspicion| suspicion.reason.as_str());
        self.add_event(EventEntry { released, replayed, rule, reason, ..EventEntry::new(n, "apply", event) });
        self.claims.extend(plan.claims.iter().map(|row| Entry { n, row }));
        self.bindings.extend(plan.bindings.iter().map(|row| Entry { n, row }));
        let suspect = plan.suspicion.is_some();
        self.subscriptions.extend(plan.subscriptions.iter().map(|row| SubscriptionEntry { n, suspect, row }));
        self.customers.extend(plan.customers.iter().map(|row| Entry { n, row }));
        self.revenue.extend(plan.revenue.iter().map(|row| Entry { n, row }));
        self.links.extend(plan.links.iter().map(|row| Entry { n, row }));
        self.findings.extend(plan.findings.iter().map(|row| ReviewEntry { n, event_id: &event.id, row }));
        self.add_decisions(n, event, &plan.decisions);
    }

    fn add_decisions(&mut self, n: usize, event: &'a EventFacts, decisions: &'a [Decision]) {
        self.decisions.extend(decisions.iter().map(|row| ReviewEntry { n, event_id: &event.id, row }));
    }
}

impl Encoded {
    /// Writes into the document what its sender takes the database to be.
    pub(super) fn under(mut self, premises: Premises<'_>) -> Self {
        if let Some(document) = self.document.as_mut() {
            // After the brace that opens the object; the object has other fields, so the comma fits.
            document.insert_str(1, &premises.fields());
        }
        self
    }

    /// The document, as a part of another one.
    pub(super) fn into_document(self, ledger: &'static str) -> Result<Option<Box<RawValue>>, LedgerError> {
        self.document.map(RawValue::from_string).transpose().map_err(|error| {
            LedgerError::new(ledger, LedgerErrorKind::Rejected, "the batch cannot be written as JSON").caused_by(error)
        })
    }

    /// The outcomes, in the order of the batch, from the function's answers.
    pub(super) fn decode(self, ledger: &'static str, answers: Vec<Answer>) -> Result<Vec<Outcome>, LedgerError> {
        let answers: HashMap<usize, Answer> = answers.into_iter().map(|answer| (answer.n, answer)).collect();
        let outcome = |n: usize| {
            answers.get(&n).and_then(Answer::outcome).ok_or_else(|| {
                let message = "the database function answers in a form that this release does not know: run \
                               `colony-gateway migrate` with the release that you run";
                LedgerError::new(ledger, LedgerErrorKind::Schema, message)
            })
        };
        self.places
            .into_iter()
            .map(|place| match place {
                Place::Known(known) => Ok(known),
                Place::Sent(n) => outcome(n),
                Place::Again(n) => outcome(n).map(|outcome| match outcome {
                    held @ Outcome::Quarantined { .. } => held,
                    Outcome::Applied
                    | Outcome::Stale
                    | Outcome::Duplicate
                    | Outcome::Ignored
                    | Outcome::Failed { .. } => Outcome::Duplicate,
                }),
            })
            .collect()
    }
}

impl Answer {
    fn outcome(&self) -> Option<Outcome> {
        // The event was recorded as dropped.
        if self.outcome == DROPPED {
            return Some(Outcome::Ignored);
        }
        // The database never answers that an event failed: it answers with an error, or not at all.
        let name = self.outcome.parse().ok().filter(|name| *name != OutcomeName::Failed)?;
        Some(Outcome::from_parts(name, Some(self.rule.clone().unwrap_or_default()), self.reason.clone()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::domain::clock::Timestamp;

    fn event(id: &str) -> EventFacts {
        EventFacts {
            id: EventId::new(id),
            kind: "customer.updated".to_owned(),
            account: None,
            livemode: true,
            created: Timestamp::from_seconds(1_767_323_045),
            api_version: None,
            object_id: None,
            payload: RawJson::from_value(&serde_json::json!({"b": 1.10})),
        }
    }

    fn plan(id: &str, released: bool) -> Verdict {
        Verdict::Apply(Box::new(Plan { released, ..Plan::new(event(id)) }))
    }

    fn reject() -> Verdict {
        Verdict::Reject { code: "not_json", reason: "end of file".to_owned() }
    }

    fn answer(n: usize, outcome: &str) -> Answer {
        Answer { n, outcome: outcome.to_owned(), rule: Some("r".to_owned()), reason: None }
    }

    #[test]
    fn rows_carry_the_place_of_their_event_and_payloads_stay_json() {
        let encoded = encode("x", &[reject(), plan("evt_1", false)]).unwrap();
        let document: Value = serde_json::from_str(&encoded.document.unwrap()).unwrap();
        let event = &document["events"][0];
        assert_eq!((&event["n"], &event["verdict"]), (&Value::from(1), &Value::from("apply")));
        assert_eq!(event.get("payload"), None);
        assert_eq!(document["payloads"], serde_json::json!({"1": {"b": 1.10}}));
        assert_eq!(event["created"], "2026-01-02T03:04:05Z");
        assert_eq!(document["links"], serde_json::json!([]));
    }

    #[test]
    fn the_empty_document_is_what_no_events_encode_to() {
        let mut document = serde_json::to_value(Document::default()).unwrap();
        let read = |premises| serde_json::from_str::<Value>(&empty(premises)).unwrap();
        assert_eq!(read(Premises { shadow: false, ledger: None }), document);
        let ledger = LedgerId::draw().unwrap();
        document["shadow"] = Value::Bool(true);
        document["ledger"] = Value::from(ledger.as_str());
        assert_eq!(read(Premises { shadow: true, ledger: Some(&ledger) }), document);
    }

    #[test]
    fn a_batch_of_nothing_is_not_sent() {
        let encoded = encode("x", &[reject()]).unwrap();
        assert!(encoded.document.is_none());
        let outcomes = encoded.decode("x", Vec::new()).unwrap();
        assert!(matches!(outcomes[..], [Outcome::Failed { .. }]), "{outcomes:?}");
    }

    #[test]
    fn an_event_goes_once_and_the_released_one_goes_first() {
        let encoded = encode("x", &[plan("evt_1", false), plan("evt_2", false), plan("evt_1", true)]).unwrap();
        let document: Value = serde_json::from_str(encoded.document.as_ref().unwrap()).unwrap();
        let sent: Vec<&Value> = document["events"].as_array().unwrap().iter().map(|event| &event["n"]).collect();
        assert_eq!(sent, [1, 2]);
        let outcomes = encoded.decode("x", vec![answer(2, "applied"), answer(1, "stale")]).unwrap();
        assert_eq!(outcomes, [Outcome::Duplicate, Outcome::Stale, Outcome::Applied]);
    }

    #[test]
    fn an_event_in_several_renderings_goes_in_as_many_parts() {
        let rendered = |id: &str, version: &str| {
            let event = EventFacts { api_version: Some(version.to_owned()), ..event(id) };
            Verdict::Apply(Box::new(Plan::new(event)))
        };
        let batch =
            [rendered("evt_1", "b"), rendered("evt_1", "a"), reject(), rendered("evt_2", "a"), rendered("evt_1", "b")];
        assert_eq!(parts(&batch), [vec![0, 2, 3, 4], vec![1]]);
        assert_eq!(parts(&[]), [Vec::<usize>::new()]);
    }

    #[test]
    fn the_double_of_an_event_that_is_held_back_is_held_back_too() {
        let encoded = encode("x", &[plan("evt_1", false), plan("evt_1", false)]).unwrap();
        let outcomes = encoded.decode("x", vec![answer(0, "quarantined")]).unwrap();
        assert_eq!(outcomes[0], outcomes[1]);
        assert!(matches!(outcomes[1], Outcome::Quarantined { .. }));
    }

    #[test]
    fn an_answer_of_another_version_is_a_fault_of_the_schema() {
        for answers in [vec![], vec![answer(0, "postponed")], vec![answer(7, "applied")]] {
            let error = encode("x", &[plan("evt_1", false)]).unwrap().decode("x", answers).unwrap_err();
            assert_eq!(error.kind, LedgerErrorKind::Schema);
            assert!(error.message.contains("migrate"), "{error}");
        }
    }
}
