//! How processes end: successful, failed, cancelled, and who may say so.

use colonies::messages::ProcessState;
use serde_json::json;

use crate::world::{KIND, World, assert_refused};

const NOT_ALLOWED: &str = "Failed to close process as successful, not allowed to close process as successful";

pub(crate) async fn a_successful_process_keeps_its_output(world: World) {
    let bee = world.bee("bee").await;
    let process = world.taken_by(&bee).await;
    let output = vec![json!({"applied": 2, "ids": ["evt_1", "evt_2"]}), json!("text"), json!(null)];
    bee.calls.close_successful(&process.id(), output.clone()).await.unwrap();
    let closed = world.now(&process).await;
    assert_eq!((closed.state, closed.out), (ProcessState::Success, output));
    assert_eq!((closed.isassigned, closed.assignedexecutorid.as_str()), (true, bee.key.id().as_str()));
    assert!(closed.endtime.0.is_some());
    assert_eq!(bee.take_at_once(&world).await, None);
}

pub(crate) async fn closing_twice_as_successful_replaces_the_output(world: World) {
    let bee = world.bee("bee").await;
    let process = world.taken_by(&bee).await;
    bee.calls.close_successful(&process.id(), vec![json!("first")]).await.unwrap();
    bee.calls.close_successful(&process.id(), vec![json!("second")]).await.unwrap();
    assert_eq!(world.now(&process).await.out, [json!("second")]);
    bee.calls.close_successful(&process.id(), Vec::new()).await.unwrap();
    assert_eq!(world.now(&process).await.out, [json!("second")], "no output replaces nothing");
    assert_eq!(world.user.statistics().await.unwrap().successfulprocesses, 1);
}

pub(crate) async fn a_failed_process_is_final_and_not_retried(world: World) {
    let bee = world.bee("bee").await;
    let process = world.taken_by(&bee).await;
    bee.calls.close_failed(&process.id(), vec!["guardian: blocked".to_owned()]).await.unwrap();
    let failed = world.now(&process).await;
    assert_eq!((failed.state, failed.retries), (ProcessState::Failed, 0));
    assert_eq!(failed.errors, ["guardian: blocked"]);
    assert_eq!(bee.take_at_once(&world).await, None);
}

pub(crate) async fn a_process_ends_once(world: World) {
    let bee = world.bee("bee").await;
    let successful = world.taken_by(&bee).await.id();
    bee.calls.close_successful(&successful, Vec::new()).await.unwrap();
    let failed = world.taken_by(&bee).await.id();
    bee.calls.close_failed(&failed, Vec::new()).await.unwrap();
    let again = bee.calls.close_failed(&successful, Vec::new()).await;
    assert_refused!(again, AlreadyEnded, "Tried to set successful process as failed");
    let again = bee.calls.close_failed(&failed, Vec::new()).await;
    assert_refused!(again, AlreadyEnded, "Tried to set failed process as failed");
    let again = bee.calls.close_successful(&failed, Vec::new()).await;
    assert_refused!(again, AlreadyEnded, "Tried to set failed process as successful");
    assert_refused!(world.user.cancel(&successful).await, AlreadyEnded, "Tried to cancel successful process");
    assert_refused!(world.user.cancel(&failed).await, AlreadyEnded, "Tried to cancel failed process");
}

pub(crate) async fn only_the_assigned_executor_may_close(world: World) {
    let bee = world.bee("bee").await;
    let other = world.bee("other").await;
    let process = world.taken_by(&bee).await.id();
    for member in [&other.calls, &world.user] {
        assert_refused!(member.close_successful(&process, Vec::new()).await, LeaseLost, NOT_ALLOWED);
        assert_refused!(
            member.close_failed(&process, Vec::new()).await,
            LeaseLost,
            "Failed to close process as failed, not allowed to close process as failed"
        );
    }
    bee.calls.close_successful(&process, Vec::new()).await.unwrap();
    assert_refused!(other.calls.close_successful(&process, Vec::new()).await, LeaseLost, NOT_ALLOWED);
}

pub(crate) async fn an_unassigned_process_cannot_be_closed(world: World) {
    let bee = world.bee("bee").await;
    let process = world.submitted().await.id();
    let closed = bee.calls.close_successful(&process, Vec::new()).await;
    assert_refused!(closed, LeaseLost, "Failed to close process as successful, process is not assigned");
    let closed = bee.calls.close_failed(&process, Vec::new()).await;
    assert_refused!(closed, LeaseLost, "Failed to close process as failed, process is not assigned");
}

pub(crate) async fn an_unknown_process_cannot_be_closed(world: World) {
    let bee = world.bee("bee").await;
    for (kind, words) in [
        ("closesuccessfulmsg", "Failed to close process as successful, process is nil"),
        ("closefailedmsg", "Failed to close process as failed, process is nil"),
        ("cancelprocessmsg", "Failed to cancel process, process is nil"),
        ("addlogmsg", "Failed to add log, process is nil"),
    ] {
        let reply = world.send(kind, json!({"processid": "00"}), &bee.key).await;
        assert_eq!(reply.refusal(), (500, words), "{kind}");
    }
}

pub(crate) async fn a_cancelled_process_stays_cancelled(world: World) {
    let bee = world.bee("bee").await;
    let waiting = world.submitted().await;
    world.user.cancel(&waiting.id()).await.unwrap();
    assert_refused!(world.user.cancel(&waiting.id()).await, AlreadyEnded, "Tried to cancel already cancelled process");
    assert_eq!(bee.take_at_once(&world).await, None);
    let running = world.taken_by(&bee).await;
    world.user.cancel(&running.id()).await.unwrap();
    let closed = bee.calls.close_successful(&running.id(), vec![json!("too late")]).await;
    assert_refused!(closed, AlreadyEnded, "Tried to set cancelled process as successful");
    let closed = bee.calls.close_failed(&running.id(), Vec::new()).await;
    assert_refused!(closed, AlreadyEnded, "Tried to set cancelled process as failed");
    let cancelled = world.now(&running).await;
    assert_eq!((cancelled.state, cancelled.isassigned), (ProcessState::Cancelled, true));
    assert_eq!(cancelled.out, [json!("too late")], "the output is kept although the call is refused");
}

pub(crate) async fn only_the_assigned_executor_may_log_and_only_while_it_runs(world: World) {
    let bee = world.bee("bee").await;
    let other = world.bee("other").await;
    let process = world.taken_by(&bee).await.id();
    let log = |key| {
        let world = &world;
        let message = json!({"processid": process, "message": "line"});
        async move { world.send("addlogmsg", message, key).await }
    };
    let words = "Failed to add log, not allowed to add log, only the assigned Executor may att logs";
    assert_eq!(log(&other.key).await.refusal(), (403, words));
    assert_eq!(log(&world.user_key).await.refusal(), (403, words));
    bee.calls.add_log(&process, "first").await.unwrap();
    bee.calls.add_log(&process, "second").await.unwrap();
    let read = |extra: serde_json::Value| {
        let world = &world;
        let mut message = json!({"colonyname": world.colony, "processid": process, "count": 10});
        message.as_object_mut().unwrap().append(&mut extra.as_object().unwrap().clone());
        async move {
            let reply = world.send("getlogsmsg", message, &world.user_key).await;
            let lines = reply.payload.as_array().cloned().unwrap_or_default();
            lines.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        }
    };
    assert_eq!(read(json!({})).await, ["first", "second"]);
    assert_eq!(read(json!({"count": 1})).await, ["first"]);
    assert_eq!(read(json!({"count": 1, "latest": true})).await, ["second"]);
    let message = json!({"colonyname": world.colony, "processid": process, "count": 501});
    let too_many = world.send("getlogsmsg", message, &world.user_key).await;
    assert_eq!(too_many.refusal(), (403, "Count exceeds max log count (500)"));
    bee.calls.close_successful(&process, Vec::new()).await.unwrap();
    assert_eq!(log(&bee.key).await.refusal(), (403, "Failed to set output, process is not running"));
}

pub(crate) async fn closing_counts_the_call_of_a_function(world: World) {
    let bee = world.bee("bee").await;
    bee.calls.add_function("bee", KIND, "validate_revenue").await.unwrap();
    bee.calls.add_function("bee", KIND, "other").await.unwrap();
    for _ in 0..2 {
        let process = world.taken_by(&bee).await;
        bee.calls.close_successful(&process.id(), Vec::new()).await.unwrap();
    }
    let message = json!({"colonyname": world.colony, "executorname": "bee"});
    let functions = world.send("getfunctionsmsg", message, &world.user_key).await.payload;
    let mut counters: Vec<_> = functions
        .as_array()
        .unwrap()
        .iter()
        .map(|function| (function["funcname"].as_str().unwrap(), function["counter"].as_i64().unwrap()))
        .collect();
    counters.sort_unstable();
    assert_eq!(counters, [("other", 0), ("validate_revenue", 2)]);
}
