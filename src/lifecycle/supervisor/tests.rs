//! Phases of the shutdown and exit codes.

use std::convert::Infallible;
use std::io;

use tokio::sync::mpsc;

use super::*;

#[derive(Debug)]
struct Wishes(mpsc::UnboundedReceiver<()>);

impl Stop for Wishes {
    async fn next(&mut self) -> &'static str {
        match self.0.recv().await {
            Some(()) => "test",
            None => std::future::pending().await,
        }
    }
}

fn wishes(number: usize) -> Wishes {
    let (sender, receiver) = mpsc::unbounded_channel();
    for _ in 0..number {
        sender.send(()).unwrap();
    }
    Wishes(receiver)
}

fn supervisor() -> (Supervisor, Shutdown, Readiness) {
    let (shutdown, readiness) = (Shutdown::default(), Readiness::default());
    (Supervisor::new(shutdown.clone(), readiness.clone()), shutdown, readiness)
}

const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn a_signal_drains_and_work_in_hand_is_finished() {
    let (mut supervisor, shutdown, readiness) = supervisor();
    let (done, mut finished) = mpsc::unbounded_channel();
    supervisor.start("worker", async move {
        shutdown.draining().await;
        tokio::time::sleep(DEADLINE / 2).await;
        done.send(()).unwrap();
        Ok::<(), Infallible>(())
    });
    assert_eq!(supervisor.run(wishes(1), DEADLINE).await, Ending::Clean);
    assert!(finished.try_recv().is_ok());
    assert!(!readiness.is_ready());
}

#[tokio::test(start_paused = true)]
async fn tasks_that_end_early_in_the_drain_do_not_cut_the_others_short() {
    let (mut supervisor, shutdown, _) = supervisor();
    for wait in [DEADLINE / 2, Duration::ZERO, DEADLINE / 4] {
        let shutdown = shutdown.clone();
        supervisor.start("worker", async move {
            shutdown.draining().await;
            tokio::time::sleep(wait).await;
            Ok::<(), Infallible>(())
        });
    }
    assert_eq!(supervisor.run(wishes(1), DEADLINE).await, Ending::Clean);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_cuts_work_short_and_says_so() {
    let (mut supervisor, _, _) = supervisor();
    supervisor.start("stuck", std::future::pending::<Result<(), Infallible>>());
    assert_eq!(supervisor.run(wishes(1), DEADLINE).await, Ending::CutShort);
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_does_not_wait_for_the_deadline() {
    let (mut supervisor, _, _) = supervisor();
    supervisor.start("stuck", std::future::pending::<Result<(), Infallible>>());
    let started = tokio::time::Instant::now();
    assert_eq!(supervisor.run(wishes(2), DEADLINE).await, Ending::CutShort);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_fails_or_panics_takes_the_process_down_in_order() {
    for way in 0..3 {
        let (mut supervisor, shutdown, _) = supervisor();
        let (done, mut finished) = mpsc::unbounded_channel();
        supervisor.start("neighbour", async move {
            shutdown.draining().await;
            done.send(()).unwrap();
            Ok::<(), Infallible>(())
        });
        supervisor.start("needed", async move {
            match way {
                0 => Ok(()),
                1 => Err(io::Error::other("gone")),
                _ => panic!("a bug"),
            }
        });
        assert_eq!(supervisor.run(wishes(0), DEADLINE).await, Ending::Failed);
        assert!(finished.try_recv().is_ok());
    }
}

#[tokio::test]
async fn exit_codes_tell_the_endings_apart() {
    assert_eq!([Ending::Clean, Ending::Failed, Ending::CutShort].map(Ending::code), [0, 1, 3]);
}

#[tokio::test]
async fn work_in_the_background_does_not_hold_up_what_answers() {
    let (mut supervisor, shutdown, _) = supervisor();
    let (sender, receiver) = std::sync::mpsc::channel();
    // It keeps its thread until the other task has had its turn.
    let drain = shutdown.clone();
    supervisor.start_in_background("computes", async move {
        receiver.recv_timeout(Duration::from_mins(1)).map(|()| drain.drain())
    });
    supervisor.start("answers", async move {
        sender.send(()).unwrap();
        shutdown.draining().await;
        Ok::<(), Infallible>(())
    });
    assert_eq!(supervisor.run(wishes(0), DEADLINE).await, Ending::Clean);
}
