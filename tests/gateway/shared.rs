//! Gateways that share an inbox in PostgreSQL: what one took is not lost with it, nor applied twice; a database that is away costs
//! nothing but time; what would break a promise is refused.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use testkit::proxy::Proxy;

use crate::commands::run;
use crate::gateway::{Gateway, Options, event, post, read_reply, signature};
use crate::postgres::{Database, Flavour};

/// A gateway on a database with inbox and ledger.
fn options(data: &Path, database: &Database) -> Options {
    let options = Options::new(data)
        .with("DATABASE_URL", database.url())
        .with("GATEWAY_INBOX_URL", database.url())
        .with("GATEWAY_LEASE", "4s")
        .with("GATEWAY_LEDGER_TIMEOUT", "2s");
    let (code, _, stderr) = run(&options, &["migrate"]);
    assert_eq!(code, 0, "{stderr}");
    options
}

/// Sends events `{from}…` to a gateway until it answers no more, or `count` are acknowledged. Gives the ids that it acknowledged.
fn send(gateway: &Gateway, from: usize, count: usize) -> std::thread::JoinHandle<BTreeSet<String>> {
    let address = gateway.webhooks;
    std::thread::spawn(move || {
        let mut acknowledged = BTreeSet::new();
        for number in from..from + count {
            let id = format!("evt_{number}");
            let body = event(&id);
            let Ok(mut stream) = std::net::TcpStream::connect(address) else { break };
            let request = post("/webhook", &[("stripe-signature", &signature(&body))], body.as_bytes());
            if stream.write_all(&request).is_err() {
                break;
            }
            match read_reply(&mut stream) {
                Some(reply) if reply.status == 200 => drop(acknowledged.insert(id)),
                Some(_) => {}
                None => break,
            }
        }
        acknowledged
    })
}

async fn ids(database: &Database, question: &str) -> BTreeSet<String> {
    let pool = database.sessions();
    let ids: Vec<String> = pool.values(question).await.unwrap();
    ids.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_killed_takes_nothing_with_it_and_its_neighbour_goes_on_with_all_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::create(Flavour::Durable).await;
    let options = options(directory.path(), &database);
    let (one, other) = (options.serve(), options.serve());
    // The same events to both, and some to one alone.
    let senders = [send(&one, 0, 1_000_000), send(&one, 500_000, 500_000), send(&other, 0, 200)];
    one.until(|health| health["inbox"]["settled"].as_u64().unwrap_or(0) >= 100);
    one.kill();
    let acknowledged: BTreeSet<String> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
    assert!(acknowledged.len() >= 100, "{}", acknowledged.len());
    let health = other.until_idle();
    assert_eq!((&health["inbox"]["dead"], &health["inbox"]["quarantined"]), (&0.into(), &0.into()), "{health}");
    let stored = ids(&database, "SELECT event_id FROM gateway_inbox.entries").await;
    let applied = ids(&database, "SELECT id FROM gateway.events").await;
    assert!(stored.is_superset(&acknowledged), "acknowledged and lost");
    assert_eq!(applied, stored, "and each is in the ledger");
    assert_eq!(health["inbox"]["settled"].as_u64(), Some(stored.len() as u64), "with one entry each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_told_and_webhooks_are_taken_again_when_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::create(Flavour::Durable).await;
    let mut proxy = Proxy::start(([127, 0, 0, 1], database.port()).into()).await;
    let behind = database.url().replace(&database.port().to_string(), &proxy.address().port().to_string());
    let options = options(directory.path(), &database).with("GATEWAY_INBOX_URL", behind);
    let gateway = options.serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    proxy.refuse().await;
    let refused = gateway.post(&event("evt_2"));
    assert_eq!((refused.status, refused.problem().as_str()), (503, "inbox_unavailable"));
    assert_eq!(refused.headers["retry-after"], "5");
    assert_eq!(
        (gateway.get("/readyz").status, gateway.get("/livez").status),
        (503, 200),
        "a restart would mend nothing"
    );
    let (_, report, _) = run(&options, &["check", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let found = report["components"].as_array().unwrap().iter().find(|found| found["component"] == "inbox database");
    assert_eq!(found.map(|found| &found["status"]), Some(&"down".into()), "{report}");
    proxy.listen_again().await;
    gateway.until(|health| health["ready"] == true);
    assert_eq!(gateway.post(&event("evt_2")).status, 200);
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 2);
    // A start does not wait for it either.
    proxy.refuse().await;
    let second = options.serve();
    assert_eq!(second.post(&event("evt_3")).status, 503);
    proxy.listen_again().await;
    second.until(|health| health["ready"] == true);
    assert_eq!(second.post(&event("evt_3")).status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_a_disk_takes_webhooks_while_the_database_is_away_and_brings_them_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::create(Flavour::Durable).await;
    let mut proxy = Proxy::start(([127, 0, 0, 1], database.port()).into()).await;
    let behind = database.url().replace(&database.port().to_string(), &proxy.address().port().to_string());
    let options = options(&directory.path().join("data"), &database)
        .with("GATEWAY_INBOX_URL", behind)
        .with("GATEWAY_INBOX_SPILL_DIR", directory.path().join("spill").display());
    let gateway = options.serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    gateway.until_idle();
    proxy.refuse().await;
    for id in ["evt_2", "evt_3", "evt_2"] {
        assert_eq!(gateway.post(&event(id)).status, 200);
    }
    let health = gateway.until(|health| health["components"]["spill"]["status"] == "degraded");
    assert_eq!((gateway.get("/readyz").status, &health["status"]), (200, &"degraded".into()), "{health}");
    gateway.kill();
    let gateway = options.serve();
    assert_eq!(gateway.post(&event("evt_4")).status, 200, "a start finds it away, too");
    gateway.until(|_| gateway.metric("colony_gateway_inbox_spilled") == 3);
    let (_, report, _) = run(&options, &["check", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let found = report["components"].as_array().unwrap().iter().find(|found| found["component"] == "inbox spill");
    assert!(found.unwrap()["detail"].as_str().unwrap().starts_with("3 deliveries stand in it"), "{report}");
    proxy.listen_again().await;
    gateway.until(|health| health["components"]["spill"]["status"] == "ok" && health["inbox"]["settled"] == 4);
    assert_eq!(gateway.metric("colony_gateway_inbox_spilled"), 0);
    assert_eq!(ids(&database, "SELECT id FROM gateway.events").await.len(), 4);
    let (code, _, stderr) = run(&options.with("GATEWAY_INBOX_URL", ""), &["config", "check"]);
    assert!(code == 2 && stderr.contains("inbox.spill_dir"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_are_removed_leave_no_delivery_behind_unseen() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::create(Flavour::Durable).await;
    let mut proxy = Proxy::start(([127, 0, 0, 1], database.port()).into()).await;
    let behind = database.url().replace(&database.port().to_string(), &proxy.address().port().to_string());
    let bare = options(&directory.path().join("data"), &database).with("GATEWAY_INBOX_URL", behind);
    let beside = bare.clone().with("GATEWAY_INBOX_SPILL_DIR", directory.path().join("spill").display());
    proxy.refuse().await;
    let gateway = beside.serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    gateway.kill();
    proxy.listen_again().await;
    let moved = bare.clone().with("GATEWAY_INBOX_SPILL_DIR", directory.path().join("other").display());
    let alone = bare.clone().with("GATEWAY_INBOX_URL", "");
    for settings in [&bare, &moved, &alone] {
        let log = settings.try_serve().err().expect("it would leave a delivery behind").join("\n");
        assert!(log.contains("inbox.spill_dir no longer names"), "{log}");
    }
    let (code, report, _) = run(&bare, &["check", "--json"]);
    assert!(code == 2 && report.contains("1 delivery stands in"), "{report}");
    let (code, _, stderr) = run(&bare, &["inbox", "move", "--from"]);
    assert!(code != 0 && stderr.contains("inbox.spill_dir no longer names"), "{stderr}");
    let gateway = beside.serve();
    gateway.until(|health| health["components"]["spill"]["status"] == "ok" && health["inbox"]["settled"] == 1);
    drop(gateway);
    drop(bare.serve());
    // Without the database, entries may wait there.
    let gateway = alone.serve();
    let health = gateway.health();
    let told = &health["components"]["former inbox"];
    assert!(told["status"] == "degraded" && health["status"] == "degraded", "{health}");
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("inbox move --from")), "{health}");
    drop(gateway);
    let (_, report, _) = run(&alone, &["check", "--json"]);
    assert!(report.contains("former inbox"), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_with_the_gateway_stopped_finds_what_stands_beside_the_database() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::create(Flavour::Durable).await;
    let mut proxy = Proxy::start(([127, 0, 0, 1], database.port()).into()).await;
    let behind = database.url().replace(&database.port().to_string(), &proxy.address().port().to_string());
    let options = options(&directory.path().join("data"), &database)
        .with("GATEWAY_INBOX_SPILL_DIR", directory.path().join("spill").display());
    let gateway = options.clone().with("GATEWAY_INBOX_URL", behind).serve();
    assert_eq!(gateway.post(&event("evt_0")).status, 200);
    gateway.until_idle();
    proxy.refuse().await;
    let body = event("evt_1").replace("\"object\":{", "\"object\":{\"customer\":\"cus_ann\",");
    assert!(body.contains("cus_ann"), "{body}");
    assert_eq!(gateway.post(&body).status, 200);
    let (code, _, stderr) = run(&options, &["erase", "--customer", "cus_ann"]);
    assert!(code == 1 && stderr.contains("GATEWAY_ADMIN_TOKEN"), "the gateway has the file: {stderr}");
    gateway.kill();
    let (code, _, stderr) = run(&options, &["erase", "--customer", "cus_ann"]);
    assert!(code == 1 && stderr.contains("evt_1"), "it is not settled: {stderr}");
    let carried = ids(&database, "SELECT event_id FROM gateway_inbox.entries").await;
    assert_eq!(carried, BTreeSet::from(["evt_0".to_owned(), "evt_1".to_owned()]));
}

#[tokio::test]
async fn what_would_break_a_promise_of_a_shared_inbox_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = Options::new(directory.path());
    let database = Database::create(Flavour::Durable).await;
    let embedded = file.clone().with("GATEWAY_INBOX_URL", database.url());
    let log = embedded.try_serve().err().expect("a ledger of one gateway is refused").join("\n");
    assert!(log.contains("a ledger that they share"), "{log}");
    // A file with an entry that no gateway would work on any more.
    let gateway = file.clone().with("DATABASE_URL", "postgres://nobody@127.0.0.1:1/x").serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    gateway.kill();
    let shared = options(directory.path(), &database);
    let log = shared.try_serve().err().expect("it does not start").join("\n");
    assert!(log.contains("are not settled (1)"), "{log}");
    let elsewhere = tempfile::tempdir().unwrap();
    let shared = Options { data: elsewhere.path().to_owned(), ..shared };
    let archive = elsewhere.path().join("now.age").display().to_string();
    let (code, _, stderr) = run(&shared, &["backup", "--to", &archive]);
    assert!(code == 1 && stderr.contains("back up that database"), "{stderr}");
    let hasty = Database::create(Flavour::Plain).await;
    let log = shared.with("GATEWAY_INBOX_URL", hasty.url()).try_serve().err().expect("it does not start").join("\n");
    assert!(log.contains("fsync or full_page_writes is off"), "{log}");
}

#[tokio::test]
async fn dev_does_its_main_job_with_the_inbox_in_a_database_that_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::create(Flavour::Plain).await;
    let url = database.url();
    let arguments = |events: &'static str| {
        ["dev", "--events", events, "--seed", "7", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    };
    let options = Options::new(directory.path()).with("GATEWAY_INBOX_URL", "postgres://production.example/x");
    let dev = |events| run(&options, &[&arguments(events)[..], &["--inbox", &url]].concat());
    let (code, stdout, stderr) = dev("500");
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    assert!(stdout.contains("500 events applied once each") && stdout.contains("route: colony_os, "), "{stdout}");
    assert!(ids(&database, "SELECT event_id FROM gateway_inbox.entries").await.len() >= 500);
    let (code, _, stderr) = dev("1");
    assert!(code == 1 && stderr.contains("give `dev` an empty one"), "{stderr}");
}
