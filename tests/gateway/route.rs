//! The colony route in the real binary: which way entries go, switching it, and crashes with entries in the colony.

use std::path::Path;
use std::sync::Arc;

use colonies::client::{Client, ServerUrl, Settings};
use colonies::identity::PrivateKey;
use colonies::messages::GetColonyStatistics;
use colonies::server::{EmbeddedServer, ServerOptions};
use colony_gateway::job::attestation::Signer;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::gateway::{Gateway, Options, event, request};

const TOKEN: &str = "a-token-for-the-tests-only";

/// An embedded server on a runtime of its own, with a colony and a user.
pub(crate) struct Colony {
    runtime: tokio::runtime::Runtime,
    server: EmbeddedServer,
    client: Client,
    user: Arc<PrivateKey>,
    environment: Vec<(&'static str, String)>,
}

fn key() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::generate().unwrap())
}

impl Colony {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (server_key, owner, user, executor) = (key(), key(), key(), key());
        let signer = Signer::generate().unwrap();
        let options = ServerOptions::new(server_key.id().clone());
        let server = runtime.block_on(EmbeddedServer::start(options, CancellationToken::new())).unwrap();
        let client = runtime.block_on(async {
            let servers = ServerUrl::parse_list(&server.url(), None, None).unwrap();
            let client = Client::new(&Settings::new(servers)).unwrap();
            client.add_colony(&server_key, "rec", owner.id()).await.unwrap();
            client.owner("rec", Arc::clone(&owner)).add_user("gateway", user.id()).await.unwrap();
            client
        });
        let environment = vec![
            ("COLONIES_SERVER_HOST", server.url()),
            ("COLONIES_COLONY_NAME", "rec".to_owned()),
            ("COLONIES_COLONY_PRVKEY", owner.to_hex().expose().to_owned()),
            ("COLONIES_USER_PRVKEY", user.to_hex().expose().to_owned()),
            ("COLONIES_EXECUTOR_PRVKEY", executor.to_hex().expose().to_owned()),
            ("ATTESTATION_PRVKEY", signer.to_hex().expose().to_owned()),
            ("POLL_TIMEOUT", "1".to_owned()),
        ];
        Self { runtime, server, client, user, environment }
    }

    pub(crate) fn options(&self, data: &Path) -> Options {
        let options = Options::new(data);
        self.environment.iter().fold(options, |options, (name, value)| options.with(name, value))
    }

    /// The same as keys of the configuration file below `[colony]`.
    fn keys(&self) -> Vec<(&'static str, &str)> {
        let key = |variable: &str| match variable {
            "COLONIES_SERVER_HOST" => "servers",
            "COLONIES_COLONY_NAME" => "name",
            "COLONIES_COLONY_PRVKEY" => "colony_key",
            "COLONIES_USER_PRVKEY" => "user_key",
            "COLONIES_EXECUTOR_PRVKEY" => "executor_key",
            "ATTESTATION_PRVKEY" => "attestation_key",
            "POLL_TIMEOUT" => "poll_timeout",
            other => panic!("{other} has no key here"),
        };
        self.environment.iter().map(|(name, value)| (key(name), value.as_str())).collect()
    }

    /// Processes that bees closed as successful.
    pub(crate) fn successful(&self) -> i64 {
        let question = GetColonyStatistics { colonyname: "rec".to_owned() };
        let statistics = self.client.call(&self.user, &question);
        self.runtime.block_on(statistics).unwrap().successfulprocesses
    }
}

/// Starts a gateway and waits until its colony has answered, from when on entries go through it.
fn through_colony(options: &Options) -> Gateway {
    let gateway = options.serve();
    gateway.until(|health| health["route"] == "colony_os");
    gateway
}

/// Posts an event and gives the route that the answer names.
fn method(gateway: &Gateway, id: &str) -> String {
    let reply = gateway.post(&event(id));
    assert_eq!(reply.status, 200);
    reply.json()["method"].as_str().unwrap().to_owned()
}

fn events(directory: &TempDir) -> i64 {
    let connection = rusqlite::Connection::open(directory.path().join("ledger.db")).unwrap();
    connection.query_row("SELECT COUNT(*) FROM events", [], |row| row.get(0)).unwrap()
}

#[test]
fn the_answer_names_the_route_in_force_and_a_hangup_switches_it() {
    let (colony, directory) = (Colony::start(), tempfile::tempdir().unwrap());
    let file = directory.path().join("gateway.toml");
    let switch = |text: &str| std::fs::write(&file, text).unwrap();
    switch("[colony]\nenabled = true\n");
    let mut gateway = through_colony(&colony.options(directory.path()).with("GATEWAY_CONFIG", file.display()));
    assert_eq!(method(&gateway, "evt_1"), "colony_os");
    gateway.until_idle();
    assert_eq!(colony.successful(), 1);

    switch("[colony]\nenabled = false\n");
    gateway.signal("HUP");
    gateway.until(|health| health["route"] == "direct");
    assert_eq!(method(&gateway, "evt_2"), "direct");
    let health = gateway.until_idle();
    assert_eq!((colony.successful(), &health["components"]["colony"]["status"]), (1, &"ok".into()));

    // Settings that are refused change nothing.
    switch("[colony]\nenabled = \"perhaps\"\n");
    gateway.signal("HUP");
    gateway.until(|_| gateway.log().iter().any(|line| line.contains("settings refused")));
    assert_eq!(method(&gateway, "evt_3"), "direct");
    gateway.until_idle();

    switch("[colony]\nenabled = true\n");
    gateway.signal("HUP");
    gateway.until(|health| health["route"] == "colony_os");
    assert_eq!(method(&gateway, "evt_4"), "colony_os");
    gateway.until_idle();
    assert_eq!(colony.successful(), 2);
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    assert_eq!(events(&directory), 4);
}

#[test]
fn a_gateway_that_is_switched_off_waits_for_a_hangup_to_use_its_colony() {
    let (colony, directory) = (Colony::start(), tempfile::tempdir().unwrap());
    let file = directory.path().join("gateway.toml");
    std::fs::write(&file, "[colony]\nenabled = false\n").unwrap();
    let gateway = colony.options(directory.path()).with("GATEWAY_CONFIG", file.display()).serve();
    assert_eq!(method(&gateway, "evt_1"), "direct");
    gateway.until_idle();
    std::fs::write(&file, "").unwrap();
    gateway.signal("HUP");
    gateway.until(|health| health["route"] == "colony_os");
    assert_eq!(method(&gateway, "evt_2"), "colony_os");
    gateway.until_idle();
    assert_eq!((colony.successful(), events(&directory)), (1, 2));
}

/// What the last reading of the settings took over, and what it left to a restart.
fn reread(gateway: &Gateway) -> (Vec<String>, Vec<String>) {
    let question = format!(
        "GET /admin/settings HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    let settings = request(gateway.admin, question.as_bytes()).json();
    let names = |list: &str| serde_json::from_value(settings["reread"][list].clone()).unwrap_or_default();
    (names("taken"), names("needs_restart"))
}

#[test]
fn the_colonys_switch_is_taken_over_where_there_is_a_route_and_waits_for_a_restart_where_there_is_none() {
    let (colony, directory) = (Colony::start(), tempfile::tempdir().unwrap());
    let file = directory.path().join("gateway.toml");
    let keys: Vec<String> = colony.keys().iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
    let keys = keys.join("\n");
    let write = |enabled: bool, keys: &str| {
        std::fs::write(&file, format!("[colony]\nenabled = {enabled}\n{keys}")).unwrap();
    };
    let told = "USE_COLONY_OS".to_owned();
    let options =
        Options::new(directory.path()).with("GATEWAY_CONFIG", file.display()).with("GATEWAY_ADMIN_TOKEN", TOKEN);

    // A start without a colony makes no route, so that the switch turns to nothing.
    write(false, "");
    let mut gateway = options.serve();
    write(true, &keys);
    gateway.signal("HUP");
    gateway.until(|_| !reread(&gateway).1.is_empty());
    let (taken, waits) = reread(&gateway);
    assert!(waits.contains(&told) && !taken.contains(&told), "{taken:?} {waits:?}");
    assert_eq!(method(&gateway, "evt_1"), "direct");
    gateway.until_idle();
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));

    // The restart makes the route, and from then on the switch is taken over.
    let gateway = through_colony(&options);
    write(false, &keys);
    gateway.signal("HUP");
    gateway.until(|_| reread(&gateway).0.contains(&told));
    assert!(!reread(&gateway).1.contains(&told), "{:?}", reread(&gateway));
    assert_eq!(method(&gateway, "evt_2"), "direct");
    gateway.until_idle();
    assert_eq!(events(&directory), 2);
}

#[test]
fn a_crash_with_entries_in_the_colony_loses_and_doubles_nothing() {
    let (colony, directory) = (Colony::start(), tempfile::tempdir().unwrap());
    let gateway = through_colony(&colony.options(directory.path()).with("BEE_COUNT", 0));
    for number in 0..20 {
        assert_eq!(method(&gateway, &format!("evt_{number}")), "colony_os");
    }
    gateway.until(|health| health["inbox"]["submitted"].as_u64() >= Some(8));
    gateway.kill();
    let gateway = colony.options(directory.path()).serve();
    gateway.until_idle();
    assert_eq!(events(&directory), 20);
    let health = gateway.health();
    assert_eq!((&health["inbox"]["settled"], &health["inbox"]["dead"]), (&20.into(), &0.into()));
}

#[test]
fn entries_in_a_colony_that_is_not_configured_any_more_take_the_direct_route() {
    let (colony, directory) = (Colony::start(), tempfile::tempdir().unwrap());
    let mut gateway = through_colony(&colony.options(directory.path()).with("BEE_COUNT", 0));
    for number in 0..20 {
        assert_eq!(method(&gateway, &format!("evt_{number}")), "colony_os");
    }
    gateway.until(|health| health["inbox"]["submitted"].as_u64() >= Some(8));
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    let gateway = Options::new(directory.path()).serve();
    gateway.until_idle();
    assert_eq!(events(&directory), 20);
    let health = gateway.health();
    assert_eq!((&health["inbox"]["settled"], &health["inbox"]["dead"]), (&20.into(), &0.into()));
    assert!(gateway.metric(r#"colony_gateway_entries_returned_total{reason="no_colony"}"#) >= 8);
}

#[test]
fn a_colony_that_is_gone_changes_nothing_for_stripe() {
    let (colony, directory) = (Colony::start(), tempfile::tempdir().unwrap());
    let gateway = through_colony(&colony.options(directory.path()));
    assert_eq!(method(&gateway, "evt_0"), "colony_os");
    gateway.until_idle();
    drop(colony.runtime.block_on(colony.server.kill()));
    for number in 1..=5 {
        method(&gateway, &format!("evt_{number}"));
        gateway.until_idle();
    }
    assert_eq!(method(&gateway, "evt_6"), "direct");
    let health = gateway.until_idle();
    assert_eq!(health["status"], "degraded");
    assert_eq!(events(&directory), 7);
}

/// A request to the admin listener's switch.
fn switch(gateway: &Gateway, method: &str, token: Option<&str>, body: &str) -> crate::gateway::Reply {
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "{method} /admin/route HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n{authorization}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    crate::gateway::request(gateway.admin, request.as_bytes())
}

#[test]
fn an_operator_with_the_token_switches_the_route_and_nobody_else_does() {
    let (colony, directory) = (Colony::start(), tempfile::tempdir().unwrap());
    let token = "a-token-of-the-tests";
    let gateway = through_colony(&colony.options(directory.path()).with("GATEWAY_ADMIN_TOKEN", token));
    assert_eq!(method(&gateway, "evt_1"), "colony_os");
    let direct = r#"{"wish":"direct"}"#;
    for wrong in [None, Some("a-token-of-the-testz"), Some("")] {
        let reply = switch(&gateway, "PUT", wrong, direct);
        assert_eq!((reply.status, reply.problem().as_str()), (401, "unauthorized"), "{wrong:?}");
    }
    for wrong in ["", "{}", r#"{"wish":"sideways"}"#, r#"{"wish":"direct","more":1}"#, &" ".repeat(2000)] {
        let reply = switch(&gateway, "PUT", Some(token), wrong);
        assert_eq!((reply.status, reply.problem().as_str()), (400, "invalid_request"), "{wrong}");
    }
    assert_eq!(method(&gateway, "evt_2"), "colony_os");
    assert_eq!(switch(&gateway, "PUT", Some(token), direct).json()["wish"], "direct");
    gateway.until(|health| health["route"] == "direct");
    assert_eq!(method(&gateway, "evt_3"), "direct");
    assert_eq!(switch(&gateway, "PUT", Some(token), r#"{"wish":"auto"}"#).status, 200);
    gateway.until(|_| switch(&gateway, "GET", Some(token), "").json()["in_force"] == "colony_os");
    gateway.until_idle();
    assert_eq!(events(&directory), 3);
    let audit = gateway.whole_log().into_iter().filter(|line| line.contains("\"target\":\"audit\"")).count();
    assert_eq!(audit, 2);
    assert!(!gateway.whole_log().join("\n").contains(token));
}

#[test]
fn without_a_token_there_is_no_switch() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).serve();
    assert_eq!(switch(&gateway, "PUT", None, r#"{"wish":"direct"}"#).status, 404);
}

#[test]
fn keys_of_attestations_and_of_the_user_are_rotated_under_a_running_gateway() {
    let (colony, directory) = (Colony::start(), tempfile::tempdir().unwrap());
    let mut options = colony.options(&directory.path().join("data"));
    for (name, key) in colony.environment.iter().filter(|(name, _)| name.contains("USER") || name.contains("ATTEST")) {
        let file = directory.path().join(name);
        std::fs::write(&file, key).unwrap();
        options = options.with(name, "").with(&format!("{name}_FILE"), file.display());
    }
    let gateway = through_colony(&options);
    let submitted = r#"colony_gateway_submissions_total{result="ok"}"#;
    let through = |id: &str, count: u64| {
        assert_eq!(method(&gateway, id), "colony_os");
        gateway.until_idle();
        assert_eq!(gateway.metric(submitted), count, "{:?}", gateway.log().last());
    };
    let rotate = |arguments: &[&str], setting: &str| {
        let output = options.command().args(["keys", "rotate"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let taken = |line: &String| line.contains("taken over") && line.contains(setting);
        gateway.until(|_| gateway.log().iter().any(taken));
    };
    through("evt_1", 1);
    let output = options.command().args(["keys", "rotate", "attestation", "prepare"]).output().unwrap();
    assert!(output.status.success());
    rotate(&["attestation", "switch"], "ATTESTATION_PRVKEY");
    through("evt_2", 2);
    rotate(&["user"], "COLONIES_USER_PRVKEY");
    through("evt_3", 3);
    assert_eq!(gateway.health()["inbox"]["settled"], 3);
    // A bee counts a job after the server took its result, which is when its entries may settle.
    gateway.until(|_| gateway.metric(r#"colony_gateway_bee_jobs_total{end="closed"}"#) == 3);
}
