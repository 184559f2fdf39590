//! What time does: leases, retries, waits, and executors that disappear with work in hand.

use std::time::Duration;

use colonies::messages::{FunctionSpec, ProcessState};

use crate::world::{World, assert_refused};

/// Long enough for a lease or wait of one second to end: the server compares whole seconds, once a second.
const OVER: Duration = Duration::from_secs(3);

const NOT_ASSIGNED: &str = "Failed to close process as successful, process is not assigned";

/// A job whose lease lasts a second.
fn brief(world: &World) -> FunctionSpec {
    FunctionSpec { maxexectime: 1, maxretries: 1, ..world.job() }
}

pub(crate) async fn an_expired_lease_sends_the_process_back_with_one_retry_more(world: World) {
    let bee = world.bee("bee").await;
    let process = world.user.submit(brief(&world)).await.unwrap();
    bee.take().await;
    world.pass(OVER).await;
    let back = world.once(&process, ProcessState::Waiting).await;
    assert_eq!((back.retries, back.isassigned, back.assignedexecutorid.as_str()), (1, false, ""));
    assert_eq!((back.prioritytime, back.submissiontime), (process.prioritytime, process.submissiontime));
    assert!(back.endtime.0.is_some() && back.errors.is_empty());
    let other = world.bee("other").await;
    assert_eq!(other.take().await.processid, process.processid);
}

pub(crate) async fn closing_after_the_lease_is_lost_is_403(world: World) {
    let bee = world.bee("bee").await;
    let process = world.user.submit(brief(&world)).await.unwrap();
    bee.take().await;
    world.pass(OVER).await;
    world.once(&process, ProcessState::Waiting).await;
    assert_refused!(bee.calls.close_successful(&process.id(), Vec::new()).await, LeaseLost, NOT_ASSIGNED);
    let failed = bee.calls.close_failed(&process.id(), Vec::new()).await;
    assert_refused!(failed, LeaseLost, "Failed to close process as failed, process is not assigned");
}

pub(crate) async fn closing_a_process_that_another_executor_has_is_403(world: World) {
    let bee = world.bee("bee").await;
    let other = world.bee("other").await;
    let spec = FunctionSpec { maxretries: 3, ..brief(&world) };
    let process = world.user.submit(spec).await.unwrap();
    bee.take().await;
    world.pass(OVER).await;
    assert_eq!(other.take().await.processid, process.processid);
    let words = "Failed to close process as successful, not allowed to close process as successful";
    assert_refused!(bee.calls.close_successful(&process.id(), Vec::new()).await, LeaseLost, words);
}

pub(crate) async fn spent_retries_fail_the_process(world: World) {
    let bee = world.bee("bee").await;
    let process = world.user.submit(brief(&world)).await.unwrap();
    for retries in 0..2 {
        assert_eq!(bee.take().await.retries, retries);
        world.pass(OVER).await;
    }
    let failed = world.failed(&process).await;
    assert_eq!(failed.errors, ["Maximum execution time limit exceeded"]);
    assert_eq!((failed.retries, failed.isassigned), (1, true));
    assert_refused!(
        bee.calls.close_successful(&process.id(), Vec::new()).await,
        AlreadyEnded,
        "Tried to set failed process as successful"
    );
    assert_eq!(bee.take_at_once(&world).await, None);
}

pub(crate) async fn a_lease_without_length_is_lost_at_the_next_check(world: World) {
    let bee = world.bee("bee").await;
    for maxexectime in [0, -2] {
        let process = world.user.submit(FunctionSpec { maxexectime, ..world.job() }).await.unwrap();
        bee.take().await;
        world.pass(OVER).await;
        let back = world.once(&process, ProcessState::Waiting).await;
        assert_eq!((back.retries, back.execdeadline.0), (1, None), "maxexectime {maxexectime}");
        world.user.cancel(&process.id()).await.unwrap();
    }
}

pub(crate) async fn a_lease_without_end_is_kept(world: World) {
    let bee = world.bee("bee").await;
    let process = world.user.submit(FunctionSpec { maxexectime: -1, ..world.job() }).await.unwrap();
    bee.take().await;
    world.pass(if world.controls_time() { Duration::from_mins(9) } else { OVER }).await;
    let kept = world.now(&process).await;
    assert_eq!((kept.state, kept.retries, kept.execdeadline.0), (ProcessState::Running, 0, None));
    bee.calls.close_successful(&process.id(), Vec::new()).await.unwrap();
}

pub(crate) async fn the_answer_to_a_later_assignment_may_carry_the_deadline_of_the_lease_before(world: World) {
    let bee = world.bee("bee").await;
    let process = world.user.submit(brief(&world)).await.unwrap();
    bee.take().await;
    let first = world.now(&process).await.execdeadline;
    world.pass(OVER).await;
    let taken = bee.take().await;
    let second = world.now(&process).await.execdeadline;
    assert!(first.0 < taken.starttime.0 && taken.starttime.0 < second.0, "each lease has its deadline");
    assert_eq!((taken.execdeadline, taken.retries), (if world.is_exclusive() { first } else { second }, 1));
}

pub(crate) async fn a_wait_that_ends_fails_the_process(world: World) {
    let process = world.user.submit(FunctionSpec { maxwaittime: 1, ..world.job() }).await.unwrap();
    let deadline = process.waitdeadline.0.unwrap();
    assert_eq!(deadline.since(process.submissiontime.0.unwrap()), Duration::from_secs(1));
    let patient = world.user.submit(FunctionSpec { maxwaittime: 0, ..world.job() }).await.unwrap();
    assert_eq!(patient.waitdeadline.0, None);
    world.pass(OVER).await;
    let failed = world.failed(&process).await;
    assert_eq!(failed.errors, ["Maximum waiting time limit exceeded"]);
    assert_eq!((failed.starttime.0, failed.isassigned), (None, false));
    assert_eq!(world.now(&patient).await.state, ProcessState::Waiting);
}

pub(crate) async fn removing_an_executor_sends_its_processes_back_without_a_retry(world: World) {
    let bee = world.bee("bee").await;
    let process = world.taken_by(&bee).await;
    world.owner.remove_executor("bee").await.unwrap();
    let back = world.now(&process).await;
    assert_eq!((back.state, back.retries, back.isassigned), (ProcessState::Waiting, 0, false));
    assert_eq!((back.assignedexecutorid.as_str(), back.starttime.0, back.endtime.0), ("", None, None));
    let other = world.bee("other").await;
    assert_eq!(other.take().await.processid, process.processid);
    other.calls.close_successful(&process.id(), Vec::new()).await.unwrap();
}
