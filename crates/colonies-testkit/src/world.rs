//! A colony to try behaviours in, on the embedded server or on a given one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use colonies::Moment;
use colonies::client::{Assignment, Client, ClientError, Member, Owner, ServerUrl, Settings};
use colonies::identity::PrivateKey;
use colonies::messages::{Conditions, FunctionSpec, Process, ProcessState};
use colonies::server::{Clock, EmbeddedServer, ServerOptions};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Key of the embedded server's owner, a published development key.
pub const SERVER_KEY: &str = "fcc79953d8a751bf41db661592dc34d30004b1a651ffa0725b03ac227641499d";

/// Type of the executors that run the jobs in these tests.
pub const KIND: &str = "finance-worker";

/// How long to wait for something that the server does by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server under test.
#[derive(Clone)]
pub struct Target {
    url: String,
    server_key: Arc<PrivateKey>,
    /// Silence after which the server removes an executor; `None` if a test cannot wait for that long.
    stale_after: Option<Duration>,
    /// Whether the server assigns through one leader, which a few answers show.
    is_exclusive: bool,
    /// With the time of its clock, in milliseconds since the Unix epoch.
    embedded: Option<Arc<(EmbeddedServer, Arc<AtomicI64>)>>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Target {
    /// A fresh embedded server, whose clock the tests move.
    pub async fn embedded() -> Self {
        let server_key = key_of(SERVER_KEY);
        let now = Arc::new(AtomicI64::new(1_770_000_000_000));
        let read = Arc::clone(&now);
        let clock = Clock::new(move || Moment::from_millis(read.load(Ordering::SeqCst)));
        let options = ServerOptions { clock, ..ServerOptions::new(server_key.id().clone()) };
        let stale_after = Some(options.stale_after);
        let server = EmbeddedServer::start(options, CancellationToken::new()).await.unwrap();
        let url = server.url();
        Self { url, server_key, stale_after, is_exclusive: true, embedded: Some(Arc::new((server, now))) }
    }

    /// The embedded server, then the one that the environment names, if any.
    pub async fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::embedded().await).chain(Self::given())
    }

    /// The server that the environment names, if any.
    pub fn given() -> Option<Self> {
        let url = variable("COLONIES_TEST_URL")?;
        let key = variable("COLONIES_TEST_SERVER_PRVKEY")
            .expect("COLONIES_TEST_URL needs COLONIES_TEST_SERVER_PRVKEY beside it");
        let stale = variable("COLONIES_TEST_STALE_SECONDS");
        let stale_after = stale.map(|seconds| Duration::from_secs(seconds.parse().expect("a number of seconds")));
        let url = url.trim_end_matches('/').to_owned();
        let is_exclusive = variable("COLONIES_TEST_EXCLUSIVE_ASSIGN").is_none_or(|value| value != "false");
        Some(Self { url, server_key: key_of(&key), stale_after, is_exclusive, embedded: None })
    }
}

#[expect(clippy::disallowed_methods, reason = "tests take their targets from the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub fn key() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::generate().unwrap())
}

pub fn key_of(hex: &str) -> Arc<PrivateKey> {
    Arc::new(PrivateKey::from_hex(hex).unwrap())
}

/// A client of one server.
pub fn client(url: &str) -> Client {
    let settings = Settings {
        // A real server that shares its cores with a compiler can be slow.
        call_timeout: Duration::from_secs(30),
        ..Settings::new(ServerUrl::parse_list(url, None, None).unwrap())
    };
    Client::new(&settings).unwrap()
}

/// A colony with its owner and one user, on a server under test.
#[derive(Clone)]
pub struct World {
    target: Target,
    pub client: Client,
    pub http: reqwest::Client,
    pub colony: String,
    pub server_key: Arc<PrivateKey>,
    pub owner_key: Arc<PrivateKey>,
    pub owner: Owner,
    pub user_key: Arc<PrivateKey>,
    pub user: Member,
}

/// An executor: its key, and its calls to the server.
pub struct Bee {
    pub name: String,
    pub key: Arc<PrivateKey>,
    pub calls: Member,
}

/// A reply as it arrived.
#[derive(Debug)]
pub struct Raw {
    pub status: u16,
    pub content_type: String,
    /// The whole body.
    pub body: String,
    pub payloadtype: String,
    pub error: bool,
    /// The decoded payload.
    pub payload: Value,
}

impl Raw {
    /// Status and text of a refusal.
    pub fn refusal(&self) -> (u16, &str) {
        (self.status, self.payload["message"].as_str().unwrap_or_default())
    }
}

impl World {
    pub async fn on(target: &Target) -> Self {
        let client = client(&target.url);
        // If another provider was installed before, it serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        let (owner_key, user_key) = (key(), key());
        let colony = format!("c-{}", &key().id().as_str()[..16]);
        client.add_colony(&target.server_key, &colony, owner_key.id()).await.unwrap();
        let owner = client.owner(colony.as_str(), Arc::clone(&owner_key));
        owner.add_user("gateway", user_key.id()).await.unwrap();
        let user = client.member(colony.as_str(), Arc::clone(&user_key));
        let server_key = Arc::clone(&target.server_key);
        Self { target: target.clone(), client, http, colony, server_key, owner_key, owner, user_key, user }
    }

    /// Another colony on the same server.
    pub async fn another(&self) -> Self {
        Self::on(&self.target).await
    }

    pub fn stale_after(&self) -> Option<Duration> {
        self.target.stale_after
    }

    /// Whether the server assigns through one leader, as `COLONIES_EXCLUSIVE_ASSIGN=true` has it.
    pub fn is_exclusive(&self) -> bool {
        self.target.is_exclusive
    }

    /// Lets time pass for the server. Moves the clock of an embedded server and runs its checks; waits for any
    /// other server.
    pub async fn pass(&self, time: Duration) {
        match self.target.embedded.as_deref() {
            Some((server, now)) => {
                let millis = i64::try_from(time.as_millis()).expect("tests let years pass at most");
                now.fetch_add(millis, Ordering::SeqCst);
                server.tick();
            }
            None => tokio::time::sleep(time).await,
        }
    }

    /// Whether a test can make time pass at will.
    pub fn controls_time(&self) -> bool {
        self.target.embedded.is_some()
    }

    /// A key's calls in this colony.
    pub fn member(&self, key: &Arc<PrivateKey>) -> Member {
        self.client.member(self.colony.as_str(), Arc::clone(key))
    }

    /// An executor that still waits for approval.
    pub async fn pending_bee(&self, name: &str, kind: &str) -> Bee {
        let key = key();
        self.owner.add_executor(name, kind, key.id()).await.unwrap();
        Bee { name: name.to_owned(), calls: self.member(&key), key }
    }

    /// An approved executor.
    pub async fn bee_of(&self, name: &str, kind: &str) -> Bee {
        let bee = self.pending_bee(name, kind).await;
        self.owner.approve_executor(name).await.unwrap();
        bee
    }

    /// An approved executor of the usual type.
    pub async fn bee(&self, name: &str) -> Bee {
        self.bee_of(name, KIND).await
    }

    /// A job for executors of the usual type.
    pub fn job(&self) -> FunctionSpec {
        FunctionSpec {
            funcname: "validate_revenue".to_owned(),
            maxwaittime: -1,
            maxexectime: 30,
            maxretries: 3,
            label: "stripe".to_owned(),
            conditions: Conditions {
                colonyname: self.colony.clone(),
                executortype: KIND.to_owned(),
                ..Conditions::default()
            },
            ..FunctionSpec::default()
        }
    }

    /// A submitted job.
    pub async fn submitted(&self) -> Process {
        self.user.submit(self.job()).await.unwrap()
    }

    /// A submitted job that the executor has taken.
    pub async fn taken_by(&self, bee: &Bee) -> Process {
        let submitted = self.submitted().await;
        let taken = bee.take().await;
        assert_eq!(taken.processid, submitted.processid);
        taken
    }

    /// The process as the server has it now.
    pub async fn now(&self, process: &Process) -> Process {
        self.user.process(&process.id()).await.unwrap()
    }

    /// Waits until the process is in this state, and returns it.
    pub async fn once(&self, process: &Process, state: ProcessState) -> Process {
        let wait = async {
            loop {
                let now = self.now(process).await;
                if now.state == state {
                    return now;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the process comes into the state")
    }

    /// Waits until the process has failed and the server has written why, which it does with a later statement.
    pub async fn failed(&self, process: &Process) -> Process {
        let wait = async {
            loop {
                let now = self.once(process, ProcessState::Failed).await;
                if !now.errors.is_empty() {
                    return now;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("a reason is written")
    }

    /// Sends a message as JSON, with its type added.
    pub async fn send(&self, kind: &str, mut message: Value, key: &PrivateKey) -> Raw {
        message["msgtype"] = json!(kind);
        self.send_text(kind, &message.to_string(), key).await
    }

    /// Signs a payload and sends it as it is.
    pub async fn send_text(&self, kind: &str, payload: &str, key: &PrivateKey) -> Raw {
        let payload = STANDARD.encode(payload);
        let signature = key.sign(&payload);
        self.post(json!({"payloadtype": kind, "payload": payload, "signature": signature}).to_string()).await
    }

    /// Posts a body as it is.
    pub async fn post(&self, body: String) -> Raw {
        let reply = self.http.post(format!("{}/api", self.target.url)).body(body).send().await.unwrap();
        let status = reply.status().as_u16();
        let content_type = reply.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        let body = reply.text().await.unwrap();
        let envelope: Value = serde_json::from_str(&body).unwrap_or_default();
        let payload = STANDARD.decode(envelope["payload"].as_str().unwrap_or_default()).unwrap();
        Raw {
            status,
            content_type: content_type.unwrap_or_default(),
            body,
            payloadtype: envelope["payloadtype"].as_str().unwrap_or_default().to_owned(),
            error: envelope["error"].as_bool().unwrap_or_default(),
            payload: serde_json::from_slice(&payload).unwrap_or_default(),
        }
    }

    /// Host and port of the server.
    pub fn address(&self) -> (String, String) {
        let address = self.target.url.trim_start_matches("http://");
        let (host, port) = address.rsplit_once(':').expect("the URL has a port");
        (host.to_owned(), port.to_owned())
    }

    /// Gets a path: status, content type and body.
    pub async fn get(&self, path: &str) -> (u16, String, String) {
        let reply = self.http.get(format!("{}{path}", self.target.url)).send().await.unwrap();
        let content_type = reply.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        (reply.status().as_u16(), content_type.unwrap_or_default(), reply.text().await.unwrap())
    }
}

impl Bee {
    /// The process that the executor gets. Fails if it gets none.
    pub async fn take(&self) -> Process {
        match self.calls.assign(PATIENCE).await.unwrap() {
            Assignment::Process(process) => *process,
            other => panic!("{} expected a process and got {other:?}", self.name),
        }
    }

    /// The process that the executor gets without waiting, if there is one.
    pub async fn take_at_once(&self, world: &World) -> Option<Process> {
        let message = json!({"colonyname": world.colony, "timeout": -1});
        let reply = world.send("assignprocessmsg", message, &self.key).await;
        match reply.status {
            200 => Some(serde_json::from_value(reply.payload).unwrap()),
            404 => None,
            _ => panic!("{} expected a process or none and got {reply:?}", self.name),
        }
    }
}

/// The error of a call that must fail.
pub fn refused<T: fmt::Debug>(result: Result<T, ClientError>) -> ClientError {
    result.expect_err("the call is refused")
}

/// Asserts that a call fails with a kind of error and certain words.
#[macro_export]
macro_rules! assert_refused {
    ($result:expr, $kind:ident, $words:expr) => {
        match $crate::world::refused($result) {
            ::colonies::client::ClientError::$kind { message, .. } => {
                assert_eq!(message, $words);
            }
            other => panic!("expected {} and got {other:?}", stringify!($kind)),
        }
    };
}
pub use crate::assert_refused;
