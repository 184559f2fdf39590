//! Who may do what: owners, users, executors and strangers.

use std::time::Duration;

use colonies::client::{Assignment, ClientError};
use colonies::messages::{ExecutorState, Statistics, WireTime};
use serde_json::json;

use crate::world::{KIND, World, assert_refused, key, refused};

pub(crate) async fn only_the_servers_owner_adds_colonies(world: World) {
    let added = world.client.add_colony(&world.owner_key, "another", key().id()).await;
    assert_refused!(added, AccessDenied, "Access denied, not server owner");
}

pub(crate) async fn only_the_colonys_owner_adds_users_and_executors(world: World) {
    let bee = world.bee("bee").await;
    for key in [&world.user_key, &world.server_key, &bee.key, &key()] {
        let nobody = world.client.owner(world.colony.as_str(), key.clone());
        assert_refused!(nobody.add_user("two", key.id()).await, AccessDenied, "Access denied, not colony owner");
        let added = nobody.add_executor("two", KIND, key.id()).await;
        assert_refused!(added, AccessDenied, "Access denied, not colony owner");
    }
}

pub(crate) async fn only_the_colonys_owner_approves_removes_and_pauses(world: World) {
    let bee = world.pending_bee("bee", KIND).await;
    for key in [&world.user_key, &world.server_key, &bee.key] {
        let nobody = world.client.owner(world.colony.as_str(), key.clone());
        assert_refused!(nobody.approve_executor("bee").await, AccessDenied, "Access denied, not colony owner");
        assert_refused!(nobody.remove_executor("bee").await, AccessDenied, "Access denied, not colony owner");
        assert_refused!(nobody.pause_assignments().await, AccessDenied, "Access denied, not colony owner");
        assert_refused!(nobody.resume_assignments().await, AccessDenied, "Access denied, not colony owner");
    }
}

fn not_a_member(world: &World) -> String {
    format!("Access denied, not a member of Colony with name <{}>", world.colony)
}

pub(crate) async fn strangers_may_do_nothing(world: World) {
    let process = world.submitted().await;
    let stranger = world.member(&key());
    let words = not_a_member(&world);
    assert_refused!(stranger.submit(world.job()).await, NotMember, words);
    assert_refused!(stranger.process(&process.id()).await, NotMember, words);
    assert_refused!(stranger.processes(&colonies::client::Search::default()).await, NotMember, words);
    assert_refused!(stranger.cancel(&process.id()).await, NotMember, words);
    assert_refused!(stranger.assign(Duration::from_secs(1)).await, NotMember, words);
    assert_refused!(stranger.close_successful(&process.id(), Vec::new()).await, NotMember, words);
    assert_refused!(stranger.close_failed(&process.id(), Vec::new()).await, NotMember, words);
    assert_refused!(stranger.add_log(&process.id(), "line").await, NotMember, words);
    assert_refused!(stranger.executors().await, NotMember, words);
    assert_refused!(stranger.add_function("bee", KIND, "f").await, NotMember, words);
    assert_refused!(stranger.change_user_id(key().id()).await, NotMember, words);
    assert_refused!(stranger.change_executor_id(key().id()).await, NotMember, words);
}

pub(crate) async fn the_colonys_owner_is_no_member(world: World) {
    let owner = world.member(&world.owner_key);
    assert_refused!(owner.submit(world.job()).await, NotMember, not_a_member(&world));
    assert_refused!(owner.executors().await, NotMember, not_a_member(&world));
}

pub(crate) async fn members_of_another_colony_are_strangers(world: World) {
    let process = world.submitted().await;
    let other = world.another().await;
    let bee = other.bee("bee").await;
    for key in [&other.user_key, &bee.key] {
        let stranger = world.member(key);
        assert_refused!(stranger.submit(world.job()).await, NotMember, not_a_member(&world));
        assert_refused!(stranger.process(&process.id()).await, NotMember, not_a_member(&world));
    }
    assert_refused!(world.member(&bee.key).assign(Duration::from_secs(1)).await, NotMember, not_a_member(&world));
    assert_eq!(bee.take_at_once(&other).await, None, "the other colony's process is not for it");
}

pub(crate) async fn an_approved_executor_may_submit_read_and_cancel(world: World) {
    let bee = world.bee("bee").await;
    let process = bee.calls.submit(world.job()).await.unwrap();
    assert_eq!((process.initiatorname.as_str(), process.initiatorid.as_str()), ("bee", bee.key.id().as_str()));
    let read = bee.calls.process(&process.id()).await.unwrap();
    assert_eq!(read.processid, process.processid);
    bee.calls.cancel(&process.id()).await.unwrap();
}

pub(crate) async fn names_that_exist_are_refused(world: World) {
    let colony = &world.colony;
    let again = world.client.add_colony(&world.server_key, colony, key().id()).await;
    assert_refused!(again, AlreadyExists, format!("A Colony with name <{colony}> already exists"));
    let again = world.owner.add_user("gateway", key().id()).await;
    let words = format!("A user with name <gateway> already exists in Colony with name <{colony}>");
    assert_refused!(again, AlreadyExists, words);
    let _ = world.pending_bee("bee", KIND).await;
    // A server may be set to replace executors instead.
    if let Err(error) = world.owner.add_executor("bee", KIND, key().id()).await {
        let words = format!("Executor with name <bee> in Colony <{colony}> already exists");
        assert!(matches!(&error, ClientError::AlreadyExists { message } if *message == words), "{error:?}");
    }
}

pub(crate) async fn an_executor_that_is_not_approved_may_do_nothing(world: World) {
    let bee = world.pending_bee("bee", KIND).await;
    let process = world.submitted().await;
    assert_refused!(bee.calls.assign(Duration::from_secs(1)).await, NotMember, not_a_member(&world));
    assert_refused!(bee.calls.submit(world.job()).await, NotMember, not_a_member(&world));
    assert_refused!(bee.calls.process(&process.id()).await, NotMember, not_a_member(&world));
    assert_refused!(bee.calls.add_function("bee", KIND, "f").await, NotMember, not_a_member(&world));
    bee.calls.executors().await.expect("it may see who is there");
    world.owner.approve_executor("bee").await.unwrap();
    world.owner.approve_executor("bee").await.expect("approving twice is harmless");
    assert_eq!(bee.take().await.processid, process.processid);
}

pub(crate) async fn a_rejected_executor_may_do_nothing_until_it_is_approved(world: World) {
    let bee = world.bee("bee").await;
    let process = world.taken_by(&bee).await;
    let message = json!({"colonyname": world.colony, "executorname": "bee"});
    let by_user = world.send("rejectexecutormsg", message.clone(), &world.user_key).await;
    assert_eq!(by_user.refusal(), (403, "Access denied, not colony owner"));
    assert_eq!(world.send("rejectexecutormsg", message, &world.owner_key).await.status, 200);
    assert_eq!(world.user.executors().await.unwrap()[0].state, ExecutorState::Rejected);
    assert_refused!(bee.calls.assign(Duration::from_secs(1)).await, NotMember, not_a_member(&world));
    let closed = bee.calls.close_successful(&process.id(), Vec::new()).await;
    assert_refused!(closed, NotMember, not_a_member(&world));
    world.owner.approve_executor("bee").await.unwrap();
    bee.calls.close_successful(&process.id(), Vec::new()).await.unwrap();
}

pub(crate) async fn an_unknown_executor_cannot_be_approved_or_removed(world: World) {
    for (kind, words) in [
        ("approveexecutormsg", "Failed to approve executor, executor is nil"),
        ("rejectexecutormsg", "Failed to reject executor, executor is nil"),
        ("removeexecutormsg", "Failed to remove executor, executor is nil"),
    ] {
        let message = json!({"colonyname": world.colony, "executorname": "nobody"});
        assert_eq!(world.send(kind, message, &world.owner_key).await.refusal(), (500, words), "{kind}");
    }
}

pub(crate) async fn a_removed_executor_may_do_nothing_and_keeps_its_name(world: World) {
    let bee = world.bee("bee").await;
    world.owner.remove_executor("bee").await.unwrap();
    world.owner.remove_executor("bee").await.expect("removing twice is harmless");
    assert_refused!(bee.calls.assign(Duration::from_secs(1)).await, NotMember, not_a_member(&world));
    assert_refused!(bee.calls.submit(world.job()).await, NotMember, not_a_member(&world));
    assert_eq!(world.user.executors().await.unwrap()[0].state, ExecutorState::Unregistered);
    // A server may be set to let names be taken again.
    match world.owner.add_executor("bee", KIND, bee.key.id()).await {
        Ok(executor) => assert_eq!(executor.state, ExecutorState::Pending),
        Err(error) => assert!(matches!(error, ClientError::AlreadyExists { .. }), "{error:?}"),
    }
}

pub(crate) async fn a_new_approval_brings_a_removed_executor_back(world: World) {
    let bee = world.bee("bee").await;
    world.owner.remove_executor("bee").await.unwrap();
    world.owner.approve_executor("bee").await.unwrap();
    let process = world.submitted().await;
    assert_eq!(bee.take().await.processid, process.processid);
}

pub(crate) async fn an_executor_that_was_heard_of_but_not_lately_is_removed(world: World) {
    let Some(stale_after) = world.stale_after() else {
        eprintln!("SKIPPED on this server: COLONIES_TEST_STALE_SECONDS is not set");
        return;
    };
    let bee = world.bee("bee").await;
    let _never_heard = world.bee("quiet").await;
    assert_eq!(bee.take_at_once(&world).await, None);
    world.pass(stale_after + Duration::from_secs(61)).await;
    let states: Vec<(String, ExecutorState)> = world
        .user
        .executors()
        .await
        .unwrap()
        .into_iter()
        .map(|executor| (executor.executorname, executor.state))
        .collect();
    assert!(states.contains(&("bee".to_owned(), ExecutorState::Unregistered)), "{states:?}");
    assert!(states.contains(&("quiet".to_owned(), ExecutorState::Approved)), "{states:?}");
    assert_refused!(bee.calls.assign(Duration::from_secs(1)).await, NotMember, not_a_member(&world));
}

pub(crate) async fn a_colony_that_does_not_exist_is_403(world: World) {
    let nowhere = world.client.member("no-such-colony", world.user_key.clone());
    let words = "Colony with name <no-such-colony> does not exists";
    assert_refused!(nowhere.assign(Duration::from_secs(1)).await, UnknownColony, words);
    assert_refused!(nowhere.executors().await, UnknownColony, words);
    let owner = world.client.owner("no-such-colony", world.owner_key.clone());
    assert_refused!(owner.pause_assignments().await, UnknownColony, words);
    assert_refused!(owner.add_executor("bee", KIND, key().id()).await, UnknownColony, words);
    let reply = world.send("pauseassignmentsmsg", json!({"colonyname": ""}), &world.owner_key).await;
    assert_eq!(reply.refusal(), (403, "Empty Colony name"));
    let user = json!({"user": {"colonyname": "no-such-colony", "userid": key().id(), "name": "u"}});
    assert_eq!(world.send("addusermsg", user, &world.owner_key).await.refusal(), (400, words));
    let reply = world.send("getcolonystatsmsg", json!({"colonyname": "no-such-colony"}), &world.user_key).await;
    assert_eq!(reply.refusal(), (400, "Colony with name <no-such-colony> not found"));
}

pub(crate) async fn executors_are_listed_with_their_states(world: World) {
    let bee = world.bee("bee").await;
    let _pending = world.pending_bee("newcomer", "other-type").await;
    let executors = world.user.executors().await.unwrap();
    let mut shown: Vec<_> = executors
        .iter()
        .map(|executor| (executor.executorname.as_str(), executor.executortype.as_str(), executor.state))
        .collect();
    shown.sort_unstable_by_key(|executor| executor.0);
    assert_eq!(shown, [("bee", KIND, ExecutorState::Approved), ("newcomer", "other-type", ExecutorState::Pending)]);
    assert!(executors.iter().all(|executor| executor.lastheardfromtime.0.is_none()), "nobody asked for work yet");
    assert_eq!(bee.take_at_once(&world).await, None);
    let message = json!({"colonyname": world.colony, "executorname": "bee"});
    let heard = world.send("getexecutormsg", message, &world.user_key).await;
    let time: WireTime = serde_json::from_value(heard.payload["lastheardfromtime"].clone()).unwrap();
    assert!(time.0.is_some(), "asking for work counts as a sign of life");
    assert_eq!(heard.payload["executorid"], bee.key.id().as_str());
}

pub(crate) async fn statistics_count_executors_and_processes(world: World) {
    let bee = world.bee("bee").await;
    let _pending = world.pending_bee("newcomer", KIND).await;
    let _removed = world.bee("gone").await;
    world.owner.remove_executor("gone").await.unwrap();
    let closed = world.taken_by(&bee).await;
    bee.calls.close_successful(&closed.id(), Vec::new()).await.unwrap();
    let failed = world.taken_by(&bee).await;
    bee.calls.close_failed(&failed.id(), Vec::new()).await.unwrap();
    let cancelled = world.submitted().await;
    world.user.cancel(&cancelled.id()).await.unwrap();
    let _running = world.taken_by(&bee).await;
    for _ in 0..2 {
        world.submitted().await;
    }
    let expected = Statistics {
        colonies: 1,
        executors: 3,
        activeexecutors: 1,
        unregisteredexecutors: 1,
        waitingprocesses: 2,
        runningprocesses: 1,
        successfulprocesses: 1,
        failedprocesses: 1,
        cancelledprocesses: 1,
        ..Statistics::default()
    };
    assert_eq!(world.user.statistics().await.unwrap(), expected);
}

pub(crate) async fn statistics_for_a_stranger_are_an_empty_success(world: World) {
    let reply = world.send("getcolonystatsmsg", json!({"colonyname": world.colony}), &key()).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    let stranger = refused(world.member(&key()).statistics().await);
    assert!(matches!(stranger, ClientError::NotMember { .. }), "the client tells what it means: {stranger:?}");
}

pub(crate) async fn an_executor_registers_its_own_functions_only(world: World) {
    let bee = world.bee("bee").await;
    let other = world.bee("other").await;
    let function = bee.calls.add_function("bee", KIND, "validate_revenue").await.unwrap();
    assert_eq!((function.functionid.len(), function.counter), (64, 0));
    let again = bee.calls.add_function("bee", KIND, "validate_revenue").await.unwrap();
    assert_ne!(again.functionid, function.functionid, "the server notes it each time");
    let not_own = "Not allowed to add a function to another executor";
    let message = json!({"fun": {"colonyname": world.colony, "executorname": "bee", "funcname": "f"}});
    for key in [&other.key, &world.user_key] {
        assert_eq!(world.send("addfunctionmsg", message.clone(), key).await.refusal(), (403, not_own));
    }
    let missing = refused(bee.calls.add_function("nobody", KIND, "f").await);
    assert!(missing.to_string().ends_with("Executor with name <nobody> does not exist"), "{missing}");
    assert_eq!(other.calls.assign(Duration::from_secs(1)).await.unwrap(), Assignment::Nothing);
}
