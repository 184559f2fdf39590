//! Attested jobs, a server that dies and a rotation, over the embedded server's real wire.

use std::sync::Arc;
use std::time::Duration;

use colonies::client::{Assignment, Client, ClientError, Member, ServerUrl, Settings};
use colonies::identity::PrivateKey;
use colonies::messages::{FunctionSpec, Process, ProcessState};
use colonies::server::{EmbeddedServer, ServerOptions};
use colony_gateway::domain::clock::Timestamp;
use colony_gateway::domain::ledger_id::LedgerId;
use colony_gateway::domain::limits::BATCH_ENTRIES_MAX;
use colony_gateway::domain::secret::Secret;
use colony_gateway::job::attestation::{Signer, Trust, Verifier};
use colony_gateway::job::keys::opening::Openers;
use colony_gateway::job::keys::rotate::{Holder, rotate_identity};
use colony_gateway::job::keys::{Role, files};
use colony_gateway::job::{self, Reader, Sender, Terms};
use tokio_util::sync::CancellationToken;

const NOW: Timestamp = Timestamp::from_seconds(1_795_280_627);
const COLONY: &str = "rec";
const KIND: &str = "finance-worker";

/// What only exact transport keeps: order, white space, numbers beyond a double, what Go escapes.
const EVENT: &str = "{\n  \"z\": 9007199254740993,\n  \"a\": 1.0, \"note\": \"é <b>&\\u2028\" }";

fn key() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::generate().expect("the system gives randomness"))
}

/// A server with a colony, a user and an approved bee.
struct World {
    server: EmbeddedServer,
    gateway: Member,
    bee: Member,
    signer: Signer,
    verifier: Verifier,
}

async fn start(owner: &PrivateKey) -> EmbeddedServer {
    let options = ServerOptions::new(owner.id().clone());
    EmbeddedServer::start(options, CancellationToken::new()).await.expect("loopback has a free port")
}

fn client(servers: &[&EmbeddedServer]) -> Client {
    let urls: Vec<String> = servers.iter().map(|server| server.url()).collect();
    let servers = ServerUrl::parse_list(&urls.join(","), None, None).expect("the server's URL is one");
    Client::new(&Settings { call_timeout: Duration::from_secs(20), ..Settings::new(servers) })
        .expect("the settings are sound")
}

async fn settle(
    client: &Client,
    server_key: &PrivateKey,
    user: &PrivateKey,
    bee: &PrivateKey,
) -> Result<(), ClientError> {
    let owner_key = key();
    client.add_colony(server_key, COLONY, owner_key.id()).await?;
    let owner = client.owner(COLONY, owner_key);
    owner.add_user("gateway", user.id()).await?;
    owner.add_executor("bee-1", KIND, bee.id()).await?;
    owner.approve_executor("bee-1").await
}

async fn world() -> World {
    let (server_key, user, bee) = (key(), key(), key());
    let server = start(&server_key).await;
    let client = client(&[&server]);
    settle(&client, &server_key, &user, &bee).await.expect("a new server takes a new colony");
    let signer = Signer::generate().expect("the system gives randomness");
    let verifier = Verifier::new(Trust::new(vec![signer.public().clone()])).expect("one key is trusted");
    World { server, gateway: client.member(COLONY, user), bee: client.member(COLONY, bee), signer, verifier }
}

/// The ledger that all jobs here are for.
fn ledger() -> LedgerId {
    LedgerId::try_from("0123456789abcdef".repeat(2)).expect("an identity")
}

fn sealed(signer: &Signer, submitter: &str, events: &[&str]) -> FunctionSpec {
    let (terms, ledger) = (Terms::new(COLONY, KIND), ledger());
    job::seal(&Sender { terms: &terms, signer, ledger: &ledger, submitter, recipients: None }, events, NOW)
        .expect("the events fit")
}

impl World {
    fn job(&self, events: &[&str]) -> FunctionSpec {
        sealed(&self.signer, self.gateway.id().as_str(), events)
    }

    async fn assigned(&self) -> Process {
        match self.bee.assign(Duration::from_secs(10)).await.expect("the bee is approved") {
            Assignment::Process(process) => *process,
            other => panic!("no process but {other:?}"),
        }
    }

    /// The events that a bee believes, or the name of the rejection.
    fn opened(&self, process: &Process) -> Result<Vec<String>, &'static str> {
        let reader = Reader {
            colony: COLONY,
            ledger: &ledger(),
            verifier: &self.verifier,
            openers: &Openers::given(&Secret::new("")).expect("no key"),
        };
        let opened = job::open(process, &reader, NOW).map_err(|rejection| rejection.code())?;
        Ok(opened.events.iter().map(|event| event.get().to_owned()).collect())
    }
}

#[tokio::test]
async fn events_reach_a_bee_byte_for_byte_and_the_gateway_reads_the_result() {
    let world = world().await;
    for count in [1, 2, BATCH_ENTRIES_MAX] {
        let submitted = world.gateway.submit(world.job(&vec![EVENT; count])).await.unwrap();
        let process = world.assigned().await;
        assert_eq!(process.id(), submitted.id());
        assert_eq!(process.lease(), Some(Duration::from_secs(30)));
        assert_eq!(world.opened(&process), Ok(vec![EVENT.to_owned(); count]));
        world.bee.close_successful(&process.id(), vec![serde_json::json!({ "applied": count })]).await.unwrap();
        let ended = world.gateway.process(&process.id()).await.unwrap();
        assert_eq!(ended.state, ProcessState::Success);
        assert_eq!(ended.out, [serde_json::json!({ "applied": count })]);
    }
}

#[tokio::test]
async fn a_member_cannot_make_a_job_of_its_own_nor_use_one_again() {
    let world = world().await;
    let honest = world.job(&[EVENT]);
    world.gateway.submit(honest.clone()).await.unwrap();
    let process = world.assigned().await;
    assert!(world.opened(&process).is_ok());
    assert!(world.opened(&process).is_ok(), "the same process comes again when a lease is lost");

    let forged = FunctionSpec { kwargs: std::collections::BTreeMap::new(), ..honest.clone() };
    for (spec, member, rejection) in [
        (honest.clone(), &world.gateway, "attestation_replayed"),
        // Another executor of the colony is a member too.
        (honest, &world.bee, "attestation_other_submitter"),
        (forged, &world.bee, "not_attested"),
    ] {
        member.submit(spec).await.unwrap();
        let process = world.assigned().await;
        assert_eq!(world.opened(&process), Err(rejection));
        world.bee.close_failed(&process.id(), vec![rejection.to_owned()]).await.unwrap();
        assert_eq!(world.gateway.process(&process.id()).await.unwrap().errors, [rejection]);
    }
}

#[tokio::test]
async fn when_a_server_of_a_cluster_dies_the_next_call_goes_to_another() {
    let (server_key, user, bee) = (key(), key(), key());
    let (first, second) = (start(&server_key).await, start(&server_key).await);
    for server in [&first, &second] {
        settle(&client(&[server]), &server_key, &user, &bee).await.unwrap();
    }
    let spec = sealed(&Signer::generate().unwrap(), "user", &[EVENT]);
    client(&[&second]).member(COLONY, Arc::clone(&user)).submit(spec).await.unwrap();
    let both = [&first, &second];
    let (before, after) = (client(&both), client(&both));
    let waiting = async |client: Client| {
        let member = client.member(COLONY, Arc::clone(&user));
        member.statistics().await.map(|statistics| statistics.waitingprocesses)
    };
    assert_eq!(waiting(before).await.unwrap(), 0, "the first one answers");
    first.kill().await;
    assert_eq!(waiting(after).await.unwrap(), 1, "the second one answers");
}

#[tokio::test]
async fn a_rotated_user_goes_on_with_the_new_key_and_the_old_one_is_a_stranger() {
    let world = world().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("user");
    let old = PrivateKey::from_hex(files::ensure(Role::User, &path).unwrap().0.secret.expose()).unwrap();
    let client = client(&[&world.server]);
    world.gateway.change_user_id(old.id()).await.unwrap();

    let rotated = rotate_identity(&client, COLONY, Holder::User, &path).await.unwrap();
    assert_eq!(rotated.old, *old.id());
    let new = PrivateKey::from_hex(files::read(&path).unwrap().secret.expose()).unwrap();
    client.member(COLONY, Arc::new(new)).submit(world.job(&[EVENT])).await.unwrap();
    let refused = client.member(COLONY, Arc::new(old)).submit(world.job(&[EVENT])).await.unwrap_err();
    assert_eq!(refused.code(), "not_a_member");
}
