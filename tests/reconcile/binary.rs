//! The command and the admin path in the real binary, and crashes in the middle of a run.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::gateway::{Gateway, Options, PATIENCE, get, post, request};
use crate::stripe_api::{Fault, KEY, StripeStandIn};

const TOKEN: &str = "an-admin-token-of-the-tests";

fn now() -> i64 {
    colony_gateway::domain::clock::Clock::system().now().seconds()
}

fn options(data: &std::path::Path, stripe: &StripeStandIn) -> Options {
    Options::new(data)
        .with("STRIPE_SECRET_KEY", KEY)
        .with("GATEWAY_STRIPE_API_URL", &stripe.base_url)
        .with("GATEWAY_ADMIN_TOKEN", TOKEN)
        .with("GATEWAY_RECONCILE_EVENTS", "off")
        .with("GATEWAY_RECONCILE_SUBSCRIPTIONS", "off")
}

/// Events that are mapped and lead to no question of their own.
fn fill(stripe: &StripeStandIn, count: i64) {
    for number in 0..count {
        let (id, made) = (format!("evt_{number:05}"), now() - 600_000 + number * 100);
        let customer = json!({"id": format!("cus_{number}"), "object": "customer", "livemode": false, "created": made});
        stripe.put(
            &format!("/v1/events/{id}"),
            json!({"id": id, "object": "event", "type": "customer.created", "livemode": false, "created": made,
                "data": {"object": customer}}),
        );
    }
}

fn authorized(gateway: &Gateway, body: Option<&Value>) -> crate::gateway::Reply {
    let bearer = format!("Bearer {TOKEN}");
    let bytes = match body {
        Some(body) => post("/admin/reconcile", &[("authorization", &bearer)], body.to_string().as_bytes()),
        None => String::from_utf8(get("/admin/reconcile"))
            .unwrap()
            .replace("host: gateway", &format!("host: gateway\r\nauthorization: {bearer}"))
            .into_bytes(),
    };
    request(gateway.admin, &bytes)
}

fn until_ended(gateway: &Gateway) -> Value {
    let clock = colony_gateway::domain::clock::Clock::system();
    let started = clock.instant();
    loop {
        let status = authorized(gateway, None).json();
        if status["running"] == false && !status["ended"].is_null() {
            return status;
        }
        assert!(clock.instant().duration_since(started) < PATIENCE, "still {status}");
        std::thread::yield_now();
    }
}

fn run(options: &Options, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = options.command().args(arguments).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

fn recorded(options: &Options) -> Value {
    let (code, stdout, stderr) = run(options, &["revenue", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str::<Value>(&stdout).unwrap()["counts"]["events"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_run_loses_nothing_and_the_next_run_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let stripe = StripeStandIn::start().await;
    fill(&stripe, 1500);
    let options = options(directory.path(), &stripe);
    let order = json!({"what": "events"});
    // Killed while a page is awaited, again and again, each time a few pages later.
    for pages in [26, 10, 4] {
        stripe.fail_at(stripe.asked().len() + pages, Fault::Silence);
        let waits_for = stripe.asked().len() + pages;
        let gateway = options.serve();
        assert_eq!(authorized(&gateway, Some(&order)).status, 202);
        let clock = colony_gateway::domain::clock::Clock::system();
        let started = clock.instant();
        while stripe.asked().len() < waits_for {
            assert!(clock.instant().duration_since(started) < PATIENCE, "{} pages", stripe.asked().len());
            std::thread::yield_now();
        }
        gateway.kill();
    }
    let gateway = options.serve();
    authorized(&gateway, Some(&order));
    let status = until_ended(&gateway);
    let events = &status["report"]["events"];
    assert_eq!(events["error"], Value::Null, "{status}");
    let (seen, seconds) = (events["seen"].as_u64().unwrap(), events["span_seconds"][0].as_u64().unwrap());
    assert!(seen < 1500 && seconds < 600_000, "the last run went on where the cursor stood: {status}");
    let health = gateway.until_idle();
    assert_eq!((&health["inbox"]["settled"], &health["inbox"]["dead"]), (&1500.into(), &0.into()), "{health}");
    assert_eq!(recorded(&options), 1500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_comes_during_a_run_waits_for_its_turn() {
    let directory = tempfile::tempdir().unwrap();
    let stripe = StripeStandIn::start().await;
    fill(&stripe, 20);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = options(directory.path(), &stripe).with("GATEWAY_ADMIN_LISTEN", port);
    let gateway = options.serve();
    // The first run waits for an answer until it gives up.
    stripe.fail_at(stripe.asked().len() + 1, Fault::Silence);
    assert_eq!(authorized(&gateway, Some(&json!({"what": "events"}))).status, 202);
    let mut command = options.command();
    command.args(["reconcile", "events", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut command = command.spawn().expect("the binary runs");
    let mut stderr = BufReader::new(command.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    assert!(said.contains("another run is under way"), "{said}");
    let mut report = String::new();
    command.stdout.take().unwrap().read_to_string(&mut report).unwrap();
    assert_eq!(command.wait().unwrap().code(), Some(0), "{report}");
    assert_eq!(authorized(&gateway, None).json()["runs"], 2);
    gateway.until_idle();
    assert_eq!(recorded(&options), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_again_runs_beside_a_gateway_and_only_with_its_settings() {
    let directory = tempfile::tempdir().unwrap();
    let stripe = StripeStandIn::start().await;
    fill(&stripe, 20);
    let options = options(directory.path(), &stripe);
    let gateway = options.serve();
    assert_eq!(authorized(&gateway, Some(&json!({"what": "events"}))).status, 202);
    until_ended(&gateway);
    gateway.until_idle();
    let (code, stdout, stderr) = run(&options, &["reconcile", "counts", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["counts"]["events"], &report["counts"]["mended"]), (&20.into(), &json!({})), "{report}");
    // Settings that know the ledger and no endpoint are not the gateway's: its tiers may be missing as well.
    let mut elsewhere = options.command();
    elsewhere.env_clear().env("GATEWAY_DATA_DIR", directory.path());
    let Output { status, stderr, .. } = elsewhere.args(["reconcile", "counts"]).output().unwrap();
    assert_eq!(status.code(), Some(2), "{}", String::from_utf8_lossy(&stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_works_with_a_running_gateway_and_with_a_stopped_one() {
    let directory = tempfile::tempdir().unwrap();
    let stripe = StripeStandIn::start().await;
    fill(&stripe, 120);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = options(directory.path(), &stripe).with("GATEWAY_ADMIN_LISTEN", port);
    let (code, _, stderr) = run(&options, &["reconcile", "events"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("there is no inbox"), "{stderr}");

    let gateway = options.serve();
    let (code, stdout, stderr) = run(&options, &["reconcile", "events", "--dry-run"]);
    assert_eq!(code, 3, "differences are no error: {stdout}{stderr}");
    assert!(stdout.contains("120 missing") && stdout.contains("nothing was changed"), "{stdout}");
    let (code, stdout, stderr) = run(&options, &["reconcile", "all", "--json"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    testkit::examples::assert_as_documented("reconcile", &report);
    assert_eq!((&report["events"]["inserted"], &report["subscriptions"]["seen"]), (&120.into(), &0.into()));
    gateway.until_idle();
    gateway.signal("TERM");
    drop(gateway);

    fill(&stripe, 130);
    let (code, stdout, stderr) = run(&options, &["reconcile", "events", "--since", "8d"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("10 taken in") && stdout.contains("start the gateway"), "{stdout}");
    let gateway = options.serve();
    gateway.until_idle();
    assert_eq!(recorded(&options), 130);
    let without = options.clone().with("STRIPE_SECRET_KEY", "");
    gateway.signal("TERM");
    drop(gateway);
    let (code, _, stderr) = run(&without, &["reconcile"]);
    assert!(code == 1 && stderr.contains("STRIPE_SECRET_KEY"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_path_wants_a_token_and_an_order_that_it_knows() {
    let directory = tempfile::tempdir().unwrap();
    let stripe = StripeStandIn::start().await;
    let options = options(directory.path(), &stripe);
    let gateway = options.serve();
    let reply = request(gateway.admin, &post("/admin/reconcile", &[], b"{\"what\": \"events\"}"));
    assert_eq!((reply.status, reply.problem().as_str()), (401, "unauthorized"));
    let reply = authorized(&gateway, Some(&json!({"what": "everything"})));
    assert_eq!((reply.status, reply.problem().as_str()), (400, "invalid_request"));
    stripe.fail_at(1, Fault::Silence);
    assert_eq!(authorized(&gateway, Some(&json!({"what": "all"}))).status, 202);
    let reply = authorized(&gateway, Some(&json!({"what": "all"})));
    assert_eq!((reply.status, reply.problem().as_str()), (409, "busy"));
    drop(gateway);
    let gateway = options.with("STRIPE_SECRET_KEY", "").serve();
    let reply = authorized(&gateway, None);
    assert_eq!((reply.status, reply.problem().as_str()), (409, "not_configured"));
}
