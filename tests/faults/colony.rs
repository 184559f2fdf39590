//! A colony on an embedded server that outlives the gateways and bees of a test.

use std::net::SocketAddr;
use std::sync::Arc;

use colonies::client::{Client, Member, ServerUrl, Settings};
use colonies::identity::PrivateKey;
use colonies::server::{EmbeddedServer, ServerOptions};
use colony_gateway::job::attestation::Signer;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::gateway::Options;

/// The colony, on a runtime of its own.
pub(crate) struct Colony {
    server: EmbeddedServer,
    owner: Arc<PrivateKey>,
    user: Arc<PrivateKey>,
    signer: Signer,
    runtime: Runtime,
}

fn key() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::generate().unwrap())
}

fn client(server: &EmbeddedServer) -> Client {
    Client::new(&Settings::new(ServerUrl::parse_list(&server.url(), None, None).unwrap())).unwrap()
}

impl Colony {
    /// A server with a colony and a user.
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (server_key, owner, user) = (key(), key(), key());
        let options = ServerOptions::new(server_key.id().clone());
        let server = runtime.block_on(EmbeddedServer::start(options, CancellationToken::new())).unwrap();
        runtime.block_on(async {
            let client = client(&server);
            client.add_colony(&server_key, "rec", owner.id()).await.unwrap();
            client.owner("rec", Arc::clone(&owner)).add_user("gateway", user.id()).await.unwrap();
        });
        Self { server, owner, user, signer: Signer::generate().unwrap(), runtime }
    }

    /// An approved executor that does nothing by itself.
    pub(crate) fn executor(&self, name: &str) -> Member {
        let (client, key) = (client(&self.server), key());
        self.runtime.block_on(async {
            let owner = client.owner("rec", Arc::clone(&self.owner));
            owner.add_executor(name, "finance-worker", key.id()).await.unwrap();
            owner.approve_executor(name).await.unwrap();
        });
        // Connections belong to the runtime that made them.
        self::client(&self.server).member("rec", key)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// The settings of a gateway, or of bees, that reach it at `address`. Leases are the shortest there are, so that the
    /// work of a killed bee is soon given to another.
    pub(crate) fn settings(&self, options: Options, address: SocketAddr) -> Options {
        options
            .with("COLONIES_SERVER_HOST", format!("http://{address}"))
            .with("COLONIES_COLONY_NAME", "rec")
            .with("COLONIES_COLONY_PRVKEY", self.owner.to_hex().expose())
            .with("COLONIES_USER_PRVKEY", self.user.to_hex().expose())
            .with("COLONIES_EXECUTOR_PRVKEY", key().to_hex().expose())
            .with("ATTESTATION_PRVKEY", self.signer.to_hex().expose())
            .with("ATTESTATION_PUBKEYS", self.signer.public().to_hex())
            .with("GATEWAY_COLONY_LEASE", "5s")
            .with("GATEWAY_COLONY_FALLBACK_AFTER", "20s")
            .with("GATEWAY_COLONY_STATUS_FIRST", "50ms")
            .with("GATEWAY_COLONY_STATUS_MAX", "500ms")
            .with("POLL_TIMEOUT", 1)
    }
}
