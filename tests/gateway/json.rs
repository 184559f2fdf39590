//! `docs/json.md` says what `--json` prints: each example is held to the real binary.

use serde_json::{Value, json};
use testkit::examples::{assert_as_documented, example};

use crate::commands::run;
use crate::gateway::{Gateway, Options};

const TOKEN: &str = "a-token-for-the-tests-only";

/// What a command prints with `--json`.
fn printed(options: &Options, arguments: &[&str]) -> Value {
    let (_, stdout, stderr) = run(options, &[arguments, &["--json"]].concat());
    serde_json::from_str(&stdout).unwrap_or_else(|fault| panic!("{arguments:?}: {fault}\n{stdout}{stderr}"))
}

fn event(id: &str, kind: &str, livemode: bool, object: &Value) -> String {
    json!({"id": id, "object": "event", "type": kind, "livemode": livemode, "created": now(),
        "api_version": "2025-03-31.basil", "data": {"object": object}})
    .to_string()
}

fn now() -> i64 {
    colony_gateway::domain::clock::Clock::system().now().seconds()
}

fn subscription(id: &str, customer: &str, metadata: &Value) -> Value {
    json!({"id": id, "object": "subscription", "customer": customer, "status": "active", "livemode": true, "currency": "cad",
        "created": now(), "metadata": metadata, "items": {"object": "list", "data": [{
            "id": "si_1", "object": "subscription_item", "quantity": 1, "current_period_start": now(),
            "current_period_end": now() + 86_400, "price": {"id": "price_gold", "object": "price", "currency": "cad",
            "unit_amount": 1999, "recurring": {"interval": "month", "interval_count": 1}, "metadata": {"tier": "gold"}}}]}})
}

/// Somebody who pays, somebody who pays without a name, money, and an event of the wrong mode.
fn fill(gateway: &Gateway) {
    let invoice = json!({"id": "in_1", "object": "invoice", "customer": "cus_1", "currency": "cad", "status": "paid", "total": 1999,
        "amount_due": 1999, "amount_paid": 1999, "livemode": true, "subscription": "sub_1", "charge": "ch_1",
        "payment_intent": "pi_1", "created": now(), "status_transitions": {"paid_at": now()},
        "lines": {"object": "list", "data": []}});
    let created = "customer.subscription.created";
    for body in [
        event("evt_1", created, true, &subscription("sub_1", "cus_1", &json!({"userId": "ada"}))),
        event("evt_2", created, true, &subscription("sub_2", "cus_2", &json!({}))),
        event("evt_3", "invoice.paid", true, &invoice),
        event("evt_4", "customer.updated", false, &json!({"id": "cus_9", "object": "customer", "metadata": {}})),
    ] {
        assert_eq!(gateway.post(&body).status, 200);
    }
    gateway.until_idle();
}

#[test]
fn what_commands_print_as_json_is_what_the_page_says() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path())
        .with("GATEWAY_ADMIN_TOKEN", TOKEN)
        .with("GATEWAY_STRIPE_MODE", "live")
        .with("USER", "ana");
    let gateway = options.serve();
    fill(&gateway);
    let options = options.with("GATEWAY_ADMIN_LISTEN", gateway.admin);
    let documented = |heading: &str, arguments: &[&str]| assert_as_documented(heading, &printed(&options, arguments));
    documented("check", &["check"]);
    documented("revenue", &["revenue"]);
    documented("person", &["person", "cus_1"]);
    documented("findings", &["findings"]);
    documented("inbox problems", &["inbox", "problems"]);
    documented("inbox replay", &["inbox", "replay", "evt_4"]);
    documented("inbox replay", &["inbox", "release", "evt_1", "--dry-run"]);
    documented("inbox replay", &["inbox", "drop", "evt_4", "--reason", "of the wrong mode"]);
    documented("inbox list", &["inbox", "list", "evt_4"]);
    documented("inbox show", &["inbox", "show", "evt_4"]);
    documented("erase", &["erase", "--customer", "cus_1", "--dry-run"]);

    // Lines that have the form of an entry of a list.
    let entry = example("inbox list")["entries"][0].clone();
    let (_, exported, _) = run(&options, &["inbox", "export", "evt_4"]);
    let line: Value = serde_json::from_str(exported.trim()).unwrap();
    assert_eq!(fields(&line), fields(&entry));

    let url = format!("http://{}/webhooks/stripe", gateway.webhooks);
    documented("send", &["send", "invoice.paid", "--user", "ada", "--url", &url]);
    documented("simulate", &["simulate", "--url", &url, "--events", "3"]);
}

/// Names of an object's fields.
fn fields(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}
