//! Those whom nothing may be believed: a Colonies server that says of every process that it is done, a bee that says so
//! of every job, and a bee that does every job for another ledger.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use colonies::client::{Assignment, Member};
use colonies::messages::{
    CancelProcess, FunctionSpec, GetColonyStatistics, GetProcess, Process, ProcessState, ReplyEnvelope,
    RequestEnvelope, SealedReply, Statistics, SubmitFunctionSpec,
};
use colony_gateway::domain::outcome::OutcomeName;
use colony_gateway::job::batch::{self, Encoding};
use colony_gateway::job::completion::{EventResult, JobResult};
use colony_gateway::pipeline::event_id;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::account::Figures;
use crate::bee::Bees;
use crate::gateway::Gateway;
use crate::load::Load;
use crate::rounds::Rounds;
use crate::world::World;

/// Deliveries of a round.
const DELIVERIES: u64 = 400;

/// All that is claimed of a job: every event in it was applied.
fn all_applied(spec: &FunctionSpec) -> JobResult {
    let text = spec.args.first().and_then(|arg| arg.as_str()).unwrap_or_default();
    let encoding = spec.kwargs.get("encoding").and_then(|name| name.as_str()).unwrap_or_default();
    let events = Encoding::from_name(encoding).and_then(|encoding| batch::decode(text, encoding).ok());
    let result = |event: &serde_json::value::RawValue| EventResult {
        event: event_id(event.get().as_bytes()),
        outcome: OutcomeName::Applied,
        code: None,
        reason: None,
    };
    JobResult::new(events.unwrap_or_default().iter().map(|event| result(event)).collect())
}

/// Lets deliveries through a gateway whose colony is not to be believed, and takes the account.
fn hold(scenario: &str, world: &World, returned: &str) {
    let rounds = Rounds::of(1);
    let load = Load::start(rounds.seed);
    let mut figures = Figures { scenario: scenario.to_owned(), seed: rounds.seed, ..Figures::default() };
    let gateway = world.options.serve();
    gateway.until(|health| health["route"] == "colony_os");
    for _ in 0..rounds.number {
        load.allow(DELIVERIES);
        load.target(&[gateway.webhooks]);
        load.until_sent();
        figures.rounds += 1;
    }
    let account = load.finish();
    world.settle(&[&gateway], &account, figures);
    assert!(came_back(&gateway, returned) > 0, "nothing came back as {returned}");
    let colony = &gateway.health()["components"]["colony"];
    assert_eq!(colony["status"], "degraded", "it is said: {colony}");
}

fn came_back(gateway: &Gateway, reason: &str) -> u64 {
    gateway.metric(&format!("colony_gateway_entries_returned_total{{reason=\"{reason}\"}}"))
}

#[test]
fn a_bee_that_says_of_every_event_that_it_is_applied_loses_none() {
    let mut world = World::sqlite().with_colony();
    world.options = world.options.clone().with("BEE_COUNT", 0);
    let runtime = Runtime::new().unwrap();
    let bee = world.colony.as_ref().unwrap().executor("liar");
    runtime.spawn(lie(bee));
    hold("lying bee", &world, "not_recorded");
}

/// Takes every job, does nothing, and says that it is done.
async fn lie(bee: Member) {
    loop {
        match bee.assign(Duration::from_secs(5)).await {
            Ok(Assignment::Process(process)) => {
                let _ = bee.close_successful(&process.id(), all_applied(&process.spec).to_output()).await;
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

#[test]
fn a_broker_that_says_of_every_process_that_it_is_done_loses_nothing() {
    let mut world = World::sqlite().with_colony();
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(Liar::default().serve(listener));
    world.options = told_of(&world, address);
    hold("lying broker", &world, "not_recorded");
}

fn told_of(world: &World, address: SocketAddr) -> crate::gateway::Options {
    let colony = world.colony.as_ref().unwrap();
    colony.settings(world.options.clone(), address).with("BEE_COUNT", 0)
}

#[test]
fn bees_that_write_to_another_ledger_take_nothing_from_ours() {
    let mut world = World::sqlite().with_colony();
    world.options = world.options.clone().with("BEE_COUNT", 0);
    let elsewhere = world.path("elsewhere.db");
    let options = world.bees("stray").with("GATEWAY_LEDGER_SQLITE_PATH", elsewhere.display());
    let _bees = Bees::start(&options);
    hold("bee of another ledger", &world, "refused");
    let other = rusqlite::Connection::open(&elsewhere).unwrap();
    let events: i64 = other.query_row("SELECT COUNT(*) FROM events", [], |row| row.get(0)).unwrap();
    assert_eq!(events, 0, "the record is in one place");
}

/// A Colonies server that does nothing but say so.
#[derive(Clone, Default)]
struct Liar(Arc<Mutex<Vec<Process>>>);

impl Liar {
    async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let this = self.clone();
            connections.spawn(async move { this.connection(stream).await });
        }
    }

    /// One request a connection.
    async fn connection(&self, mut stream: TcpStream) -> Option<()> {
        let mut request = Vec::new();
        let body = loop {
            let read = stream.read_buf(&mut request).await.ok()?;
            if read == 0 {
                return None;
            }
            if let Some(body) = body_of(&request) {
                break body.to_vec();
            }
        };
        let reply = match serde_json::from_slice::<RequestEnvelope>(&body) {
            Ok(envelope) => self.answer(&envelope)?,
            Err(_) => ReplyEnvelope::failure(400, "what?").ok()?,
        };
        let body = serde_json::to_string(&reply.envelope).ok()?;
        let head = format!(
            "HTTP/1.1 {} X\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            reply.status,
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.ok()
    }

    fn answer(&self, request: &RequestEnvelope) -> Option<SealedReply> {
        let mut processes = self.0.lock().unwrap();
        if let Ok(SubmitFunctionSpec { spec }) = request.open() {
            let process = Process {
                processid: format!("{:064x}", processes.len() + 1),
                state: ProcessState::Waiting,
                spec,
                ..Process::default()
            };
            processes.push(process.clone());
            return ReplyEnvelope::success::<SubmitFunctionSpec>(&process).ok();
        }
        if let Ok(GetProcess { processid }) = request.open() {
            let mut process = processes.iter().find(|process| process.processid == processid)?.clone();
            process.state = ProcessState::Success;
            "nobody".clone_into(&mut process.assignedexecutorid);
            process.out = all_applied(&process.spec).to_output();
            return ReplyEnvelope::success::<GetProcess>(&process).ok();
        }
        if request.open::<GetColonyStatistics>().is_ok() {
            return ReplyEnvelope::success::<GetColonyStatistics>(&Statistics::default()).ok();
        }
        if request.open::<CancelProcess>().is_ok() {
            return ReplyEnvelope::failure(404, "no").ok();
        }
        ReplyEnvelope::failure(400, "no").ok()
    }
}

/// The body of a request that is here as a whole.
fn body_of(request: &[u8]) -> Option<&[u8]> {
    let head = request.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&request[..head]).ok()?.to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse::<usize>().ok()?;
    request.get(head..head + length)
}
