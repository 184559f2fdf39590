//! The report, of what runs and of what does not.

use colony_gateway::domain::clock::Clock;
use colony_gateway::stripe::simulator::sign;
use serde_json::{Value, json};

use crate::bees::Bees;
use crate::gateway::{Gateway, Options, event, post, request};
use crate::redis_server::Redis;
use crate::run;
use crate::stripe_api::{KEY, StripeStandIn};

fn report(options: &Options) -> (i32, Value) {
    let (code, stdout, stderr) = run(options, &["check", "--json"]);
    (code, serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}")))
}

fn status<'a>(report: &'a Value, component: &str) -> &'a str {
    finding(report, component)["status"].as_str().unwrap()
}

fn finding<'a>(report: &'a Value, component: &str) -> &'a Value {
    let components = report["components"].as_array().unwrap();
    components
        .iter()
        .find(|found| found["component"] == component)
        .unwrap_or_else(|| panic!("no {component}: {report}"))
}

#[test]
fn a_machine_where_nothing_is_set_up_is_not_healthy() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        Options::new(directory.path()).with("STRIPE_WEBHOOK_SECRET", "").with("GATEWAY_ADMIN_LISTEN", "127.0.0.1:9");
    let (code, bare) = report(&options);
    assert_eq!((code, status(&bare, "gateway")), (1, "degraded"), "{bare:#}");
}

#[test]
fn a_stopped_gateway_is_down_and_its_inbox_is_read_from_the_file() {
    let directory = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let options = Options::new(directory.path()).with("GATEWAY_ADMIN_LISTEN", "127.0.0.1:9");
    let (code, nothing) = report(&options);
    assert_eq!((code, status(&nothing, "gateway"), status(&nothing, "inbox")), (2, "down", "not_configured"));
    assert!(!directory.path().join("inbox.db").exists(), "looking makes nothing");

    let mut gateway = Options::new(directory.path()).serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    gateway.until_idle();
    // The lock is held: looking at the file needs none.
    let (_, beside) = report(&options);
    assert_eq!(status(&beside, "inbox"), "ok");
    gateway.signal("TERM");
    gateway.wait();
    let (code, stopped) = report(&options);
    assert_eq!((code, status(&stopped, "inbox"), status(&stopped, "ledger")), (2, "ok", "ok"));
    assert!(finding(&stopped, "gateway")["action"].as_str().unwrap().contains("serve"));
    let (code, table, _) = run(&options, &["check"]);
    assert!(
        code == 2 && table.contains("gateway") && table.contains("-> start it") && !table.contains('\u{1b}'),
        "{table}"
    );
}

#[test]
fn a_running_gateway_is_healthy_and_what_is_held_back_makes_it_degraded() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).serve();
    let options = Options::new(directory.path())
        .with("GATEWAY_ADMIN_LISTEN", gateway.admin)
        .with("GATEWAY_LISTEN", gateway.webhooks);
    let (code, healthy) = report(&options);
    assert_eq!((code, healthy["status"].as_str()), (0, Some("ok")), "{healthy:#}");
    assert_eq!(status(&healthy, "gateway"), "ok");

    assert_eq!(gateway.post("{\"object\":\"no event\"}").status, 200);
    let (code, held) = report(&options);
    assert_eq!((code, status(&held, "inbox")), (1, "degraded"), "{held:#}");
}

#[test]
fn readiness_is_0_or_1_and_needs_nothing_but_the_admin_address() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).serve();
    let options = Options::new(directory.path()).with("GATEWAY_ADMIN_LISTEN", gateway.admin);
    assert_eq!(run(&options, &["check", "--ready"]), (0, String::new(), String::new()));
    // Settings that a whole report would refuse are no business of a health check.
    let broken = options
        .clone()
        .with("STRIPE_WEBHOOK_SECRET", "")
        .with("DATABASE_URL_FILE", directory.path().join("none").display())
        .with("GATEWAY_LEASE", "for ever");
    assert_eq!(run(&broken, &["check"]).0, 2);
    assert_eq!(run(&broken, &["check", "--ready"]).0, 0);
    gateway.kill();
    let (code, stdout, stderr) = run(&options, &["check", "--ready"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with("not ready: no answer at 127.0.0.1:"), "{stderr}");
    let (code, _, stderr) = run(&options.with("GATEWAY_ADMIN_LISTEN", "here"), &["check", "--ready"]);
    assert!(code == 1 && stderr.contains("GATEWAY_ADMIN_LISTEN"), "{code} {stderr}");
}

#[test]
fn bees_alone_answer_the_same_question() {
    let directory = tempfile::tempdir().unwrap();
    let key = "ddf7f7791208083b6a9ed975a72684f6406a269cfa36f1b1c32045c0a71fff05";
    let options = Options::new(directory.path())
        .with("COLONIES_SERVER_HOST", "http://127.0.0.1:9")
        .with("COLONIES_COLONY_NAME", "revenue")
        .with("COLONIES_EXECUTOR_PRVKEY", key)
        .with("ATTESTATION_PRVKEY", key)
        .with("GATEWAY_LEDGER_SQLITE_PATH", directory.path().join("ledger.db").display());
    let bees = Bees::start(&options);
    let asked = options.with("GATEWAY_ADMIN_LISTEN", bees.admin);
    assert_eq!(run(&asked, &["check", "--ready"]), (0, String::new(), String::new()), "although the colony is away");
    drop(bees);
    assert_eq!(run(&asked, &["check", "--ready"]).0, 1);
}

#[test]
fn redis_the_database_and_the_colony_that_are_away_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    let options = Options::new(directory.path())
        .with("REDIS_URL", redis.url())
        .with("DATABASE_URL", "postgres://gateway@127.0.0.1:9/none")
        .with("USE_COLONY_OS", "true")
        .with("COLONIES_SERVER_HOST", "http://127.0.0.1:9");
    let (code, away) = report(&options);
    assert_eq!(code, 2);
    assert_eq!(
        ["heartbeat", "ledger", "colony", "bees"].map(|part| status(&away, part)),
        ["ok", "down", "down", "down"]
    );
    let ledger = finding(&away, "ledger");
    assert!(ledger["detail"].as_str().unwrap().contains("127.0.0.1:9 refuses connections"), "{away:#}");
    assert!(ledger["action"].as_str().unwrap().contains("start the database"), "{away:#}");
    drop(redis);
    let (code, away) = report(&options.with("DATABASE_URL", ""));
    assert_eq!(status(&away, "heartbeat"), "degraded");
    assert_eq!(code, 2, "no gateway runs");
}

#[test]
fn a_database_that_does_not_run_is_named_with_what_waits_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path()).with("DATABASE_URL", "postgres://gateway@127.0.0.1:9/none");
    let gateway = options.serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    let (_, report) = report(&options.with("GATEWAY_ADMIN_LISTEN", gateway.admin));
    let detail = finding(&report, "ledger")["detail"].as_str().unwrap();
    assert_eq!(
        detail,
        "127.0.0.1:9 refuses connections: the database is not running; 1 entry waits and goes on by itself"
    );
}

fn endpoint(change: &[(&str, Value)]) -> Value {
    let mut endpoint = json!({
        "id": "we_1", "object": "webhook_endpoint", "url": "https://pay.example.com/webhooks/stripe", "status": "enabled",
        "enabled_events": ["*"], "api_version": null, "livemode": false,
    });
    for (key, value) in change {
        endpoint[*key] = value.clone();
    }
    json!({"object": "list", "data": [endpoint], "has_more": false, "url": "/v1/webhook_endpoints"})
}

#[test]
fn the_stripe_key_and_the_endpoint_are_judged_as_stripe_has_them() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let stripe = runtime.block_on(StripeStandIn::start());
    let options = Options::new(directory.path())
        .with("GATEWAY_ADMIN_LISTEN", "127.0.0.1:9")
        .with("STRIPE_SECRET_KEY", KEY)
        .with("GATEWAY_STRIPE_API_URL", &stripe.base_url);
    let path = "/v1/webhook_endpoints";
    let judged = |change: &[(&str, Value)]| {
        stripe.put(path, endpoint(change));
        let (_, report) = report(&options);
        (status(&report, "stripe endpoint").to_owned(), finding(&report, "stripe endpoint")["detail"].to_string())
    };
    assert_eq!(judged(&[]).0, "ok");
    assert_eq!(judged(&[("status", json!("disabled"))]).0, "down");
    let (level, detail) = judged(&[("enabled_events", json!(["invoice.paid"]))]);
    assert!(level == "degraded" && detail.contains("customer.subscription.updated"), "{detail}");
    assert_eq!(judged(&[("url", json!("https://pay.example.com/elsewhere"))]).0, "degraded");

    let (_, good) = report(&options);
    assert_eq!((status(&good, "stripe key"), status(&good, "clock")), ("ok", "ok"), "{good:#}");
    let (_, bad) = report(&options.with("STRIPE_SECRET_KEY", "rk_test_revoked"));
    assert_eq!((status(&bad, "stripe key"), status(&bad, "stripe endpoint")), ("down", "degraded"), "{bad:#}");
}

/// Posts an event under a secret, to the endpoint that the environment describes.
fn deliver(gateway: &Gateway, secret: &str, id: &str) -> u16 {
    let body = event(id);
    let header = sign(secret, Clock::system().now(), body.as_bytes());
    request(gateway.webhooks, &post("/webhooks/stripe", &[("stripe-signature", &header)], body.as_bytes())).status
}

#[test]
fn a_wrong_webhook_secret_is_told_and_a_good_delivery_ends_that() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).serve();
    let options = Options::new(directory.path()).with("GATEWAY_ADMIN_LISTEN", gateway.admin);
    assert_eq!(deliver(&gateway, "whsec_of_another_endpoint", "evt_1"), 400);
    let health = gateway.until(|health| health["components"]["signatures"]["status"] == "degraded");
    assert_eq!(health["status"], "degraded", "{health}");
    assert_eq!((gateway.get("/health").status, gateway.get("/readyz").status), (200, 200), "anyone can post that");
    let (code, refused) = report(&options);
    assert_eq!((code, status(&refused, "signatures")), (1, "degraded"), "{refused:#}");
    let found = finding(&refused, "signatures");
    assert!(found["detail"].as_str().unwrap().contains("1 fit no secret here"), "{found}");
    assert!(found["action"].as_str().unwrap().contains("signing secret"), "{found}");
    let gateway_row = finding(&refused, "gateway")["detail"].as_str().unwrap();
    assert_eq!(gateway_row, "signatures (see signatures below)");

    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    gateway.until(|health| health["components"]["signatures"]["status"] == "ok");
    assert_eq!(report(&options).0, 0);
}
