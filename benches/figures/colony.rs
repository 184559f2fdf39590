//! Colonies servers to measure on, and a fresh colony on them for each measurement.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use colonies::client::{Client, Member, ServerUrl, Settings};
use colonies::identity::PrivateKey;
use colonies::messages::Statistics;
use colonies::server::{EmbeddedServer, ServerOptions};
use colony_gateway::job::attestation::Signer;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::gateway::Options;

/// A server that runs.
pub(crate) struct Server {
    name: String,
    url: String,
    key: Arc<PrivateKey>,
    /// Ends with this.
    _embedded: Option<EmbeddedServer>,
}

/// A colony that nobody has used, with one user.
pub(crate) struct Colony {
    name: String,
    owner_key: Arc<PrivateKey>,
    user_key: Arc<PrivateKey>,
    attestation: Signer,
    user: Member,
    url: String,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark takes its targets from the environment, as tests do")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn new_key() -> anyhow::Result<Arc<PrivateKey>> {
    PrivateKey::generate().map(Arc::new).context("the operating system gives no randomness")
}

fn client(url: &str) -> anyhow::Result<Client> {
    let settings =
        Settings { call_timeout: Duration::from_secs(30), ..Settings::new(ServerUrl::parse_list(url, None, None)?) };
    Ok(Client::new(&settings)?)
}

impl Server {
    /// The embedded one and, if the environment names one, a real one.
    ///
    /// # Errors
    /// When the embedded one does not start or the real one does not answer.
    pub(crate) fn all(runtime: &Runtime) -> anyhow::Result<Vec<Self>> {
        let mut servers = vec![Self::embedded(runtime)?];
        servers.extend(Self::given(runtime)?);
        Ok(servers)
    }

    /// The one that the environment names.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn given(runtime: &Runtime) -> anyhow::Result<Option<Self>> {
        let Some(url) = variable("COLONIES_TEST_URL") else { return Ok(None) };
        let key = variable("COLONIES_TEST_SERVER_PRVKEY")
            .context("COLONIES_TEST_URL needs COLONIES_TEST_SERVER_PRVKEY beside it")?;
        Self::at(&url, &key, runtime).map(Some)
    }

    fn embedded(runtime: &Runtime) -> anyhow::Result<Self> {
        let key = new_key()?;
        let options = ServerOptions::new(key.id().clone());
        let server = runtime.block_on(EmbeddedServer::start(options, CancellationToken::new()))?;
        Ok(Self { name: "embedded".to_owned(), url: server.url(), key, _embedded: Some(server) })
    }

    fn at(url: &str, key: &str, runtime: &Runtime) -> anyhow::Result<Self> {
        let key = Arc::new(PrivateKey::from_hex(key).context("COLONIES_TEST_SERVER_PRVKEY")?);
        let version = runtime.block_on(client(url)?.version()).context("COLONIES_TEST_URL does not answer")?;
        // A server built without the project's Makefile does not know its version.
        let version = [version.buildversion, version.buildtime].join(" ");
        let name = if version.trim().is_empty() { "real".to_owned() } else { format!("real ({})", version.trim()) };
        Ok(Self { name, url: url.to_owned(), key, _embedded: None })
    }

    /// What it is, for people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Adds a colony.
    ///
    /// # Errors
    /// When the server refuses.
    pub(crate) fn colony(&self, runtime: &Runtime) -> anyhow::Result<Colony> {
        let (owner_key, user_key) = (new_key()?, new_key()?);
        let attestation = Signer::generate().context("the operating system gives no randomness")?;
        let client = client(&self.url)?;
        let name = format!("bench-{}", &owner_key.id().as_str()[..16]);
        runtime.block_on(async {
            client.add_colony(&self.key, &name, owner_key.id()).await.context("cannot add a colony")?;
            let owner = client.owner(name.as_str(), Arc::clone(&owner_key));
            owner.add_user("gateway", user_key.id()).await.context("cannot add a user to the colony")
        })?;
        let user = client.member(name.as_str(), Arc::clone(&user_key));
        Ok(Colony { name, owner_key, user_key, attestation, user, url: self.url.clone() })
    }
}

impl Colony {
    /// The settings of a gateway in this colony. Its bees join by the owner's key.
    pub(crate) fn settings(&self, options: Options) -> Options {
        options
            .with("USE_COLONY_OS", true)
            .with("COLONIES_SERVER_HOST", &self.url)
            .with("COLONIES_COLONY_NAME", &self.name)
            .with("COLONIES_COLONY_PRVKEY", self.owner_key.to_hex().expose())
            .with("COLONIES_USER_PRVKEY", self.user_key.to_hex().expose())
            .with("ATTESTATION_PRVKEY", self.attestation.to_hex().expose())
    }

    /// Its processes by state, as the server counts them.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(crate) fn statistics(&self, runtime: &Runtime) -> anyhow::Result<Statistics> {
        runtime.block_on(self.user.statistics()).context("the colony gives no statistics")
    }
}
