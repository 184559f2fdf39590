//! How a bee tells the gateway what became of the events of a job: in the output of the process, and, when both live in
//! one program, also directly, so that nobody has to poll.
//!
//! The output of a process is a list with one element, the JSON object of a [`JobResult`]:
//!
//! ```json
//! {"applied":1,"stale":0,"duplicate":0,"ignored":0,"quarantined":0,"failed":1,
//!  "events":[{"event":"evt_1","outcome":"applied"},
//!            {"event":"evt_2","outcome":"failed","code":"malformed_event"}],
//!  "unanswered":["evt_3"]}
//! ```
//!
//! Reasons stay with the bee and go to the ledger, and to the gateway in one program: they may quote the event, and a Colonies server
//! keeps outputs for ever, beside jobs that are sealed so that it cannot read them. One that an older bee wrote is read.
//!
//! `unanswered` names events that were left alone because Stripe gave no answer about their objects; absent when there is none.
//!
//! Guarantees: what is read is bounded and has a known outcome for each event it names. Does not: prove that a bee did
//! what it says; whoever may close processes of the colony is believed about outcomes, never about revenue.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::domain::ids::ProcessId;
use crate::domain::limits::BATCH_ENTRIES_MAX;
use crate::domain::outcome::OutcomeName;

/// Longest reason or code in a result, in bytes; longer ones are cut.
pub const RESULT_TEXT_BYTES_MAX: usize = 500;

/// How many completions may wait for the gateway. More are dropped, because polling finds them.
pub const COMPLETIONS_MAX: usize = 1024;

/// Where a bee in this program reports a process that it has closed. Use `try_send`: a full or closed channel is no error,
/// because polling finds what was not sent.
pub type Completions = mpsc::Sender<Completed>;

/// A process that a bee in this program closed as successful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// The process.
    pub process: ProcessId,
    /// The outcomes of its events.
    pub result: JobResult,
}

/// A channel of completions with the usual bound.
pub fn channel() -> (Completions, mpsc::Receiver<Completed>) {
    mpsc::channel(COMPLETIONS_MAX)
}

/// The outcomes of one job's events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResult {
    /// How often each outcome occurs, for people who look at the process.
    #[serde(flatten)]
    pub counts: Counts,
    /// One for each event that came to its end.
    pub events: Vec<EventResult>,
    /// Ids of events that were left alone, because Stripe gave no answer about their objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<String>,
}

/// Events by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// They changed the state of record.
    pub applied: u32,
    /// They were older than what is stored.
    pub stale: u32,
    /// They had been applied before.
    pub duplicate: u32,
    /// The gateway maps nothing from their type.
    pub ignored: u32,
    /// A rule holds them back.
    pub quarantined: u32,
    /// No retry can mend them.
    pub failed: u32,
}

/// The outcome of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventResult {
    /// The event's id.
    pub event: String,
    pub outcome: OutcomeName,
    /// Stable code of a rule or a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why, without customer data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl JobResult {
    /// Counts the outcomes and cuts texts to their bound.
    pub fn new(mut events: Vec<EventResult>) -> Self {
        let mut counts = Counts::default();
        for event in &mut events {
            let count = match event.outcome {
                OutcomeName::Applied => &mut counts.applied,
                OutcomeName::Stale => &mut counts.stale,
                OutcomeName::Duplicate => &mut counts.duplicate,
                OutcomeName::Ignored => &mut counts.ignored,
                OutcomeName::Quarantined => &mut counts.quarantined,
                OutcomeName::Failed => &mut counts.failed,
            };
            *count += 1;
            for text in [&mut event.code, &mut event.reason].into_iter().flatten() {
                cut(text);
            }
        }
        Self { counts, events, unanswered: Vec::new() }
    }

    /// Adds events about which Stripe did not answer.
    #[must_use]
    pub fn with_unanswered(self, unanswered: Vec<String>) -> Self {
        Self { unanswered, ..self }
    }

    /// The output of the process, which has no reasons.
    pub fn to_output(&self) -> Vec<Value> {
        let events = self.events.iter().map(|event| EventResult { reason: None, ..event.clone() }).collect();
        let told = Self { counts: self.counts, events, unanswered: self.unanswered.clone() };
        // Only strings and small numbers, so writing them as JSON cannot fail.
        vec![serde_json::to_value(told).unwrap_or_default()]
    }

    /// Reads the output of a process, which any member may have closed.
    ///
    /// # Errors
    /// If it is not the result of one job.
    pub fn from_output(output: &[Value]) -> Result<Self, OutputError> {
        let [value] = output else { return Err(OutputError::Elements { count: output.len() }) };
        let result: Self = Deserialize::deserialize(value).map_err(OutputError::NotAResult)?;
        let count = result.events.len().max(result.unanswered.len());
        if count > BATCH_ENTRIES_MAX {
            return Err(OutputError::TooMany { count });
        }
        Ok(Self::new(result.events).with_unanswered(result.unanswered))
    }
}

/// Code of a failure without one.
pub const CODE_UNKNOWN: &str = "failed_by_bee";

/// Longest code, in bytes.
const CODE_BYTES_MAX: usize = 64;

/// Code and reason from the errors of a process that any member may have closed as failed. A bee writes `<code>: <reason>`;
/// a code has lower-case letters, digits and underscores.
pub fn read_failure(errors: &[String]) -> (String, String) {
    let is_code = |text: &str| {
        (1..=CODE_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let split = errors.first().and_then(|first| first.split_once(": ")).filter(|(code, _)| is_code(code));
    let (code, mut reason) = match (split, errors) {
        (Some((code, reason)), _) => (code, reason.to_owned()),
        (None, [code]) if is_code(code) => (code.as_str(), String::new()),
        (None, errors) => (CODE_UNKNOWN, errors.first().cloned().unwrap_or_default()),
    };
    cut(&mut reason);
    (code.to_owned(), reason)
}

/// Why the output of a process tells nothing about its events.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It does not have exactly one element.
    #[error("the output has {count} elements and not one")]
    Elements {
        /// How many.
        count: usize,
    },
    /// It is not an object of the known form.
    #[error("the output is not the result of a job")]
    NotAResult(#[source] serde_json::Error),
    /// It has more events than a job may hold.
    #[error("the output names {count} events, more than a job holds")]
    TooMany {
        /// How many.
        count: usize,
    },
}

/// Makes a text of a bee fit to be stored and shown: one line of bounded length.
fn cut(text: &mut String) {
    if text.contains(char::is_control) {
        *text = text.replace(char::is_control, " ");
    }
    let mut end = text.len().min(RESULT_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(event: &str, outcome: OutcomeName) -> EventResult {
        EventResult { event: event.to_owned(), outcome, code: None, reason: None }
    }

    #[test]
    fn a_result_is_read_back_as_it_was_written_without_what_could_quote_an_event() {
        let failed = EventResult {
            code: Some("malformed_event".to_owned()),
            reason: Some("no number: \"ann@example.com\"".to_owned()),
            ..event("evt_2", OutcomeName::Failed)
        };
        let mut result = JobResult::new(vec![event("evt_1", OutcomeName::Applied), failed]);
        result = result.with_unanswered(vec!["evt_3".to_owned()]);
        let output = result.to_output();
        assert_eq!(
            output,
            [json!({
                "applied": 1, "stale": 0, "duplicate": 0, "ignored": 0, "quarantined": 0, "failed": 1,
                "events": [
                    {"event": "evt_1", "outcome": "applied"},
                    {"event": "evt_2", "outcome": "failed", "code": "malformed_event"},
                ],
                "unanswered": ["evt_3"],
            })]
        );
        result.events[1].reason = None;
        assert_eq!(JobResult::from_output(&output).unwrap(), result);
    }

    #[test]
    fn what_is_no_result_is_refused() {
        let element = json!({"events": [{"event": "evt_1", "outcome": "applied"}]});
        assert!(JobResult::from_output(std::slice::from_ref(&element)).is_ok(), "the counts are for people");
        assert!(matches!(JobResult::from_output(&[]), Err(OutputError::Elements { count: 0 })));
        let twice = [element.clone(), element];
        assert!(matches!(JobResult::from_output(&twice), Err(OutputError::Elements { count: 2 })));
        for value in [
            json!("done"),
            json!({}),
            json!({"events": {}}),
            json!({"events": [{"event": "evt_1"}]}),
            json!({"events": [{"event": "evt_1", "outcome": "perhaps"}]}),
            json!({"events": [{"event": 1, "outcome": "applied"}]}),
        ] {
            assert!(matches!(JobResult::from_output(&[value]), Err(OutputError::NotAResult(_))));
        }
        let unanswered = json!({"events": [], "unanswered": vec!["evt_1"; BATCH_ENTRIES_MAX + 1]});
        assert!(matches!(JobResult::from_output(&[unanswered]), Err(OutputError::TooMany { .. })));
        let one = json!({"event": "evt_1", "outcome": "applied"});
        let many = json!({"events": vec![one; BATCH_ENTRIES_MAX + 1]});
        assert!(matches!(JobResult::from_output(&[many]), Err(OutputError::TooMany { .. })));
    }

    #[test]
    fn a_failure_is_a_code_and_a_reason_whoever_wrote_it() {
        let read = |errors: &[&str]| read_failure(&errors.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        let pair = |code: &str, reason: &str| (code.to_owned(), reason.to_owned());
        assert_eq!(read(&["not_attested: the job carries: no key"]), pair("not_attested", "the job carries: no key"));
        assert_eq!(read(&["not_attested"]), pair("not_attested", ""));
        assert_eq!(read(&[]), pair("failed_by_bee", ""));
        assert_eq!(read(&["It broke: badly", "twice"]), pair("failed_by_bee", "It broke: badly"));
        let long = "x y".repeat(1000);
        assert_eq!(read(&[&long, &long]).1.len(), RESULT_TEXT_BYTES_MAX);
    }

    #[test]
    fn texts_hold_nothing_that_a_database_does_not_take() {
        let odd = |text: &str| Some(text.to_owned());
        let event = EventResult { code: odd("a\0b"), reason: odd("x\r\ny"), ..event("evt_1", OutcomeName::Failed) };
        let result = JobResult::new(vec![event]);
        assert_eq!((result.events[0].code.as_deref(), result.events[0].reason.as_deref()), (Some("a b"), Some("x  y")));
        assert_eq!(read_failure(&["batch: nul \0 here".to_owned()]).1, "nul   here");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = EventResult { reason: Some("é".repeat(1000)), ..event("evt_1", OutcomeName::Quarantined) };
        let result = JobResult::new(vec![long]);
        assert_eq!(result.events[0].reason.as_ref().map(String::len), Some(RESULT_TEXT_BYTES_MAX));
    }
}
