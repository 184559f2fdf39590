//! Every way in which a process can end, and what becomes of its entries.

use serde_json::json;

use super::*;
use crate::domain::ids::EventId;
use crate::domain::outcome::Settled;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const RESUBMISSIONS_MAX: u32 = 3;

fn entries(attempts: &[u32]) -> Vec<SubmittedEntry> {
    let entry = |(index, &attempts): (usize, &u32)| SubmittedEntry {
        entry: EntryId(i64::try_from(index).unwrap()),
        event_id: EventId::new(format!("evt_{index}")),
        event_type: "invoice.paid".to_owned(),
        attempts,
        received: NOW,
        trace: None,
    };
    attempts.iter().enumerate().map(entry).collect()
}

fn process(state: ProcessState, out: Vec<serde_json::Value>, errors: &[&str]) -> ProcessEnd {
    let errors = errors.iter().map(|&error| error.to_owned()).collect();
    ProcessEnd::of(Ok(Process { processid: "p".to_owned(), state, out, errors, ..Process::default() }))
}

fn ends(end: &ProcessEnd, attempts: &[u32]) -> Vec<(What, Conclusion)> {
    let ended = conclusions(end, entries(attempts), RESUBMISSIONS_MAX);
    ended.into_iter().map(|ended| (ended.what, ended.conclusion)).collect()
}

fn names(end: &ProcessEnd, attempts: &[u32]) -> Vec<&'static str> {
    let name = |(what, _)| match what {
        What::Outcome(outcome) => outcome.as_str(),
        What::Returned(why) => why.as_str(),
    };
    ends(end, attempts).into_iter().map(name).collect()
}

#[test]
fn each_event_ends_as_the_bee_says() {
    let outcomes = ["applied", "stale", "duplicate", "ignored", "quarantined", "failed"];
    let events: Vec<_> = outcomes
        .iter()
        .enumerate()
        .map(|(index, outcome)| json!({"event": format!("evt_{index}"), "outcome": outcome, "code": "rule"}))
        .collect();
    let end = process(ProcessState::Success, vec![json!({ "events": events })], &[]);
    assert_eq!(names(&end, &[0; 6]), outcomes);
    let conclusions = ends(&end, &[0; 6]);
    assert_eq!(conclusions[0].1, Conclusion::Settle { outcome: Settled::Applied });
    assert_eq!(conclusions[4].1, Conclusion::Quarantine { code: "rule".to_owned(), reason: String::new() });
    assert_eq!(conclusions[5].1, Conclusion::Dead { code: "rule".to_owned(), reason: String::new() });
}

#[test]
fn an_event_that_the_result_does_not_name_waits_again_uncounted_and_not_at_once() {
    let output =
        vec![json!({"events": [{"event": "evt_1", "outcome": "applied"}, {"event": "evt_9", "outcome": "failed"}]})];
    let conclusions = ends(&process(ProcessState::Success, output, &[]), &[0, 0]);
    assert_eq!(conclusions[0].0, What::Returned(Returned::Missing));
    assert!(matches!(conclusions[0].1, Conclusion::Retry { after, counted: false, .. } if !after.is_zero()));
    assert_eq!(conclusions[1].0, What::Outcome(OutcomeName::Applied));
}

#[test]
fn a_bee_that_contradicts_itself_leaves_the_event_to_a_person() {
    for order in [["applied", "failed"], ["failed", "applied"]] {
        let events = order.map(|outcome| json!({"event": "evt_0", "outcome": outcome}));
        let end = process(ProcessState::Success, vec![json!({ "events": events })], &[]);
        assert_eq!(names(&end, &[0]), ["failed"]);
    }
}

#[test]
fn what_says_nothing_about_the_events_leaves_them_to_the_ledger() {
    let garbage = process(ProcessState::Success, vec![json!("done")], &[]);
    let unknown = ProcessEnd::of(Err(ClientError::UnknownProcess { message: "gone".to_owned() }));
    let cancelled = process(ProcessState::Cancelled, vec![], &[]);
    for (end, reason) in
        [(garbage, Returned::NoResult), (unknown, Returned::UnknownProcess), (cancelled, Returned::Cancelled)]
    {
        let conclusions = ends(&end, &[0, 7]);
        assert!(conclusions.iter().all(|(what, conclusion)| {
            *what == What::Returned(reason) && matches!(conclusion, Conclusion::Retry { counted: false, .. })
        }));
    }
}

#[test]
fn lost_leases_are_tried_again_alone_up_to_the_bound_and_then_the_event_is_dead() {
    let end = process(ProcessState::Failed, vec![], &["Maximum execution time limit exceeded"]);
    let conclusions = ends(&end, &[0, RESUBMISSIONS_MAX - 1, RESUBMISSIONS_MAX]);
    assert!(matches!(conclusions[0], (What::Returned(Returned::LeasesLost), Conclusion::RetryAlone { .. })));
    assert!(matches!(conclusions[1], (What::Returned(Returned::LeasesLost), Conclusion::RetryAlone { .. })));
    assert!(
        matches!(&conclusions[2], (What::Outcome(OutcomeName::Failed), Conclusion::Dead { code, .. }) if code == "leases_lost")
    );
}

#[test]
fn a_job_that_a_bee_refused_is_dead_with_its_code_and_takes_no_neighbour_with_it() {
    let end = process(ProcessState::Failed, vec![], &["attestation_signature: made elsewhere"]);
    let alone = ends(&end, &[0]);
    let dead = Conclusion::Dead { code: "attestation_signature".to_owned(), reason: "made elsewhere".to_owned() };
    assert_eq!(alone, [(What::Outcome(OutcomeName::Failed), dead)]);
    let batch = ends(&end, &[0, 0]);
    assert!(
        batch.iter().all(|end| matches!(end, (What::Returned(Returned::BatchFailed), Conclusion::RetryAlone { .. })))
    );
}

#[test]
fn a_process_that_is_not_at_its_end_and_an_answer_about_the_call_end_nothing() {
    let refused = ClientError::NotMember { message: "no".to_owned() };
    for end in [
        process(ProcessState::Waiting, vec![], &[]),
        process(ProcessState::Running, vec![], &[]),
        ProcessEnd::of(Err(refused)),
    ] {
        assert!(matches!(end, ProcessEnd::Open));
        assert!(ends(&end, &[0]).is_empty());
    }
}

#[test]
fn what_is_taken_back_is_due_at_once_and_not_counted() {
    let ended = take_back(entries(&[2]));
    assert!(matches!(ended[0].conclusion, Conclusion::Retry { after: Duration::ZERO, counted: false, .. }));
}

#[test]
fn a_clock_that_differs_is_no_fault_of_the_events() {
    for code in CLOCKS_DIFFER {
        let end = process(ProcessState::Failed, vec![], &[&format!("{code}: an hour")]);
        for (what, conclusion) in ends(&end, &[0, RESUBMISSIONS_MAX]) {
            assert_eq!(what, What::Returned(Returned::ClocksDiffer));
            assert!(matches!(conclusion, Conclusion::Retry { after, counted: false, .. } if !after.is_zero()));
        }
    }
}
