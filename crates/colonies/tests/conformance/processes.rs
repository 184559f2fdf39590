//! What a submitted job becomes, and how processes are read and listed.

use std::collections::BTreeMap;

use colonies::ProcessId;
use colonies::client::{ClientError, Search};
use colonies::messages::{Conditions, FunctionSpec, ProcessState, WireTime};
use serde_json::{Value, json};

use crate::world::{World, assert_refused, refused};

pub(crate) async fn numbers_come_back_as_doubles_and_strings_exactly(world: World) {
    let text = "{\"id\":\"evt_1\",\"note\":\"\u{e9} <b>&\u{2028} \\u0000 \u{1f41d}\", \"n\": 9007199254740993}";
    let spec = json!({
        "funcname": "f",
        "args": [text, 9_007_199_254_740_993_i64, 1.5, 3.0, true, null, {"deep": [9_007_199_254_740_993_i64]}],
        "kwargs": {"kid": "k1", "iat": "1700000000", "big": 9_007_199_254_740_993_i64},
        "conditions": {"colonyname": world.colony, "executortype": "t"},
    });
    let reply = world.send("submitfuncspecmsg", json!({"spec": spec}), &world.user_key).await;
    let spec = &reply.payload["spec"];
    let rounded = 9_007_199_254_740_992_i64;
    assert_eq!(spec["args"], json!([text, rounded, 1.5, 3, true, null, {"deep": [rounded]}]));
    assert_eq!(spec["kwargs"], json!({"kid": "k1", "iat": "1700000000", "big": rounded}));
    let id = &reply.payload["processid"];
    let read = world.send("getprocessmsg", json!({"processid": id}), &world.user_key).await;
    assert_eq!(&read.payload["spec"], spec);
}

pub(crate) async fn a_minimal_job_comes_back_with_every_default(world: World) {
    let spec = json!({"funcname": "f", "conditions": {"colonyname": world.colony, "executortype": "none"}});
    let reply = world.send("submitfuncspecmsg", json!({"spec": spec}), &world.user_key).await;
    let mut process = reply.payload;
    for generated in ["processid", "prioritytime", "submissiontime"] {
        assert!(process.as_object_mut().unwrap().remove(generated).is_some(), "{generated}");
    }
    let spec = process["spec"].take();
    assert_eq!(
        spec,
        json!({
            "nodename": "", "funcname": "f", "args": [], "kwargs": {}, "priority": 0, "maxwaittime": 0,
            "maxexectime": 0, "maxretries": 0, "label": "", "env": {},
            "fs": {"mount": "", "snapshots": null, "dirs": null},
            "conditions": {
                "colonyname": world.colony, "executornames": null, "executortype": "none", "dependencies": [],
                "nodes": 0, "cpu": "0m", "processes": 0, "processespernode": 0, "mem": "0Mi", "storage": "0Mi",
                "gpu": {"name": "", "mem": "0Mi", "count": 0, "nodecount": 0}, "walltime": 0,
            },
        })
    );
    let never = "0001-01-01T00:00:00Z";
    for unset in ["starttime", "endtime", "waitdeadline", "execdeadline"] {
        // Some servers write this in their database's time zone.
        let time: WireTime = serde_json::from_value(process[unset].take()).unwrap();
        process[unset] = serde_json::to_value(time).unwrap();
    }
    assert_eq!(
        process,
        json!({
            "initiatorid": world.user_key.id(), "initiatorname": "gateway", "assignedexecutorid": "",
            "isassigned": false, "state": 0, "starttime": never, "endtime": never, "waitdeadline": never,
            "execdeadline": never, "retries": 0, "attributes": [], "waitforparents": false, "parents": [],
            "children": [], "processgraphid": "", "in": [], "out": [], "errors": [], "spec": null,
        })
    );
}

pub(crate) async fn resources_come_back_normalised(world: World) {
    let with = |wanted: Conditions| {
        let base = world.job();
        let conditions =
            Conditions { colonyname: base.conditions.colonyname, executortype: base.conditions.executortype, ..wanted };
        FunctionSpec { conditions, ..world.job() }
    };
    let wanted = |cpu: &str, mem: &str, storage: &str| Conditions {
        cpu: cpu.to_owned(),
        mem: mem.to_owned(),
        storage: storage.to_owned(),
        ..Conditions::default()
    };
    let bee = world.bee("bee").await;
    let process = world.user.submit(with(wanted("500m", "1Gi", ""))).await.unwrap();
    let kept = &process.spec.conditions;
    assert_eq!((kept.cpu.as_str(), kept.mem.as_str(), kept.storage.as_str()), ("500m", "1024Mi", "0Mi"));
    assert_eq!(bee.take_at_once(&world).await.unwrap().processid, process.processid);
    world.user.submit(with(wanted("", "", "1Gi"))).await.unwrap();
    let is_offered = bee.take_at_once(&world).await.is_some();
    assert_eq!(is_offered, !world.is_exclusive(), "a leader has no disk on offer");
    let unread = refused(world.user.submit(with(wanted("xm", "", ""))).await).to_string();
    assert!(unread.contains("Error converting CPU to int"), "{unread}");
    let unread = refused(world.user.submit(with(wanted("", "12", ""))).await).to_string();
    assert!(unread.contains("error converting memory to int"), "{unread}");
}

pub(crate) async fn the_environment_becomes_attributes(world: World) {
    let bee = world.bee("bee").await;
    let env = BTreeMap::from([("traceparent".to_owned(), "00-x".to_owned())]);
    let process = world.user.submit(FunctionSpec { env: env.clone(), ..world.job() }).await.unwrap();
    assert_eq!(process.spec.env, env);
    let [attribute] = process.attributes.as_slice() else { panic!("one attribute: {:?}", process.attributes) };
    assert_eq!((attribute.key.as_str(), attribute.value.as_str()), ("traceparent", "00-x"));
    assert_eq!((attribute.attributetype, &attribute.targetid), (3, &process.processid));
    assert_eq!(attribute.state, ProcessState::Waiting);
    assert_eq!(bee.take().await.attributes[0].state, ProcessState::Waiting, "as it was before the assignment");
    assert_eq!(world.now(&process).await.attributes[0].state, ProcessState::Running);
    bee.calls.close_successful(&process.id(), Vec::new()).await.unwrap();
    assert_eq!(world.now(&process).await.attributes[0].state, ProcessState::Success);
}

pub(crate) async fn a_batch_of_a_megabyte_comes_back_whole(world: World) {
    let bee = world.bee("bee").await;
    let mut random = fastrand::Rng::with_seed(1);
    let batch: String = std::iter::repeat_with(|| random.alphanumeric()).take(1024 * 1024).collect();
    let spec = FunctionSpec { args: vec![Value::from(batch.as_str())], ..world.job() };
    world.user.submit(spec).await.unwrap();
    let taken = bee.take().await;
    assert!(taken.spec.args == [Value::from(batch)], "the batch comes back as it was");
    bee.calls.close_successful(&taken.id(), Vec::new()).await.unwrap();
}

pub(crate) async fn a_priority_outside_the_range_is_400(world: World) {
    for priority in [50_001, -50_001] {
        let submitted = world.user.submit(FunctionSpec { priority, ..world.job() }).await;
        let ClientError::Rejected { status, message } = refused(submitted) else { panic!("it is rejected") };
        assert_eq!(status, 400);
        assert_eq!(message, "Failed to submit function spec, priority outside range [-50000, 50000]");
    }
}

pub(crate) async fn an_unknown_process_is_404(world: World) {
    let asked = world.user.process(&ProcessId::new("00")).await;
    assert_refused!(asked, UnknownProcess, "Failed to get process, process not found");
}

/// The labels of the processes that the search finds, in their order.
async fn found(world: &World, search: Search) -> Vec<String> {
    let processes = world.user.processes(&search).await.unwrap();
    processes.into_iter().map(|process| process.spec.nodename).collect()
}

fn all(state: ProcessState) -> Search {
    Search { state, count: 100, ..Search::default() }
}

pub(crate) async fn processes_are_listed_by_state_in_order(world: World) {
    let bee = world.bee("bee").await;
    for (name, priority) in [("a", 0), ("b", 2), ("c", 1)] {
        let spec = FunctionSpec { nodename: name.to_owned(), priority, ..world.job() };
        world.user.submit(spec).await.unwrap();
    }
    assert_eq!(found(&world, all(ProcessState::Waiting)).await, ["b", "c", "a"], "as they will run");
    assert_eq!(found(&world, Search { count: 2, ..all(ProcessState::Waiting) }).await, ["b", "c"]);
    assert_eq!(found(&world, Search { count: 0, ..all(ProcessState::Waiting) }).await, [""; 0]);
    let (b, c, a) = (bee.take().await, bee.take().await, bee.take().await);
    assert_eq!(found(&world, all(ProcessState::Running)).await, ["b", "c", "a"], "by their start");
    for process in [&c, &a, &b] {
        bee.calls.close_successful(&process.id(), Vec::new()).await.unwrap();
    }
    assert_eq!(found(&world, all(ProcessState::Success)).await, ["b", "a", "c"], "the newest end first");
    assert_eq!(found(&world, all(ProcessState::Failed)).await, [""; 0]);
}

pub(crate) async fn of_several_filters_the_first_counts(world: World) {
    let bee = world.bee("bee").await;
    let job = |name: &str, label: &str, kind: &str| {
        let mut spec = FunctionSpec { nodename: name.to_owned(), label: label.to_owned(), ..world.job() };
        kind.clone_into(&mut spec.conditions.executortype);
        spec
    };
    world.user.submit(job("a", "x", "t")).await.unwrap();
    world.user.submit(job("b", "y", "t")).await.unwrap();
    bee.calls.submit(job("c", "x", "u")).await.unwrap();
    let search = |kind: &str, initiator: &str, label: &str| Search {
        executor_type: kind.to_owned(),
        initiator: initiator.to_owned(),
        label: label.to_owned(),
        ..all(ProcessState::Waiting)
    };
    for (search, names) in [
        (search("", "", "x"), vec!["a", "c"]),
        (search("", "gateway", ""), vec!["a", "b"]),
        (search("u", "", ""), vec!["c"]),
        (search("", "gateway", "x"), vec!["a", "b"]),
        (search("t", "gateway", "x"), vec!["a", "b"]),
        (search("none", "", ""), vec![]),
    ] {
        assert_eq!(found(&world, search.clone()).await, names, "{search:?}");
    }
    let unknown = refused(world.user.processes(&search("", "nobody", "")).await).to_string();
    assert!(unknown.contains("User <nobody> does not exist"), "{unknown}");
}

pub(crate) async fn a_count_above_one_hundred_is_400(world: World) {
    let message = json!({"colonyname": world.colony, "count": 101, "state": 0});
    let reply = world.send("getprocessesmsg", message, &world.user_key).await;
    assert_eq!(reply.refusal(), (400, "Count is larger than MaxCount limit <100>"));
}

pub(crate) async fn a_state_that_does_not_exist_is_400(world: World) {
    let message = json!({"colonyname": world.colony, "count": 1, "state": 9});
    assert_eq!(world.send("getprocessesmsg", message, &world.user_key).await.status, 400);
}
