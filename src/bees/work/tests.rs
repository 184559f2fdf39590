//! One job against a scripted ledger.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::*;
use crate::ledger::{BoxFuture, Ledger, LedgerErrorKind, Outcome};
use crate::revenue::guardian::Guardian;
use crate::revenue::project::Settings;
use crate::revenue::validator::Validator;
use crate::revenue::verdict::Verdict;
use crate::telemetry::metrics::Metrics;

/// The ledger's answer to a call with a certain event.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Reject,
    Panic,
    Hang,
}

#[derive(Debug, Default)]
struct Scripted {
    faults: HashMap<&'static str, Fault>,
    /// Errors for the first calls.
    down: Mutex<Vec<LedgerErrorKind>>,
    applied: Mutex<HashSet<String>>,
}

impl Ledger for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn apply_for<'a>(
        &'a self,
        _meant_for: Option<&'a LedgerId>,
        batch: &'a [Verdict],
    ) -> BoxFuture<'a, Result<Vec<Outcome>, LedgerError>> {
        Box::pin(async move {
            if let Some(kind) = self.down.lock().unwrap_or_else(PoisonError::into_inner).pop() {
                return Err(LedgerError::new("scripted", kind, "as told"));
            }
            let ids: Vec<String> = batch
                .iter()
                .map(|verdict| verdict.event().map_or(String::new(), |event| event.id.to_string()))
                .collect();
            for id in &ids {
                match self.faults.get(id.as_str()) {
                    Some(Fault::Reject) => {
                        return Err(LedgerError::new("scripted", LedgerErrorKind::Rejected, "as told"));
                    }
                    Some(Fault::Panic) => panic!("scripted"),
                    Some(Fault::Hang) => std::future::pending().await,
                    None => {}
                }
            }
            let mut applied = self.applied.lock().unwrap();
            let once = |id: String| if applied.insert(id) { Outcome::Applied } else { Outcome::Duplicate };
            Ok(ids.into_iter().map(once).collect())
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async { Ok(()) })
    }
}

fn work(faults: &[(&'static str, Fault)], down: &[LedgerErrorKind]) -> Work {
    let clock = Clock::system();
    let ledger =
        Scripted { faults: faults.iter().copied().collect(), down: Mutex::new(down.to_vec()), ..Scripted::default() };
    let validator = Validator::new(Settings::default(), Arc::new(Guardian::default()), clock.clone());
    let pipeline = Pipeline::new(Arc::new(validator), Arc::new(ledger), Metrics::new(), clock.clone());
    Work { pipeline, call_timeout: Duration::from_millis(20), clock }
}

fn events(count: usize) -> Vec<Bytes> {
    let event = |number| {
        format!(
            r#"{{"id":"evt_{number}","object":"event","type":"product.created","created":1767225600,"livemode":false,
            "data":{{"object":{{"id":"prod_1","object":"product"}}}}}}"#
        )
    };
    (0..count).map(|number| Bytes::from(event(number))).collect()
}

fn ledger() -> LedgerId {
    LedgerId::draw().unwrap()
}

async fn run(work: &Work, count: usize, time: Duration) -> Result<Vec<Option<&'static str>>, OutOfTime> {
    let judged = work.run(&events(count), ledger(), work.clock.instant() + time, &Place::default()).await?;
    Ok(judged.iter().map(|judged| judged.as_ref().and_then(|judged| judged.end.name())).collect())
}

const ENOUGH: Duration = Duration::from_mins(1);

#[tokio::test]
async fn an_event_that_the_ledger_refuses_fails_alone() {
    let work = work(&[("evt_2", Fault::Reject)], &[]);
    let judged = work.run(&events(5), ledger(), work.clock.instant() + ENOUGH, &Place::default()).await.unwrap();
    let outcomes: Vec<_> = judged.into_iter().map(|judged| judged.map(|judged| judged.end)).collect();
    let Some(End::Outcome(Outcome::Failed { code, .. })) = &outcomes[2] else { panic!("{outcomes:?}") };
    assert_eq!(code, "ledger_rejected");
    let others = [0, 1, 3, 4].map(|index| outcomes[index].clone());
    assert_eq!(others, [const { Some(End::Outcome(Outcome::Applied)) }; 4]);
}

#[tokio::test]
async fn an_event_on_which_the_pipeline_panics_fails_alone() {
    let work = work(&[("evt_0", Fault::Panic), ("evt_3", Fault::Panic)], &[]);
    let outcomes = run(&work, 4, ENOUGH).await.unwrap();
    assert_eq!(outcomes, [Some("failed"), Some("applied"), Some("applied"), Some("failed")]);
}

#[tokio::test]
async fn an_event_that_hangs_stays_open_and_its_neighbours_pass() {
    let work = work(&[("evt_1", Fault::Hang)], &[]);
    let outcomes = run(&work, 3, ENOUGH).await.unwrap();
    assert_eq!(outcomes, [Some("applied"), None, Some("applied")]);
}

#[tokio::test]
async fn an_outage_is_waited_out_within_the_deadline() {
    let work = work(&[], &[LedgerErrorKind::Unavailable, LedgerErrorKind::Conflict]);
    assert_eq!(run(&work, 2, ENOUGH).await.unwrap(), [Some("applied"), Some("applied")]);
}

#[tokio::test]
async fn an_outage_that_outlasts_the_deadline_leaves_the_job_to_another_bee() {
    let work = work(&[], &[LedgerErrorKind::Unavailable; 1000]);
    let out_of_time = run(&work, 2, Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(out_of_time.last.unwrap().kind, LedgerErrorKind::Unavailable);
    assert!(work.run(&events(1), ledger(), work.clock.instant(), &Place::default()).await.is_err(), "no time at all");
}

#[tokio::test]
async fn nothing_is_waited_for_once_the_database_is_another_ledger() {
    let work = work(&[], &[LedgerErrorKind::OtherLedger]);
    let out_of_time = run(&work, 2, ENOUGH).await.unwrap_err();
    assert!(out_of_time.is_elsewhere());
}

#[tokio::test]
async fn when_everything_hangs_nothing_is_blamed_on_the_events() {
    let work = work(&[("evt_0", Fault::Hang), ("evt_1", Fault::Hang)], &[]);
    let out_of_time = run(&work, 2, Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(out_of_time.last.unwrap().kind, LedgerErrorKind::TimedOut);
}
