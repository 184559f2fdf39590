//! What only the embedded server has: bounds, a life that tests control, and a memory that can be kept or lost.

use std::time::Duration;

use colonies::client::{Assignment, ClientError, Member};
use colonies::messages::{Conditions, FunctionSpec, MessageType, ProcessState};
use colonies::server::{Bounds, EmbeddedServer, Memory, ServerOptions, StartError};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::world::{KIND, SERVER_KEY, Target, World, client, key, key_of, refused};

const LONG: Duration = Duration::from_secs(20);

/// A server with a colony `c`, and a user and an executor in it.
struct Small {
    server: EmbeddedServer,
    user: Member,
    bee: Member,
}

fn options() -> ServerOptions {
    ServerOptions::new(key_of(SERVER_KEY).id().clone())
}

async fn start(options: ServerOptions) -> EmbeddedServer {
    EmbeddedServer::start(options, CancellationToken::new()).await.unwrap()
}

async fn small(bounds: Bounds) -> Small {
    let server = start(ServerOptions { bounds, ..options() }).await;
    let client = client(&server.url());
    let (owner_key, user_key, bee_key) = (key(), key(), key());
    client.add_colony(&key_of(SERVER_KEY), "c", owner_key.id()).await.unwrap();
    let owner = client.owner("c", owner_key);
    owner.add_user("gateway", user_key.id()).await.unwrap();
    owner.add_executor("bee", KIND, bee_key.id()).await.unwrap();
    owner.approve_executor("bee").await.unwrap();
    Small { server, user: client.member("c", user_key), bee: client.member("c", bee_key) }
}

fn job() -> FunctionSpec {
    FunctionSpec {
        maxwaittime: -1,
        maxexectime: 30,
        conditions: Conditions { colonyname: "c".to_owned(), executortype: KIND.to_owned(), ..Conditions::default() },
        ..FunctionSpec::default()
    }
}

fn is_at_a_bound(error: &ClientError) -> bool {
    matches!(error, ClientError::Overloaded { status: 503, .. } | ClientError::ServerFault { status: 503, .. })
}

#[tokio::test]
async fn a_request_over_the_bound_is_refused_and_the_connection_lives() {
    let world = small(Bounds { body_bytes_max: 4096, ..Bounds::default() }).await;
    let large = FunctionSpec { args: vec![Value::from("x".repeat(8000))], ..job() };
    let error = refused(world.user.submit(large).await);
    assert!(error.to_string().contains("413"), "{error}");
    world.user.submit(job()).await.unwrap();
}

#[tokio::test]
async fn open_processes_are_bounded_by_number_and_by_bytes() {
    let world = small(Bounds { open_processes_max: 2, ..Bounds::default() }).await;
    world.user.submit(job()).await.unwrap();
    let second = world.user.submit(job()).await.unwrap();
    assert!(is_at_a_bound(&refused(world.user.submit(job()).await)));
    world.user.cancel(&second.id()).await.unwrap();
    world.user.submit(job()).await.expect("a place is free again");

    let world = small(Bounds { open_bytes_max: 4096, ..Bounds::default() }).await;
    let large = FunctionSpec { args: vec![Value::from("x".repeat(3000))], ..job() };
    assert!(is_at_a_bound(&refused(world.user.submit(large).await)));
    world.user.submit(job()).await.expect("a small one fits");
}

#[tokio::test]
async fn the_longest_finished_processes_are_forgotten_first() {
    for bounds in [
        Bounds { finished_processes_max: 2, ..Bounds::default() },
        // Room for two jobs of about 1.4 kB in base64, not for three.
        Bounds { finished_bytes_max: 4096, ..Bounds::default() },
    ] {
        let world = small(bounds).await;
        let mut ended = Vec::new();
        for _ in 0..3 {
            let spec = FunctionSpec { args: vec![Value::from("x".repeat(800))], ..job() };
            let process = world.user.submit(spec).await.unwrap();
            assert!(matches!(world.bee.assign(LONG).await.unwrap(), Assignment::Process(_)));
            world.bee.close_successful(&process.id(), Vec::new()).await.unwrap();
            ended.push(process.id());
        }
        let open = world.user.submit(job()).await.unwrap();
        let first = refused(world.user.process(&ended[0]).await);
        assert!(matches!(first, ClientError::UnknownProcess { .. }), "{first:?}");
        for kept in [&ended[1], &ended[2], &open.id()] {
            world.user.process(kept).await.unwrap();
        }
        assert_eq!(world.user.statistics().await.unwrap().successfulprocesses, 2);
    }
}

#[tokio::test]
async fn waiting_calls_are_bounded() {
    let world = small(Bounds { waiters_max: 1, ..Bounds::default() }).await;
    let mut waiting = JoinSet::new();
    for _ in 0..2 {
        let bee = world.bee.clone();
        waiting.spawn(async move { bee.assign(LONG).await });
    }
    // The server refuses one of the two at once; the other one waits on.
    let first = waiting.join_next().await.unwrap().unwrap();
    assert!(is_at_a_bound(&refused(first)));
    let process = world.user.submit(job()).await.unwrap();
    let second = waiting.join_next().await.unwrap().unwrap().unwrap();
    assert!(matches!(second, Assignment::Process(taken) if taken.processid == process.processid));
}

#[tokio::test]
async fn connections_over_the_bound_wait_until_one_ends() {
    let world = start(ServerOptions { bounds: Bounds { connections_max: 1, ..Bounds::default() }, ..options() }).await;
    let mut first = TcpStream::connect(world.local_addr()).await.unwrap();
    let request = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
    first.write_all(request).await.unwrap();
    let mut reply = [0; 12];
    first.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"HTTP/1.1 200");
    let mut second = TcpStream::connect(world.local_addr()).await.unwrap();
    second.write_all(request).await.unwrap();
    // The second one can get its answer only because the first one leaves.
    drop(first);
    second.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"HTTP/1.1 200");
}

/// Opens a connection and sends a part of a request.
async fn half_sent(server: &EmbeddedServer, part: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(part.as_bytes()).await.unwrap();
    stream
}

const HALF_A_BODY: &str = "POST /api HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";

#[tokio::test]
async fn headers_and_bodies_that_do_not_arrive_are_not_waited_for() {
    let brief = Duration::from_millis(50);
    let bounds = Bounds { headers_wait_max: brief, body_wait_max: brief, ..Bounds::default() };
    let world = small(bounds).await;
    let mut reply = String::new();
    half_sent(&world.server, HALF_A_BODY).await.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 408"), "{reply}");
    // The connection ends. The HTTP library chooses whether to send an answer first.
    let mut reply = Vec::new();
    let _ = half_sent(&world.server, "POST /api HT").await.read_to_end(&mut reply).await;
}

#[tokio::test]
async fn bodies_over_the_bound_wait_until_one_is_read() {
    let world = small(Bounds { bodies_max: 1, ..Bounds::default() }).await;
    let first = half_sent(&world.server, HALF_A_BODY).await;
    let (user, mut waiting) = (world.user.clone(), JoinSet::new());
    waiting.spawn(async move { user.submit(job()).await });
    // The second one can get its answer only because the first one breaks off.
    drop(first);
    waiting.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_call_for_work_waits_no_longer_than_the_bound() {
    let world = small(Bounds { work_wait_max: Duration::from_millis(50), ..Bounds::default() }).await;
    // Beyond 20 s, after its own deadline, the client would take this for a lost answer.
    assert_eq!(world.bee.assign(LONG).await.unwrap(), Assignment::Nothing);
}

#[tokio::test]
async fn a_stop_cuts_off_what_does_not_end() {
    let server = start(ServerOptions {
        bounds: Bounds { stop_wait_max: Duration::from_millis(50), body_wait_max: LONG * 10, ..Bounds::default() },
        ..options()
    })
    .await;
    let mut stuck = half_sent(&server, HALF_A_BODY).await;
    tokio::time::timeout(LONG, server.stop()).await.expect("it ends without the stuck request");
    let mut reply = Vec::new();
    assert!(!matches!(stuck.read_to_end(&mut reply).await, Ok(1..)), "the stuck request is not answered");
}

#[tokio::test]
async fn no_request_makes_the_server_fail() {
    let world = World::on(&Target::embedded().await).await;
    let bee = world.bee("bee").await;
    let others = ["rejectexecutormsg", "getexecutormsg", "getfunctionsmsg", "getlogsmsg", "getpausestatusmsg"];
    let more =
        ["getcolonymsg", "getusersmsg", "removeusermsg", "removecolonymsg", "", "\u{0}", "submitworkflowspecmsg"];
    let kinds = MessageType::ALL.iter().map(|kind| kind.as_str()).chain(others).chain(more);
    let deep = "[".repeat(200);
    let process = world.submitted().await.processid;
    for kind in kinds {
        let odd = json!({
            "msgtype": kind, "colonyname": world.colony, "processid": process, "executorname": "bee", "timeout": -1,
            "count": i64::MIN, "since": i64::MAX, "state": -1, "colony": [], "user": 7, "executor": {"state": 99},
            "spec": {"priority": i64::MIN, "maxexectime": i64::MIN, "maxretries": i64::MIN, "conditions": null},
        });
        let huge = json!({
            "msgtype": kind, "colonyname": world.colony, "timeout": i64::MIN,
            "spec": {
                "maxexectime": i64::MAX, "maxwaittime": i64::MAX, "maxretries": i64::MAX, "args": [1e308, -1e308],
                "conditions": {"colonyname": world.colony, "executortype": "", "cpu": "9999999999999999999m"},
            },
        });
        let tagged = json!({"msgtype": kind});
        for payload in [&odd.to_string(), &huge.to_string(), &tagged.to_string(), "null", "[]", "7", "", "{", &deep] {
            for key in [&world.user_key, &bee.key, &world.owner_key] {
                let reply = world.send_text(kind, payload, key).await;
                assert!((200..500).contains(&reply.status) || !reply.payload.is_null(), "{kind} {payload}: {reply:?}");
            }
        }
    }
    for body in ["{}", "{\"payload\": 5}", "{\"payloadtype\": null}", "\u{feff}{}", "[[[[", "{\"payloadtype\""] {
        assert!((400..500).contains(&world.post(body.to_owned()).await.status), "{body}");
    }
    world.pass(Duration::from_hours(1)).await;
    let (status, _, _) = world.get("/health").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn members_and_functions_are_bounded() {
    let world =
        start(ServerOptions { bounds: Bounds { members_max: 1, functions_max: 1, ..Bounds::default() }, ..options() })
            .await;
    let client = client(&world.url());
    let (owner_key, bee_key) = (key(), key());
    client.add_colony(&key_of(SERVER_KEY), "c", owner_key.id()).await.unwrap();
    assert!(is_at_a_bound(&refused(client.add_colony(&key_of(SERVER_KEY), "d", owner_key.id()).await)));
    let owner = client.owner("c", owner_key);
    owner.add_user("one", key().id()).await.unwrap();
    assert!(is_at_a_bound(&refused(owner.add_user("two", key().id()).await)));
    owner.add_executor("one", KIND, bee_key.id()).await.unwrap();
    assert!(is_at_a_bound(&refused(owner.add_executor("two", KIND, key().id()).await)));
    owner.approve_executor("one").await.unwrap();
    let bee = client.member("c", bee_key);
    bee.add_function("one", KIND, "f").await.unwrap();
    assert!(is_at_a_bound(&refused(bee.add_function("one", KIND, "g").await)));
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let open = ServerOptions { listen: "0.0.0.0:0".parse().unwrap(), ..options() };
    let error = EmbeddedServer::start(open, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, StartError::NotLoopback { .. }), "{error}");
}

#[tokio::test]
async fn a_port_in_use_is_said_to_be() {
    let first = start(options()).await;
    let same = ServerOptions { listen: first.local_addr(), ..options() };
    let error = EmbeddedServer::start(same, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
}

async fn kill(world: &mut Small) -> Memory {
    let stand_in = start(options()).await;
    let addr = world.server.local_addr();
    let memory = std::mem::replace(&mut world.server, stand_in).kill().await;
    let gone = TcpStream::connect(addr).await;
    assert!(gone.is_err(), "nothing listens after a kill");
    memory
}

#[tokio::test]
async fn a_killed_server_breaks_calls_and_can_be_started_again_without_its_memory() {
    let mut world = small(Bounds::default()).await;
    let addr = world.server.local_addr();
    let process = world.user.submit(job()).await.unwrap();
    let mut waiting = JoinSet::new();
    let bee = world.bee.clone();
    assert!(matches!(bee.assign(LONG).await.unwrap(), Assignment::Process(_)));
    waiting.spawn(async move { bee.assign(LONG).await });
    kill(&mut world).await;
    let broken = refused(waiting.join_next().await.unwrap().unwrap());
    assert!(
        matches!(broken, ClientError::Broken { .. } | ClientError::Unreachable { .. }),
        "the waiting call gets no answer: {broken:?}"
    );
    let again = start(ServerOptions { listen: addr, ..options() }).await;
    let error = refused(world.user.process(&process.id()).await);
    assert!(matches!(error, ClientError::UnknownProcess { .. }), "{error:?}");
    drop(again);
}

#[tokio::test]
async fn a_killed_server_can_be_started_again_with_its_memory() {
    let mut world = small(Bounds::default()).await;
    let addr = world.server.local_addr();
    let process = world.user.submit(job()).await.unwrap();
    let memory = kill(&mut world).await;
    let _again = start(ServerOptions { listen: addr, memory: Some(memory), ..options() }).await;
    let Assignment::Process(taken) = world.bee.assign(LONG).await.unwrap() else { panic!("the process is kept") };
    assert_eq!(taken.processid, process.processid);
    world.bee.close_successful(&process.id(), vec![json!(1)]).await.unwrap();
    assert_eq!(world.user.process(&process.id()).await.unwrap().state, ProcessState::Success);
}

#[tokio::test]
async fn a_stopped_server_answers_waiting_calls_and_frees_its_address() {
    let mut world = small(Bounds::default()).await;
    let mut waiting = JoinSet::new();
    let bee = world.bee.clone();
    waiting.spawn(async move { bee.assign(LONG).await });
    // Once the server has heard of the executor, the executor's call waits.
    while world.user.executors().await.unwrap()[0].lastheardfromtime.0.is_none() {
        tokio::task::yield_now().await;
    }
    let stand_in = start(options()).await;
    let stopped = std::mem::replace(&mut world.server, stand_in);
    let addr = stopped.local_addr();
    let memory = stopped.stop().await;
    assert!(is_at_a_bound(&refused(waiting.join_next().await.unwrap().unwrap())), "503: the server is stopping");
    let _again = start(ServerOptions { listen: addr, memory: Some(memory), ..options() }).await;
    world.user.submit(job()).await.unwrap();
}

#[tokio::test]
async fn the_shutdown_token_ends_the_server() {
    let shutdown = CancellationToken::new();
    let mut server = EmbeddedServer::start(options(), shutdown.clone()).await.unwrap();
    shutdown.cancel();
    tokio::time::timeout(LONG, server.ended()).await.expect("it ends");
    assert!(TcpStream::connect(server.local_addr()).await.is_err());
}

#[tokio::test]
async fn a_server_that_allows_it_replaces_executors_of_the_same_name() {
    let server = start(ServerOptions { allow_reregistration: true, ..options() }).await;
    let client = client(&server.url());
    let owner_key = key();
    client.add_colony(&key_of(SERVER_KEY), "c", owner_key.id()).await.unwrap();
    let owner = client.owner("c", owner_key);
    let (old, new) = (key(), key());
    owner.add_executor("bee", KIND, old.id()).await.unwrap();
    owner.approve_executor("bee").await.unwrap();
    owner.add_executor("bee", KIND, new.id()).await.unwrap();
    owner.approve_executor("bee").await.unwrap();
    let old = refused(client.member("c", old).executors().await);
    assert!(matches!(old, ClientError::NotMember { .. }), "{old:?}");
    client.member("c", new).add_function("bee", KIND, "f").await.unwrap();
}
