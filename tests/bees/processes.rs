//! The real binary: bees on more machines, and the command line that prepares a colony for them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, mpsc};

use colonies::client::ClientError;
use colonies::messages::ProcessState;
use colonies::server::{EmbeddedServer, ServerOptions};
use colony_gateway::bees::KeySource;
use colony_gateway::bees::approval::Candidate;
use colony_gateway::domain::clock::Clock;
use colony_gateway::domain::ledger_id::LedgerId;
use colony_gateway::ledger::report::Reports as _;
use colony_gateway::ledger::sqlite::SqliteLedger;
use colony_gateway::ledger::witness::Witness as _;
use tokio_util::sync::CancellationToken;

use crate::hive::{COLONY, Hive, PATIENCE, assert_revenue, key, patiently};

fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_colony-gateway"));
    command
        .env_clear()
        .env("GATEWAY_DATA_DIR", directory)
        .env("GATEWAY_LOG_FORMAT", "json")
        .env("GATEWAY_LOG", "info")
        .env("GATEWAY_ADMIN_LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null());
    command
}

/// The identity of the ledger in a file, which is made when it is not there.
async fn identity(ledger: &Path) -> LedgerId {
    SqliteLedger::open(ledger, Clock::system()).unwrap().witness(&[]).await.unwrap().ledger
}

/// Bees in a process of their own. Killed when dropped.
struct Machine {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Machine {
    /// Five bees with what every machine is given, and a name, approved beforehand.
    async fn start(hive: &Hive, name: &str, ledger: &Path, directory: &Path) -> Self {
        let keys = KeySource::Given(Arc::clone(&hive.executor_key));
        let approved = hive.approver().approve(&Candidate::of_pool(&keys, name, 5).unwrap()).await.unwrap();
        assert!(approved.values().all(Result::is_ok), "{approved:?}");
        let mut child = command(directory)
            .env("COLONIES_SERVER_HOST", hive.server.url())
            .env("COLONIES_COLONY_NAME", COLONY)
            .env("COLONIES_EXECUTOR_PRVKEY", hive.executor_key.to_hex().expose())
            .env("ATTESTATION_PUBKEYS", hive.signer.public().to_hex())
            .env("GATEWAY_LEDGER_SQLITE_PATH", ledger)
            .env("BEE_COUNT", "5")
            .env("POLL_TIMEOUT", "1")
            .env("EXECUTOR_NAME", name)
            .arg("bee")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// The first line of the log that says something.
    fn line(&self, words: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap();
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Waits until all bees may work.
    fn until_at_work(&self) {
        for _ in 0..5 {
            self.line("the bee may work");
        }
    }

    fn terminate(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg("-TERM").arg(id).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_bees_over_two_processes_share_the_work_and_one_that_leaves_or_dies_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("ledger.db");
    let mut hive = Hive::new().await;
    hive.ledger_id = identity(&ledger).await;
    hive.lease = std::time::Duration::from_secs(3);
    let mut left = Machine::start(&hive, "left", &ledger, directory.path()).await;
    left.until_at_work();
    let mut right = Machine::start(&hive, "right", &ledger, directory.path()).await;
    right.until_at_work();

    let mut processes = Vec::new();
    for number in 0..60 {
        processes.push(hive.submit(&[&format!("{number}a"), &format!("{number}b")]).await);
    }
    let mut workers = std::collections::BTreeSet::new();
    for process in &processes {
        let ended = hive.ended(process, ProcessState::Success).await;
        workers.insert(ended.assignedexecutorid);
    }
    let executors = hive.gateway.executors().await.unwrap();
    let worked = |machine: &str| {
        let named = executors.iter().filter(|executor| executor.executorname.starts_with(machine));
        named.filter(|executor| workers.contains(&executor.executorid)).count()
    };
    assert!(worked("left-") > 0 && worked("right-") > 0, "left {} right {}", worked("left-"), worked("right-"));

    // One machine is asked to leave, the other dies, and a third takes over, all under load.
    for number in 60..120 {
        processes.push(hive.submit(&[&format!("{number}a"), &format!("{number}b")]).await);
        if number == 80 {
            assert_eq!(left.terminate().code(), Some(0));
            right.child.kill().unwrap();
        }
    }
    let third = Machine::start(&hive, "third", &ledger, directory.path()).await;
    third.until_at_work();
    for process in &processes {
        hive.ended(process, ProcessState::Success).await;
    }
    drop(third);
    let report = SqliteLedger::open(&ledger, Clock::system()).unwrap().summary(10).await.unwrap();
    assert_revenue(&report, 240);
}

/// The status line, head and body of the answer to a GET.
fn get(address: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: bees\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_of_bees_shows_its_health_and_metrics_and_drains_on_a_signal() {
    let directory = tempfile::tempdir().unwrap();
    let mut hive = Hive::new().await;
    let ledger = directory.path().join("ledger.db");
    hive.ledger_id = identity(&ledger).await;
    let mut machine = Machine::start(&hive, "left", &ledger, directory.path()).await;
    let ready: serde_json::Value = serde_json::from_str(&machine.line("\"ready\"")).unwrap();
    let admin = ready["admin"].as_str().unwrap().to_owned();
    machine.until_at_work();
    hive.result(&hive.submit(&["a"]).await).await;
    let health = get(&admin, "/health");
    assert!(health.starts_with("HTTP/1.1 200") && health.contains("5 of 5 can work"), "{health}");
    assert!(get(&admin, "/readyz").starts_with("HTTP/1.1 200"));
    let metrics = get(&admin, "/metrics");
    assert!(metrics.contains("colony_gateway_bee_events_total{outcome=\"applied\"} 1"), "{metrics}");
    assert_eq!(machine.terminate().code(), Some(0));
}

#[test]
fn bees_that_lack_a_setting_say_which_and_exit_2() {
    let directory = tempfile::tempdir().unwrap();
    let Output { status, stderr, .. } = command(directory.path()).arg("bee").output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("COLONIES_SERVER_HOST: is not set"), "{stderr}");
}

/// Runs a command with what it printed.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_is_set_up_from_generated_keys_and_again_without_a_change() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    let generate = || run(command(directory.path()).args(["keys", "generate", "--dir"]).arg(&keys));
    let (code, first) = generate();
    assert_eq!(code, Some(0), "{first}");
    assert!(first.contains("made the executor key"));
    let (_, again) = generate();
    assert!(again.contains("kept the executor key") && !again.contains("made"), "{again}");
    let (_, shown) = run(command(directory.path()).args(["keys", "show", "--dir"]).arg(&keys));
    assert!(shown.contains("attestation  ") && !shown.contains("WARNING"), "{shown}");
    let read = |name: &str| std::fs::read_to_string(keys.join(name)).unwrap().trim().to_owned();
    assert!(!shown.contains(&read("colonies_user_prvkey")), "no secret is shown");

    let server_id = first.lines().find_map(|line| line.strip_prefix("COLONIES_SERVER_ID=")).unwrap();
    let server_id = colonies::identity::IdentityId::parse(server_id).unwrap();
    let server = EmbeddedServer::start(ServerOptions::new(server_id), CancellationToken::new()).await.unwrap();
    let colony = |arguments: &[&str]| {
        let mut command = command(directory.path());
        command.env("COLONIES_SERVER_HOST", server.url()).env("COLONIES_COLONY_NAME", COLONY).args(arguments);
        for name in ["SERVER", "COLONY", "USER", "EXECUTOR"] {
            let file = keys.join(format!("colonies_{}_prvkey", name.to_lowercase()));
            command.env(format!("COLONIES_{name}_PRVKEY_FILE"), file);
        }
        command
    };
    let (code, made) = run(&mut colony(&["colony", "setup"]));
    assert_eq!((code, made.matches(": added").count()), (Some(0), 2), "{made}");
    let (code, there) = run(&mut colony(&["colony", "setup"]));
    assert_eq!((code, there.matches("there, and ours").count()), (Some(0), 2), "{there}");

    // Two machines with two bees each, which need the owner's key no more.
    for words in ["added and approved", "there, and approved"] {
        let (code, bees) = run(colony(&["colony", "setup", "--bees", "one,two"]).env("BEE_COUNT", "2"));
        assert_eq!((code, bees.matches(words).count()), (Some(0), 4), "{bees}");
    }
    let executor = format!("three-1={}", key().id());
    let (code, one) = run(&mut colony(&["colony", "setup", "--executor", &executor]));
    assert!(code == Some(0) && one.contains("three-1: added and approved"), "{one}");

    let stranger = key().to_hex();
    let foreign = |variable: &str| {
        let mut command = colony(&["colony", "setup"]);
        run(command.env_remove(format!("{variable}_FILE")).env(variable, stranger.expose()))
    };
    let (code, refused) = foreign("COLONIES_COLONY_PRVKEY");
    assert!(code == Some(1) && refused.contains("belongs to another key"), "{refused}");
    let (code, refused) = foreign("COLONIES_USER_PRVKEY");
    assert!(code == Some(1) && refused.contains("choose another --user-name"), "{refused}");
    let (code, refused) = foreign("COLONIES_SERVER_PRVKEY");
    assert!(code == Some(1) && refused.contains("not the key of this server's owner"), "{refused}");

    let before = read("colonies_user_prvkey");
    let (code, rotated) = run(&mut colony(&["keys", "rotate", "user"]));
    assert_eq!(code, Some(0), "{rotated}");
    let after = read("colonies_user_prvkey");
    let client = colony_gateway::app::colony::client(&{
        let sources = colony_gateway::config::Sources {
            environment: [("COLONIES_SERVER_HOST".to_owned(), server.url())].into(),
            file: None,
        };
        colony_gateway::config::Config::for_tools(&sources).unwrap().colony
    });
    let client = client.unwrap();
    let ask = async |key: &str| client.member(COLONY, crate::hive::key_of(key)).statistics().await;
    assert!(matches!(ask(&before).await, Err(ClientError::NotMember { .. })));
    patiently("the new key is known", ask(&after)).await.unwrap();
}

#[test]
fn attestation_keys_are_rotated_in_steps_that_say_what_comes_next() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    let cli = |arguments: &[&str]| {
        let file = keys.join("attestation_prvkey");
        run(command(directory.path()).env("ATTESTATION_PRVKEY_FILE", file).args(arguments))
    };
    let dir = keys.display().to_string();
    assert_eq!(cli(&["keys", "generate", "attestation", "--dir", &dir]).0, Some(0));
    let trusted = || std::fs::read_to_string(keys.join("attestation_pubkeys")).unwrap().lines().count();
    assert_eq!(trusted(), 1);
    let (code, early) = cli(&["keys", "rotate", "attestation", "switch"]);
    assert!(code == Some(1) && early.contains("prepare the rotation first"), "{early}");
    for (step, keys, words) in [("prepare", 2, "switch"), ("switch", 2, "retire"), ("retire", 1, "no longer trusted")] {
        let (code, said) = cli(&["keys", "rotate", "attestation", step]);
        assert!(code == Some(0) && said.contains(words), "{step}: {said}");
        assert_eq!(trusted(), keys, "{step}");
    }
    assert_eq!(cli(&["keys", "rotate", "attestation"]).0, Some(2), "the step is asked for");
    assert_eq!(cli(&["keys", "rotate", "user", "retire"]).0, Some(1));
}
