//! Asking for work: who gets which process, when, and what an empty wait looks like.

use std::collections::HashSet;
use std::time::Duration;

use colonies::client::Assignment;
use colonies::messages::{FunctionSpec, Process};
use serde_json::json;
use tokio::task::JoinSet;

use crate::world::{Bee, KIND, World};

/// Long enough for anything that is under way.
const LONG: Duration = Duration::from_secs(20);

pub(crate) async fn nothing_waiting_is_404(world: World) {
    let bee = world.bee("bee").await;
    let reply = world.send("assignprocessmsg", json!({"colonyname": world.colony, "timeout": 1}), &bee.key).await;
    assert_eq!(reply.refusal(), (404, "No process available for assignment"));
    assert_eq!(bee.calls.assign(Duration::from_secs(1)).await.unwrap(), Assignment::Nothing);
}

pub(crate) async fn a_timeout_of_zero_is_400(world: World) {
    let bee = world.bee("bee").await;
    let reply = world.send("assignprocessmsg", json!({"colonyname": world.colony, "timeout": 0}), &bee.key).await;
    assert_eq!(reply.refusal(), (400, "Invalid timeout value, timeout cannot be zero"));
}

pub(crate) async fn a_negative_timeout_does_not_wait(world: World) {
    let bee = world.bee("bee").await;
    assert_eq!(bee.take_at_once(&world).await, None);
    let process = world.submitted().await;
    assert_eq!(bee.take_at_once(&world).await.unwrap().processid, process.processid);
}

pub(crate) async fn a_user_that_asks_for_work_is_500(world: World) {
    let message = json!({"colonyname": world.colony, "timeout": 1});
    let reply = world.send("assignprocessmsg", message, &world.user_key).await;
    assert_eq!(reply.refusal(), (500, "Failed to assign process, executor not found"));
}

pub(crate) async fn a_waiting_call_is_woken_by_a_submission(world: World) {
    let bee = world.bee("bee").await;
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { bee.take().await });
    // Whichever comes first, the call gets the process well before its wait of 20 s ends.
    let process = world.submitted().await;
    let taken = tokio::time::timeout(LONG / 2, waiting.join_next()).await.expect("the call is woken");
    assert_eq!(taken.unwrap().unwrap().processid, process.processid);
}

/// Executors that wait for work at the same time, each until it gets some or `wait` is over.
async fn waiting_bees(world: &World, count: usize, wait: Duration) -> JoinSet<Option<Process>> {
    let mut waiting = JoinSet::new();
    for number in 0..count {
        let bee = world.bee(&format!("bee-{number}")).await;
        waiting.spawn(async move {
            match bee.calls.assign(wait).await.unwrap() {
                Assignment::Process(process) => Some(*process),
                Assignment::Nothing | Assignment::Paused => None,
            }
        });
    }
    waiting
}

pub(crate) async fn one_process_goes_to_one_of_many_waiting_calls(world: World) {
    let waiting = waiting_bees(&world, 5, Duration::from_secs(3)).await;
    let process = world.submitted().await;
    let taken: Vec<Process> = waiting.join_all().await.into_iter().flatten().collect();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].processid, process.processid);
}

pub(crate) async fn every_process_is_assigned_once(world: World) {
    let bees: Vec<Bee> = {
        let mut bees = Vec::new();
        for number in 0..4 {
            bees.push(world.bee(&format!("bee-{number}")).await);
        }
        bees
    };
    let mut submitted = HashSet::new();
    for _ in 0..20 {
        submitted.insert(world.submitted().await.processid);
    }
    let mut working = JoinSet::new();
    for bee in bees {
        let world = world.clone();
        working.spawn(async move {
            let mut taken = Vec::new();
            while let Some(process) = bee.take_at_once(&world).await {
                bee.calls.close_successful(&process.id(), Vec::new()).await.unwrap();
                taken.push(process.processid);
            }
            taken
        });
    }
    let taken: Vec<String> = working.join_all().await.into_iter().flatten().collect();
    assert_eq!(taken.len(), 20);
    assert_eq!(taken.into_iter().collect::<HashSet<_>>(), submitted);
    assert_eq!(world.user.statistics().await.unwrap().successfulprocesses, 20);
}

async fn submit_each(world: &World, jobs: impl IntoIterator<Item = (&'static str, FunctionSpec)>) {
    for (name, spec) in jobs {
        world.user.submit(FunctionSpec { nodename: name.to_owned(), ..spec }).await.unwrap();
    }
}

/// Takes processes until there are none left, and returns the names of their jobs.
async fn drain(world: &World, bee: &Bee) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(process) = bee.take_at_once(world).await {
        names.push(process.spec.nodename);
    }
    names
}

pub(crate) async fn higher_priority_runs_first_and_equals_in_their_order(world: World) {
    let bee = world.bee("bee").await;
    let job = |priority| FunctionSpec { priority, ..world.job() };
    let jobs = [
        ("first", job(0)),
        ("low", job(-1)),
        ("second", job(0)),
        ("high", job(5)),
        ("lowest", job(-50_000)),
        ("highest", job(50_000)),
        ("third", job(0)),
    ];
    submit_each(&world, jobs).await;
    assert_eq!(drain(&world, &bee).await, ["highest", "high", "first", "second", "third", "low", "lowest"]);
}

pub(crate) async fn one_step_of_priority_is_worth_a_day_of_waiting(world: World) {
    const DAY_NANOS: i64 = 86_400_000_000_000;
    for priority in [0, 1, -2, 50_000] {
        let process = world.user.submit(FunctionSpec { priority, ..world.job() }).await.unwrap();
        let submitted = process.submissiontime.0.unwrap().millis();
        assert_eq!((process.prioritytime + priority * DAY_NANOS) / 1_000_000, submitted, "priority {priority}");
    }
}

pub(crate) async fn type_and_names_of_executors_are_matched(world: World) {
    let one = world.bee("one").await;
    let two = world.bee("two").await;
    let other = world.bee_of("other", "other-type").await;
    let job = |kind: &str, names: Option<&[&str]>| {
        let mut spec = world.job();
        kind.clone_into(&mut spec.conditions.executortype);
        spec.conditions.executornames = names.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        spec
    };
    let jobs = [
        ("for two", job(KIND, Some(&["two"]))),
        ("for one", job(KIND, Some(&["nobody", "one"]))),
        ("for any", job(KIND, None)),
        ("for any too", job(KIND, Some(&[]))),
        ("for the other", job("other-type", None)),
        ("for one of another type", job("other-type", Some(&["one"]))),
    ];
    submit_each(&world, jobs).await;
    assert_eq!(drain(&world, &one).await, ["for one", "for any", "for any too"]);
    assert_eq!(drain(&world, &two).await, ["for two"]);
    assert_eq!(drain(&world, &other).await, ["for the other"]);
}

pub(crate) async fn a_lone_star_among_the_names_is_shown_as_none(world: World) {
    let bee = world.bee("bee").await;
    let mut spec = world.job();
    spec.conditions.executornames = Some(vec!["*".to_owned()]);
    let process = world.user.submit(spec).await.unwrap();
    assert_eq!(process.spec.conditions.executornames, Some(Vec::new()), "it looks as if anybody could have it");
    let is_offered = bee.take_at_once(&world).await.is_some();
    assert_eq!(is_offered, !world.is_exclusive(), "a leader takes the star for a name");
}

pub(crate) async fn assigning_while_paused_is_408_or_503(world: World) {
    let bee = world.bee("bee").await;
    world.owner.pause_assignments().await.unwrap();
    world.owner.pause_assignments().await.expect("pausing twice is harmless");
    let status = world.send("getpausestatusmsg", json!({"colonyname": world.colony}), &world.user_key).await;
    assert_eq!((status.payloadtype.as_str(), &status.payload["ispaused"]), ("pausestatusreplymsg", &json!(true)));
    world.submitted().await;
    for (timeout, refusal) in [
        (1, (408, "Assignment timeout: colony assignments are paused")),
        (-1, (503, "No processes available: colony assignments are paused")),
    ] {
        let message = json!({"colonyname": world.colony, "timeout": timeout});
        assert_eq!(world.send("assignprocessmsg", message, &bee.key).await.refusal(), refusal);
    }
    assert_eq!(bee.calls.assign(Duration::from_secs(1)).await.unwrap(), Assignment::Paused);
    // Another colony is not paused.
    let other = world.another().await;
    let free = other.bee("bee").await;
    other.taken_by(&free).await;
}

pub(crate) async fn submitting_while_paused_works_and_resuming_wakes(world: World) {
    let bee = world.bee("bee").await;
    world.owner.pause_assignments().await.unwrap();
    let process = world.submitted().await;
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { bee.take().await });
    world.owner.resume_assignments().await.unwrap();
    world.owner.resume_assignments().await.expect("resuming twice is harmless");
    let taken = tokio::time::timeout(LONG / 2, waiting.join_next()).await.expect("the call is woken");
    assert_eq!(taken.unwrap().unwrap().processid, process.processid);
}

pub(crate) async fn the_deadline_of_a_lease_follows_from_its_start(world: World) {
    let bee = world.bee("bee").await;
    let taken = world.taken_by(&bee).await;
    assert_eq!(taken.execdeadline.0.is_none(), world.is_exclusive(), "a leader answers before it knows the deadline");
    assert_eq!((taken.isassigned, taken.assignedexecutorid.as_str()), (true, bee.key.id().as_str()));
    let read = world.now(&taken).await;
    let (start, end) = (read.starttime.0.unwrap(), read.execdeadline.0.unwrap());
    assert_eq!(end.since(start), Duration::from_secs(30));
    assert_eq!(taken.lease_end().unwrap().since(start), Duration::from_secs(30));
}
