//! Replacing ids in place: the new key works from the answer on, the old one no more.

use std::time::Duration;

use serde_json::json;

use crate::world::{World, assert_refused, key};

fn not_a_member(world: &World) -> String {
    format!("Access denied, not a member of Colony with name <{}>", world.colony)
}

pub(crate) async fn a_users_id_is_replaced_in_place(world: World) {
    let process = world.submitted().await;
    let new = key();
    let message = json!({"colonyname": world.colony, "userid": new.id()});
    let reply = world.send("changeuseridmsg", message, &world.user_key).await;
    let echo = json!({"colonyname": world.colony, "userid": new.id(), "msgtype": "changeuseridmsg"});
    assert_eq!((reply.status, &reply.payload), (200, &echo));
    assert_refused!(world.user.process(&process.id()).await, NotMember, not_a_member(&world));
    let renewed = world.user.with_key(new);
    assert_eq!(renewed.process(&process.id()).await.unwrap().initiatorid, world.user_key.id().as_str());
    assert_eq!(renewed.submit(world.job()).await.unwrap().initiatorname, "gateway");
}

pub(crate) async fn an_executors_id_is_replaced_in_place(world: World) {
    let bee = world.bee("bee").await;
    let new = key();
    bee.calls.change_executor_id(new.id()).await.unwrap();
    let renewed = bee.calls.with_key(new.clone());
    let process = world.submitted().await;
    assert_refused!(bee.calls.assign(Duration::from_secs(1)).await, NotMember, not_a_member(&world));
    let taken = renewed.assign(Duration::from_secs(20)).await.unwrap();
    let colonies::client::Assignment::Process(taken) = taken else { panic!("{taken:?}") };
    assert_eq!((&taken.processid, taken.assignedexecutorid.as_str()), (&process.processid, new.id().as_str()));
    renewed.close_successful(&process.id(), Vec::new()).await.unwrap();
    let executor = &world.user.executors().await.unwrap()[0];
    assert_eq!((executor.executorname.as_str(), executor.executorid.as_str()), ("bee", new.id().as_str()));
}

pub(crate) async fn a_lease_is_not_carried_over_to_the_new_id(world: World) {
    let bee = world.bee("bee").await;
    let process = world.taken_by(&bee).await.id();
    let new = key();
    bee.calls.change_executor_id(new.id()).await.unwrap();
    let renewed = bee.calls.with_key(new);
    let words = "Failed to close process as successful, not allowed to close process as successful";
    assert_refused!(renewed.close_successful(&process, Vec::new()).await, LeaseLost, words);
    assert_refused!(bee.calls.close_successful(&process, Vec::new()).await, NotMember, not_a_member(&world));
}

pub(crate) async fn a_colonys_id_is_replaced_by_its_owner(world: World) {
    let new = key();
    let by_server = world.client.owner(world.colony.as_str(), world.server_key.clone());
    assert_refused!(by_server.change_colony_id(new.id()).await, AccessDenied, "Access denied, not colony owner");
    world.owner.change_colony_id(new.id()).await.unwrap();
    assert_refused!(world.owner.pause_assignments().await, AccessDenied, "Access denied, not colony owner");
    world.client.owner(world.colony.as_str(), new).resume_assignments().await.unwrap();
    world.submitted().await;
}

pub(crate) async fn an_id_of_another_length_is_refused(world: World) {
    let bee = world.bee("bee").await;
    let colony = &world.colony;
    for (kind, field, what, signer) in [
        ("changeuseridmsg", "userid", "user", &world.user_key),
        ("changeexecutoridmsg", "executorid", "executor", &bee.key),
        ("changecolonyidmsg", "colonyid", "colony", &world.owner_key),
    ] {
        for (id, problem) in
            [("12", format!("new {what} Id is not 64 characters")), ("", format!("{what} Id is empty"))]
        {
            let reply = world.send(kind, json!({"colonyname": colony, field: id}), signer).await;
            assert_eq!(reply.refusal(), (400, format!("Failed to change {what} Id, {problem}").as_str()));
        }
    }
    let message = json!({"colonyname": colony, "userid": key().id()});
    let by_bee = world.send("changeuseridmsg", message, &bee.key).await;
    assert_eq!(by_bee.refusal(), (400, "Failed to change user Id, user not found"));
    let message = json!({"colonyname": colony, "executorid": key().id()});
    let by_user = world.send("changeexecutoridmsg", message, &world.user_key).await;
    assert_eq!(by_user.refusal(), (400, "Failed to change executor Id, executor not found"));
}
