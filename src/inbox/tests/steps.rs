//! What became of an entry that was not settled at its first try stays, within its bounds.

use super::*;
use crate::inbox::{STEPS_KEPT, STEPS_MAX, StepKind};

on_every_store! {
    an_entry_that_is_settled_at_once_has_no_steps,
    what_is_the_same_several_times_in_a_row_is_one_step,
    a_lease_that_ends_without_a_result_is_a_step,
    an_entry_has_a_bounded_number_of_steps,
    steps_are_forgotten_after_their_time,
}

impl Fixture {
    /// Ends everything that is due in this way.
    async fn come_to(&self, conclusion: Conclusion) {
        let leased = self.lease(10).await;
        assert!(!leased.is_empty());
        let conclusions = leased.into_iter().map(|leased| (leased.lease, conclusion.clone())).collect();
        let concluded = self.inbox().conclude(conclusions).await.unwrap();
        assert!(concluded.iter().all(|concluded| *concluded == Concluded::Done));
    }

    async fn steps(&self, entry: EntryId) -> Vec<(StepKind, u64, String)> {
        let story = self.inbox().story(entry, false).await.unwrap().unwrap();
        story.steps.into_iter().map(|step| (step.kind, step.times, step.reason)).collect()
    }
}

fn retry(reason: &str) -> Conclusion {
    Conclusion::Retry { after: Duration::ZERO, counted: true, reason: reason.to_owned() }
}

async fn an_entry_that_is_settled_at_once_has_no_steps(fixture: Fixture) {
    let entry = fixture.append("evt_1").await.entry();
    fixture.settle(fixture.lease(1).await).await;
    assert_eq!(fixture.steps(entry).await, []);
}

async fn what_is_the_same_several_times_in_a_row_is_one_step(fixture: Fixture) {
    let entry = fixture.append("evt_1").await.entry();
    for reason in ["no answer", "no answer", "refused", "no answer"] {
        fixture.come_to(retry(reason)).await;
        fixture.clock.advance(MINUTE);
    }
    fixture.come_to(Conclusion::Dead { code: "ledger_rejected".to_owned(), reason: "no".to_owned() }).await;
    let step = |kind, times, reason: &str| (kind, times, reason.to_owned());
    let expected = [
        step(StepKind::Retry, 2, "no answer"),
        step(StepKind::Retry, 1, "refused"),
        step(StepKind::Retry, 1, "no answer"),
        step(StepKind::Dead, 1, "no"),
    ];
    assert_eq!(fixture.steps(entry).await, expected);
    let story = fixture.inbox().story(entry, false).await.unwrap().unwrap();
    assert_eq!((story.steps[0].at, story.steps[0].last), (START, START.plus(MINUTE)));
    assert_eq!(story.steps[3].code.as_deref(), Some("ledger_rejected"));
}

async fn a_lease_that_ends_without_a_result_is_a_step(fixture: Fixture) {
    let entry = fixture.append("evt_1").await.entry();
    for _ in 0..2 {
        assert_eq!(fixture.lease(1).await.len(), 1);
        fixture.clock.advance(MINUTE);
    }
    let settled = fixture.lease(1).await;
    assert_eq!(settled[0].crashes, 2);
    fixture.settle(settled).await;
    let story = fixture.inbox().story(entry, false).await.unwrap().unwrap();
    let [step] = story.steps.as_slice() else { panic!("{:?}", story.steps) };
    assert_eq!((step.kind, step.times), (StepKind::LeaseEnded, 2));
    assert_eq!((step.at, step.last), (START.plus(MINUTE), START.plus(MINUTE * 2)));
}

async fn an_entry_has_a_bounded_number_of_steps(fixture: Fixture) {
    let entry = fixture.append("evt_1").await.entry();
    for number in 0..STEPS_MAX + 2 {
        fixture.come_to(retry(&number.to_string())).await;
    }
    let steps = fixture.steps(entry).await;
    assert_eq!((steps.len(), steps[63].2.as_str()), (64, "63"));
}

async fn steps_are_forgotten_after_their_time(fixture: Fixture) {
    let entry = fixture.append("evt_1").await.entry();
    fixture.come_to(retry("early")).await;
    fixture.clock.advance(STEPS_KEPT + MINUTE);
    fixture.come_to(retry("late")).await;
    assert_eq!(fixture.steps(entry).await, [(StepKind::Retry, 1, "late".to_owned())]);
}
