//! The colony of `dev`: an embedded server on loopback, with keys that live as long as it does.

use std::sync::Arc;

use anyhow::Context as _;
use colonies::client::{Client, Member, Owner};
use colonies::identity::PrivateKey;
use colonies::messages::Statistics;
use colonies::server::{EmbeddedServer, ServerOptions};
use tokio_util::sync::CancellationToken;

use super::problems::DyingBee;
use crate::app::colony::{client, server_clock};
use crate::config::{ColonyConfig, Config, Sources};
use crate::domain::clock::Clock;
use crate::job::attestation::Signer;
use crate::job::sealing::OpeningKey;

const COLONY: &str = "dev";

/// Number of bees, unless the user asks for another.
const BEES: &str = "2";

/// A colony that ends with this value.
#[derive(Debug)]
pub(super) struct DevColony {
    server: EmbeddedServer,
    client: Client,
    owner: Owner,
    gateway: Member,
    executor_type: String,
    pub(super) bees: usize,
}

/// Settings of a colony or an inbox elsewhere. Simulated events must not get there.
const ELSEWHERE: [&str; 24] = [
    "GATEWAY_INBOX_URL",
    "GATEWAY_INBOX_URL_FILE",
    "COLONIES_SERVER_HOST",
    "COLONIES_SERVER_PORT",
    "COLONIES_TLS",
    "COLONIES_SERVER_TLS",
    "COLONIES_TLS_ROOTS",
    "COLONIES_COLONY_NAME",
    "COLONIES_SERVER_PRVKEY",
    "COLONIES_SERVER_PRVKEY_FILE",
    "COLONIES_COLONY_PRVKEY",
    "COLONIES_COLONY_PRVKEY_FILE",
    "COLONIES_USER_PRVKEY",
    "COLONIES_USER_PRVKEY_FILE",
    "COLONIES_EXECUTOR_PRVKEY",
    "COLONIES_EXECUTOR_PRVKEY_FILE",
    "ATTESTATION_PRVKEY",
    "ATTESTATION_PRVKEY_FILE",
    "ATTESTATION_PUBKEYS",
    "ATTESTATION_PUBKEYS_FILE",
    "SEALING_PRVKEY",
    "SEALING_PRVKEY_FILE",
    "SEALING_PUBKEYS",
    "SEALING_PUBKEYS_FILE",
];

/// Removes every colony and other inbox from the settings, so that entries go the direct route from `dev`'s own inbox.
pub(super) fn stay_here(sources: &mut Sources) {
    for name in ELSEWHERE {
        sources.environment.remove(name);
    }
    sources.environment.insert("USE_COLONY_OS".to_owned(), "false".to_owned());
}

impl DevColony {
    /// Starts the server, adds the colony and the gateway's user, and puts them into the settings.
    pub(super) async fn start(sources: &mut Sources, clock: Clock) -> anyhow::Result<Self> {
        let make = || PrivateKey::generate().map(Arc::new).context("the operating system gives no randomness");
        let (server_key, owner_key, user_key, executor_key) = (make()?, make()?, make()?, make()?);
        let attestation = Signer::generate().context("the operating system gives no randomness")?;
        let sealing = OpeningKey::generate().context("the operating system gives no randomness")?;
        let options = ServerOptions { clock: server_clock(&clock), ..ServerOptions::new(server_key.id().clone()) };
        // It outlives the gateway, whose bees close their work in hand while it drains.
        let server = EmbeddedServer::start(options, CancellationToken::new()).await?;

        stay_here(sources);
        let mut set = |name: &str, value: &str| drop(sources.environment.insert(name.to_owned(), value.to_owned()));
        set("USE_COLONY_OS", "true");
        set("COLONIES_SERVER_HOST", &server.url());
        set("COLONIES_COLONY_NAME", COLONY);
        set("COLONIES_COLONY_PRVKEY", owner_key.to_hex().expose());
        set("COLONIES_USER_PRVKEY", user_key.to_hex().expose());
        set("COLONIES_EXECUTOR_PRVKEY", executor_key.to_hex().expose());
        set("ATTESTATION_PRVKEY", attestation.to_hex().expose());
        set("SEALING_PRVKEY", sealing.to_hex().expose());
        sources.environment.entry("BEE_COUNT".to_owned()).or_insert_with(|| BEES.to_owned());

        let config: ColonyConfig = Config::for_tools(sources)?.colony;
        let client = client(&config)?;
        client.add_colony(&server_key, COLONY, owner_key.id()).await.context("cannot add the colony")?;
        let owner = client.owner(COLONY, owner_key);
        owner.add_user("gateway", user_key.id()).await.context("cannot add the gateway to the colony")?;
        let gateway = client.member(COLONY, user_key);
        Ok(Self { server, client, owner, gateway, executor_type: config.executor_type, bees: config.bees })
    }

    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    /// A bee with its own key, which is not in the colony yet.
    pub(super) fn dying_bee(&self) -> anyhow::Result<DyingBee> {
        let key = PrivateKey::generate().context("the operating system gives no randomness")?;
        Ok(DyingBee {
            owner: self.owner.clone(),
            member: self.client.member(COLONY, Arc::new(key)),
            executor_type: self.executor_type.clone(),
        })
    }

    /// Its processes by state, as far as the server remembers them.
    pub(super) async fn statistics(&self) -> anyhow::Result<Statistics> {
        self.gateway.statistics().await.context("the embedded colony gives no statistics")
    }

    pub(super) async fn stop(self) {
        self.server.stop().await;
    }
}
