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
    ends_by(end, &Record::new(), attempts)
}

fn ends_by(end: &ProcessEnd, record: &Record, attempts: &[u32]) -> Vec<(What, Conclusion)> {
    let ended = conclusions(end, record, entries(attempts), RESUBMISSIONS_MAX, NOW);
    ended.into_iter().map(|ended| (ended.what, ended.conclusion)).collect()
}

/// A ledger that has recorded these outcomes of `evt_0`, `evt_1` and so on.
fn record(outcomes: &[Option<OutcomeName>]) -> Record {
    let recorded = |(index, outcome): (usize, &Option<OutcomeName>)| {
        let (id, rule) = (format!("evt_{index}"), Some("rule_of_the_ledger".to_owned()));
        Some((id.clone(), Recorded { id, outcome: (*outcome)?, rule, reason: None }))
    };
    outcomes.iter().enumerate().filter_map(recorded).collect()
}

/// The process ran, and its bee reports these outcomes of `evt_0`, `evt_1` and so on.
fn ran(outcomes: &[&str]) -> ProcessEnd {
    let events: Vec<_> = outcomes
        .iter()
        .enumerate()
        .map(|(index, outcome)| json!({"event": format!("evt_{index}"), "outcome": outcome, "code": "rule"}))
        .collect();
    process(ProcessState::Success, vec![json!({ "events": events })], &[])
}

fn names(end: &ProcessEnd, attempts: &[u32]) -> Vec<&'static str> {
    let name = |(what, _)| match what {
        What::Outcome(outcome) => outcome.as_str(),
        What::Returned(why) => why.as_str(),
    };
    ends(end, attempts).into_iter().map(name).collect()
}

#[test]
fn each_event_ends_as_a_bee_of_this_program_says() {
    let outcomes = ["applied", "stale", "duplicate", "ignored", "quarantined", "failed"];
    let ProcessEnd::Ran(result) = ran(&outcomes) else { panic!("it ran") };
    let end = ProcessEnd::Done(result);
    assert_eq!(names(&end, &[0; 6]), outcomes);
    let conclusions = ends(&end, &[0; 6]);
    assert_eq!(conclusions[0].1, Conclusion::Settle { outcome: Settled::Applied });
    assert_eq!(conclusions[4].1, Conclusion::Quarantine { code: "rule".to_owned(), reason: String::new() });
    assert_eq!(conclusions[5].1, Conclusion::Dead { code: "rule".to_owned(), reason: String::new() });
    assert!(claimed(&end, &entries(&[0; 6])).is_empty(), "nobody has to be asked");
}

#[test]
fn what_the_ledger_does_not_know_goes_back_whatever_a_process_says() {
    let end = ran(&["applied", "stale", "duplicate", "ignored", "quarantined", "failed"]);
    assert_eq!(claimed(&end, &entries(&[0; 7])).len(), 6);
    let ended = conclusions(&end, &Record::new(), entries(&[0; 6]), RESUBMISSIONS_MAX, NOW);
    let mut expected = [What::Returned(Returned::NotRecorded); 6];
    expected[5] = What::Returned(Returned::Unproven);
    assert_eq!(ended.iter().map(|ended| ended.what).collect::<Vec<_>>(), expected);
    assert!(ended.iter().all(|ended| matches!(ended.conclusion, Conclusion::Retry { counted: false, .. })));
    assert!(ended.iter().all(Ended::goes_direct));
    assert_eq!((worth(&ended), worth(&ended[5..]), worth(&[])), (Worth::Lie, Worth::Nothing, Worth::Good));
}

#[test]
fn where_ledger_and_bee_differ_the_ledgers_word_holds() {
    use OutcomeName::{Applied, Duplicate, Failed, Ignored, Quarantined, Stale};
    let cases = [
        ("applied", Applied, Applied),
        ("applied", Stale, Stale),
        ("applied", Quarantined, Quarantined),
        ("duplicate", Applied, Duplicate),
        ("duplicate", Stale, Duplicate),
        ("duplicate", Quarantined, Quarantined),
        ("ignored", Ignored, Ignored),
        ("quarantined", Applied, Applied),
        ("failed", Applied, Applied),
    ];
    for (said, known, expected) in cases {
        let [(what, conclusion)] = ends_by(&ran(&[said]), &record(&[Some(known)]), &[0]).try_into().unwrap();
        assert_eq!(what, What::Outcome(expected), "{said}, {known:?}");
        assert_ne!(expected, Failed);
        if expected == Quarantined {
            assert!(matches!(conclusion, Conclusion::Quarantine { code, .. } if code == "rule_of_the_ledger"));
        }
    }
    let half = record(&[Some(Applied), None]);
    let ended = conclusions(&ran(&["applied", "failed"]), &half, entries(&[0, 0]), RESUBMISSIONS_MAX, NOW);
    assert_eq!(worth(&ended), Worth::Good, "one event that is given up, beside others that were applied, is no lie");
}

#[test]
fn an_event_that_the_result_does_not_name_waits_again_uncounted_and_not_at_once() {
    let output =
        vec![json!({"events": [{"event": "evt_1", "outcome": "applied"}, {"event": "evt_9", "outcome": "failed"}]})];
    let record = record(&[None, Some(OutcomeName::Applied)]);
    let conclusions = ends_by(&process(ProcessState::Success, output, &[]), &record, &[0, 0]);
    assert_eq!(conclusions[0].0, What::Returned(Returned::Missing));
    assert!(matches!(conclusions[0].1, Conclusion::Retry { after, counted: false, .. } if !after.is_zero()));
    assert_eq!(conclusions[1].0, What::Outcome(OutcomeName::Applied));
}

#[test]
fn a_bee_that_contradicts_itself_proves_nothing() {
    for order in [["applied", "failed"], ["failed", "applied"]] {
        let events = order.map(|outcome| json!({"event": "evt_0", "outcome": outcome}));
        let end = process(ProcessState::Success, vec![json!({ "events": events })], &[]);
        assert_eq!(names(&end, &[0]), ["unproven"]);
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
fn lost_leases_are_tried_again_alone_up_to_the_bound_and_then_here() {
    let end = process(ProcessState::Failed, vec![], &["Maximum execution time limit exceeded"]);
    let ended = conclusions(
        &end,
        &Record::new(),
        entries(&[0, RESUBMISSIONS_MAX - 1, RESUBMISSIONS_MAX]),
        RESUBMISSIONS_MAX,
        NOW,
    );
    assert!(ended.iter().all(|ended| ended.what == What::Returned(Returned::LeasesLost)));
    assert_eq!(ended.iter().map(Ended::goes_direct).collect::<Vec<_>>(), [false, false, true]);
    assert!(matches!(ended[1].conclusion, Conclusion::RetryAlone { .. }));
    assert!(matches!(ended[2].conclusion, Conclusion::Retry { counted: false, .. }));
}

#[test]
fn a_job_that_a_bee_refused_ends_nothing() {
    let end = process(ProcessState::Failed, vec![], &["attestation_signature: made elsewhere"]);
    for attempts in [&[0][..], &[0, RESUBMISSIONS_MAX]] {
        let ended = conclusions(&end, &Record::new(), entries(attempts), RESUBMISSIONS_MAX, NOW);
        assert!(ended.iter().all(|ended| ended.what == What::Returned(Returned::Refused) && ended.goes_direct()));
        let Conclusion::Retry { counted: false, reason, .. } = &ended[0].conclusion else { panic!("{ended:?}") };
        assert!(reason.contains("attestation_signature") && reason.contains("made elsewhere"), "{reason}");
    }
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
    let ended = take_back(entries(&[2]), Returned::TooOld, "the colony took too long");
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

#[test]
fn an_event_that_stripe_was_asked_about_in_vain_waits_for_stripe_and_says_nothing_about_the_bee() {
    let output = json!({"events": [{"event": "evt_0", "outcome": "applied"}], "unanswered": ["evt_1", "evt_0"]});
    let end = process(ProcessState::Success, vec![output], &[]);
    let known = record(&[Some(OutcomeName::Applied), None, None]);
    let ended = conclusions(&end, &known, entries(&[0; 3]), RESUBMISSIONS_MAX, NOW);
    let whats: Vec<_> = ended.iter().map(|ended| ended.what).collect();
    let returned = [What::Returned(Returned::Unanswered), What::Returned(Returned::Missing)];
    assert_eq!((whats[0], &whats[1..]), (What::Outcome(OutcomeName::Applied), &returned[..]));
    assert!(matches!(ended[1].conclusion, Conclusion::AwaitStripe { .. }));
    assert_eq!((worth(&ended), worth(&ended[1..2])), (Worth::Good, Worth::Good));
    assert!(!ended[1].goes_direct());
}

#[test]
fn waits_for_stripe_grow_with_their_age_and_meet() {
    // Events that arrived within one minute, each asked about whenever it is due, for an hour.
    let hour = Duration::from_hours(1);
    let (mut moments, mut longest) = (std::collections::BTreeSet::new(), Duration::ZERO);
    for number in 0..600 {
        let received = NOW.plus(Duration::from_millis(number * 100));
        let mut at = received;
        let mut asked = 0;
        while at.since(received) < hour {
            let wait = stripe_wait(received, at);
            assert!(wait <= Duration::from_secs(96) && !wait.is_zero(), "{wait:?}");
            assert!(
                wait <= (at.since(received) * 3).max(Duration::from_millis(1500)),
                "a short outage costs a short wait"
            );
            longest = longest.max(wait);
            at = at.plus(wait);
            asked += 1;
            moments.insert(at.millis());
        }
        assert!(asked < 75, "{asked}");
    }
    assert!(longest >= Duration::from_secs(64));
    assert!(moments.len() < 200, "so many jobs at most: {}", moments.len());
}
