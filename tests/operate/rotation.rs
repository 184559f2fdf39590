//! An executor's key is replaced while its bees rest: on the embedded server, which pauses as the real one does.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use colonies::client::{Assignment, Client, Member, Owner, ServerUrl, Settings};
use colonies::identity::PrivateKey;
use colonies::server::{EmbeddedServer, ServerOptions};
use colony_gateway::domain::clock::Clock;
use colony_gateway::domain::ledger_id::LedgerId;
use colony_gateway::domain::secret::Secret;
use colony_gateway::job::attestation::Signer;
use colony_gateway::job::keys::Role;
use colony_gateway::job::keys::files::{self, Access};
use colony_gateway::job::keys::quiet::rotate_executor_at_rest;
use colony_gateway::job::keys::rotate::RotateError;
use colony_gateway::job::{self, Sender, Terms};
use tokio_util::sync::CancellationToken;

const COLONY: &str = "rec";
const KIND: &str = "finance-worker";

struct World {
    _server: EmbeddedServer,
    client: Client,
    owner: Owner,
    gateway: Member,
    bee: Member,
    directory: tempfile::TempDir,
}

fn key() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::generate().unwrap())
}

impl World {
    async fn new() -> Self {
        let (server_key, owner, user, executor) = (key(), key(), key(), key());
        let options = ServerOptions::new(server_key.id().clone());
        let server = EmbeddedServer::start(options, CancellationToken::new()).await.unwrap();
        let client = Client::new(&Settings::new(ServerUrl::parse_list(&server.url(), None, None).unwrap())).unwrap();
        client.add_colony(&server_key, COLONY, owner.id()).await.unwrap();
        let owner = client.owner(COLONY, owner);
        owner.add_user("gateway", user.id()).await.unwrap();
        owner.add_executor("bee-1", KIND, executor.id()).await.unwrap();
        owner.approve_executor("bee-1").await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        files::write_new(&directory.path().join("executor"), &Secret::new(executor.to_hex().expose()), Access::Owner)
            .unwrap();
        let (gateway, bee) = (client.member(COLONY, user), client.member(COLONY, executor));
        Self { _server: server, client, owner, gateway, bee, directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("executor")
    }

    /// The bee as its file has it now.
    fn renewed(&self) -> Member {
        let pair = files::load(Role::Executor, &self.path()).unwrap();
        self.bee.with_key(Arc::new(PrivateKey::from_hex(pair.secret.expose()).unwrap()))
    }

    async fn submit(&self) {
        let event = r#"{"id":"evt_1","object":"event"}"#;
        let signer = Signer::generate().unwrap();
        let (terms, ledger) = (Terms::new(COLONY, KIND), LedgerId::draw().unwrap());
        let sender = Sender {
            terms: &terms,
            signer: &signer,
            ledger: &ledger,
            submitter: self.gateway.id().as_str(),
            recipients: None,
        };
        let spec = job::seal(&sender, &[event], Clock::system().now()).unwrap();
        self.gateway.submit(spec).await.unwrap();
    }

    /// Whether the colony assigns work to this executor.
    async fn assigns_to(&self, bee: &Member) -> bool {
        self.submit().await;
        matches!(bee.assign(Duration::from_secs(5)).await.unwrap(), Assignment::Process(_))
    }
}

#[tokio::test]
async fn a_bee_that_rests_gets_its_new_key_and_assignments_go_on() {
    let world = World::new().await;
    let patience = Duration::from_secs(5);
    let rotated =
        rotate_executor_at_rest(&world.client, &world.owner, &world.path(), patience, pending()).await.unwrap();
    assert_eq!((&rotated.old, &rotated.new), (world.bee.id(), world.renewed().id()));
    assert!(world.assigns_to(&world.renewed()).await);
}

#[tokio::test]
async fn a_bee_with_work_in_hand_keeps_its_key_and_assignments_go_on() {
    let world = World::new().await;
    assert!(world.assigns_to(&world.bee).await, "it holds a process now");
    let patience = Duration::from_millis(200);
    let refused = rotate_executor_at_rest(&world.client, &world.owner, &world.path(), patience, pending()).await;
    assert!(matches!(refused, Err(RotateError::Busy { .. })), "{refused:?}");
    assert_eq!(world.renewed().id(), world.bee.id());
    assert!(world.assigns_to(&world.bee).await);
}

#[tokio::test]
async fn an_interrupted_rotation_lets_assignments_go_on() {
    let world = World::new().await;
    assert!(world.assigns_to(&world.bee).await);
    let patience = Duration::from_mins(10);
    let interrupted =
        rotate_executor_at_rest(&world.client, &world.owner, &world.path(), patience, std::future::ready(())).await;
    assert!(matches!(interrupted, Err(RotateError::Interrupted)), "{interrupted:?}");
    assert!(world.assigns_to(&world.bee).await);
}

#[tokio::test]
async fn the_rotation_waits_for_work_in_hand() {
    let world = World::new().await;
    world.submit().await;
    let Assignment::Process(process) = world.bee.assign(Duration::from_secs(5)).await.unwrap() else {
        panic!("nothing was assigned");
    };
    let path = world.path();
    let rotation = rotate_executor_at_rest(&world.client, &world.owner, &path, Duration::from_mins(1), pending());
    let work = async {
        // Paused: nobody is assigned anything, and what is held can be closed.
        while !matches!(world.bee.assign(Duration::from_secs(1)).await.unwrap(), Assignment::Paused) {}
        world.bee.close_successful(&process.id(), Vec::new()).await.unwrap();
    };
    let (rotated, ()) = tokio::join!(rotation, work);
    assert_eq!(rotated.unwrap().old, *world.bee.id());
}
