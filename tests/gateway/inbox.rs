//! What operators do with the inbox of the real binary: over its admin listener, and with its file while it is stopped.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::commands::run;
use crate::gateway::{Gateway, Options, Reply, event, request};
use crate::postgres::{Database, Flavour};
use crate::route::Colony;

const TOKEN: &str = "a-token-of-the-tests";

/// Holds what names a user beside the first.
const HOLD_OTHERS: &str = r#"
[[rule]]
id = "not_expected"
action = "quarantine"
reason = "the user is none of those expected"
types = ["checkout.session.completed"]
all = [{ path = "data.object.metadata.userId", one_of = ["user_2", "user_3"] }]
"#;

fn options(directory: &Path) -> Options {
    let rules = directory.join("rules.toml");
    std::fs::write(&rules, HOLD_OTHERS).unwrap();
    let options = Options::new(directory).with("GATEWAY_GUARDIAN_RULES", rules.display());
    options.with("GATEWAY_ADMIN_TOKEN", TOKEN).with("USER", "ana")
}

/// Runs `inbox …` against a gateway that runs, with an exit code that must be 0.
fn inbox(options: &Options, gateway: &Gateway, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = try_inbox(options, gateway, arguments);
    assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
    stdout
}

fn try_inbox(options: &Options, gateway: &Gateway, arguments: &[&str]) -> (i32, String, String) {
    let address = format!("http://{}", gateway.admin);
    let all: Vec<&str> = ["inbox"].iter().chain(arguments).chain(&["--admin", &address]).copied().collect();
    run(options, &all)
}

fn call(gateway: &Gateway, method: &str, path: &str, token: Option<&str>, body: &str) -> Reply {
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n{authorization}");
    request(gateway.admin, format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes())
}

fn audit(gateway: &Gateway) -> Vec<Value> {
    let lines = gateway.whole_log().into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
    lines.filter(|line| line["target"] == "audit").collect()
}

/// How many lines of the log say this.
fn said(gateway: &Gateway, text: &str) -> usize {
    gateway.whole_log().iter().filter(|line| line.contains(text)).count()
}

/// A session that says whose customer `cus_1` is.
fn session(id: &str, user: &str) -> String {
    json!({"id": id, "object": "event", "type": "checkout.session.completed", "livemode": true, "created": 1_700_000_000,
        "api_version": "2025-03-31.basil", "data": {"object": {"id": format!("cs_{id}"), "object": "checkout.session",
        "mode": "subscription", "customer": "cus_1", "livemode": true,
        "customer_details": {"email": "ada@example.com"}, "metadata": {"userId": user}}}})
    .to_string()
}

/// A paid invoice.
fn invoice(id: &str, invoice: &str, livemode: bool) -> String {
    json!({"id": id, "object": "event", "type": "invoice.paid", "livemode": livemode, "created": 1_700_000_000,
        "api_version": "2025-03-31.basil", "data": {"object": {"id": invoice, "object": "invoice", "status": "paid",
        "customer": "cus_1", "currency": "cad", "amount_paid": 999, "livemode": livemode, "metadata": {},
        "status_transitions": {"paid_at": 1_700_000_000}}}})
    .to_string()
}

fn ledger(directory: &Path) -> Connection {
    Connection::open(directory.join("ledger.db")).unwrap()
}

fn number(directory: &Path, sql: &str) -> i64 {
    ledger(directory).query_row(sql, [], |row| row.get(0)).unwrap()
}

fn bound_to(directory: &Path) -> String {
    let sql = "SELECT user_id FROM claims WHERE subject = 'cus_1' ORDER BY rank DESC, version DESC LIMIT 1";
    ledger(directory).query_row(sql, [], |row| row.get(0)).unwrap()
}

fn post(gateway: &Gateway, body: &str) {
    assert_eq!(gateway.post(body).status, 200);
    gateway.until_idle();
}

#[test]
fn what_is_held_back_is_found_shown_without_people_and_released() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path()).with("GATEWAY_STRIPE_MODE", "live");
    let gateway = options.serve();
    post(&gateway, &session("evt_1", "user_1"));
    post(&gateway, &session("evt_2", "user_2"));
    post(&gateway, &invoice("evt_3", "in_1", false));
    assert_eq!(bound_to(directory.path()), "user_1");

    let health = gateway.until(|health| health["components"]["problems"]["status"] == "degraded");
    assert!(health["components"]["problems"]["detail"].as_str().unwrap().contains("inbox problems"));
    gateway.until(|_| gateway.metric(r#"colony_gateway_problems{code="other"}"#) == 1);
    gateway.until(|_| gateway.metric(r#"colony_gateway_problems{code="mode_mismatch"}"#) == 1);
    let problems = inbox(&options, &gateway, &["problems"]);
    assert!(problems.contains("1 quarantined as not_expected: checkout.session.completed"), "{problems}");
    assert!(problems.contains("to do: ") && problems.contains("inbox release"), "{problems}");
    assert_eq!(problems, inbox(&options, &gateway, &["list", "--groups"]));

    let list = inbox(&options, &gateway, &["list", "--state", "quarantined", "--user", "user_2"]);
    assert!(list.contains("evt_2") && !list.contains("evt_1") && !list.contains("evt_3"), "{list}");
    let shown = inbox(&options, &gateway, &["show", "evt_2"]);
    assert!(shown.contains("not_expected") && shown.contains("cus_1"), "{shown}");
    assert!(!shown.contains("ada@example.com") && !shown.contains("user_2"), "{shown}");
    assert!(inbox(&options, &gateway, &["show", "evt_2", "--reveal"]).contains("ada@example.com"));

    let dry = inbox(&options, &gateway, &["release", "--all", "--dry-run"]);
    assert!(dry.contains("2 of 2 entries would change; nothing was changed"), "{dry}");
    assert_eq!(gateway.health()["inbox"]["quarantined"], 2);
    // The door would hold it back again: a replay is refused, a release is not.
    let (code, stdout, _) = try_inbox(&options, &gateway, &["replay", "--code", "mode_mismatch"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("held it back"), "{stdout}");

    inbox(&options, &gateway, &["release", "--all", "--note", "checked with the customer"]);
    gateway.until(|health| health["inbox"]["settled"] == 3);
    assert_eq!(bound_to(directory.path()), "user_2");
    assert_eq!(number(directory.path(), "SELECT COUNT(*) FROM revenue_entries WHERE NOT livemode"), 1);
    let shown = inbox(&options, &gateway, &["show", "evt_2"]);
    assert!(shown.contains("release at") && shown.contains("by ana: checked with the customer"), "{shown}");
    gateway.until(|health| health["components"]["problems"]["status"] == "ok");
    gateway.until(|_| said(&gateway, "problem resolved") == 2);
    let log = gateway.whole_log().join("\n");
    assert_eq!(log.matches("problem opened").count(), 2, "{log}");
    assert_eq!(log.matches("problem resolved").count(), 2, "{log}");

    let audit = audit(&gateway);
    let actions: Vec<&str> = audit.iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["reveal", "release", "replay", "release"]);
    assert_eq!((&audit[1]["dry_run"], &audit[1]["changed"]), (&true.into(), &0.into()));
    assert_eq!((&audit[3]["by"], &audit[3]["matched"], &audit[3]["changed"]), (&"ana".into(), &2.into(), &2.into()));
    assert!(!log.contains("ada@example.com") && !log.contains(TOKEN));
}

#[test]
fn a_dead_entry_is_replayed_when_the_fault_is_gone_and_what_should_never_apply_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let gateway = options.serve();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON revenue_entries BEGIN SELECT RAISE(ABORT, 'not today'); END";
    ledger(directory.path()).execute_batch(refuse).unwrap();
    post(&gateway, &invoice("evt_1", "in_1", true));
    post(&gateway, &invoice("evt_2", "in_2", true));
    assert_eq!(gateway.health()["inbox"]["dead"], 2);
    gateway.until(|_| gateway.log().iter().any(|line| line.contains("problem opened")));
    ledger(directory.path()).execute_batch("DROP TRIGGER refuse").unwrap();
    for refused in [&["replay"][..], &["release"], &["drop", "--reason", "x"]] {
        let (code, _, stderr) = try_inbox(&options, &gateway, refused);
        assert_eq!(code, 1);
        assert!(stderr.contains("name entries, or give --all"), "{stderr}");
    }
    inbox(&options, &gateway, &["drop", "--event", "evt_2", "--reason", "a test of the shop"]);
    let replayed = inbox(&options, &gateway, &["replay", "--code", "ledger_rejected", "--since", "1h"]);
    assert!(replayed.contains("1 of 1 entry changed"), "{replayed}");
    gateway.until(|health| health["inbox"]["settled"] == 2);
    assert_eq!(number(directory.path(), "SELECT COUNT(*) FROM revenue_entries"), 1);
    let applied = "SELECT COUNT(*) FROM events WHERE outcome <> 'dropped'";
    assert_eq!(number(directory.path(), applied), 1, "what was dropped is not applied, and the ledger may know of it");
    let shown = inbox(&options, &gateway, &["show", "evt_2", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["outcome"], &shown["intervention"]["note"]), (&"dropped".into(), &"a test of the shop".into()));
    gateway.until(|health| health["components"]["problems"]["status"] == "ok");
    gateway.until(|_| said(&gateway, "problem resolved") == 1);
    assert_eq!(said(&gateway, "problem opened"), 1, "one alert for both");
}

#[test]
fn the_replay_of_a_settled_event_repairs_a_row_that_was_lost_exactly_once() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let gateway = options.serve();
    for (event, paid) in [("evt_1", "in_1"), ("evt_2", "in_2")] {
        post(&gateway, &invoice(event, paid, true));
    }
    let revenue = "SELECT COUNT(*) * 1000000 + SUM(amount_minor) FROM revenue_entries";
    let before = number(directory.path(), revenue);
    ledger(directory.path()).execute_batch("DELETE FROM revenue_entries WHERE key = 'in_1'").unwrap();
    post(&gateway, &invoice("evt_1", "in_1", true));
    assert_ne!(number(directory.path(), revenue), before, "Stripe sending it again repairs nothing");
    inbox(&options, &gateway, &["replay", "evt_1", "evt_2"]);
    gateway.until_idle();
    assert_eq!(number(directory.path(), revenue), before);
    let outcomes = |outcome: &str| inbox(&options, &gateway, &["list", "--code", outcome]);
    assert!(outcomes("applied").contains("evt_1") && outcomes("duplicate").contains("evt_2"));
    inbox(&options, &gateway, &["replay", "--state", "settled"]);
    gateway.until_idle();
    assert_eq!(number(directory.path(), revenue), before);
    assert_eq!(number(directory.path(), "SELECT COUNT(*) FROM events"), 2);
}

#[test]
fn a_stopped_gateway_is_worked_on_by_its_file_and_the_changes_are_there_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let stopped = |arguments: &[&str]| {
        let all: Vec<&str> = ["inbox"].iter().chain(arguments).copied().collect();
        run(&options, &all)
    };
    let (code, _, stderr) = stopped(&["list"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("there is no inbox at"), "{stderr}");
    let mut gateway = options.serve();
    post(&gateway, &session("evt_1", "user_1"));
    post(&gateway, &session("evt_2", "user_2"));
    post(&gateway, &session("evt_3", "user_3"));
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));

    assert!(stopped(&["problems"]).1.contains("2 quarantined as not_expected"));
    let dry = stopped(&["release", "--user", "user_3", "--dry-run", "--json"]);
    let dry: Value = serde_json::from_str(&dry.1).unwrap();
    assert_eq!(
        (&dry["matched"], &dry["changed"], &dry["entries"][0]["event_id"]),
        (&1.into(), &0.into(), &"evt_3".into())
    );
    assert_eq!(stopped(&["release", "evt_2"]).0, 0);
    assert_eq!(stopped(&["drop", "evt_3", "--reason", "not a customer"]).0, 0);
    let (code, stdout, _) = stopped(&["release", "evt_1", "evt_2"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("0 of 2 entries changed") && stdout.contains("on its way already"), "{stdout}");
    assert_eq!(stopped(&["resume"]).0, 0);
    assert_eq!(stopped(&["show", "99"]).0, 1);

    let file = directory.path().join("export.ndjson");
    let export = ["export", "--output", file.to_str().unwrap()];
    assert_eq!(stopped(&export).0, 0);
    assert_eq!(stopped(&export).0, 1, "an export overwrites nothing");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.lines().count() == 3 && !text.contains("ada@example.com"), "{text}");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions()) & 0o777, 0o600);
    let (_, revealed, _) = stopped(&["export", "--reveal", "--event", "evt_2"]);
    let line: Value = serde_json::from_str(&revealed).unwrap();
    assert_eq!(line["body"].as_str(), Some(session("evt_2", "user_2").as_str()));

    let gateway = options.serve();
    gateway.until(|health| health["inbox"]["settled"] == 3);
    assert_eq!(bound_to(directory.path()), "user_2");
}

#[test]
fn a_list_over_many_pages_gives_each_entry_once_while_others_arrive() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let gateway = options.serve();
    let url = format!("http://{}/webhooks/stripe", gateway.webhooks);
    let simulate = ["simulate", "--url", &url, "--events", "1200", "--seed", "3"];
    assert_eq!(run(&options, &simulate).0, 0);
    let (mut seen, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = call(&gateway, "GET", &format!("/admin/entries?limit=90{after}"), Some(TOKEN), "").json();
        seen.extend(page["entries"].as_array().unwrap().iter().map(|entry| entry["entry"].as_i64().unwrap()));
        gateway.post(&event(&format!("evt_new_{pages}")));
        pages += 1;
        match page["next"].as_i64() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!((seen.len(), pages >= 13), (1200, true));
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 1200);
    let all = inbox(&options, &gateway, &["list", "--limit", "5000", "--json"]);
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all["entries"].as_array().unwrap().len(), 1200 + pages);
    gateway.until_idle();
    // A change of more entries than one request makes.
    let changed = inbox(&options, &gateway, &["replay", "--state", "settled"]);
    assert!(changed.contains(&format!("{0} of {0} entries changed", 1200 + pages)), "{changed}");
    let health = gateway.until_idle();
    assert_eq!(health["inbox"]["settled"], 1200 + pages, "{health}");
}

#[test]
fn an_entry_comes_with_what_the_ledger_has_of_its_event_and_without_it_where_it_is_silent() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let gateway = options.serve();
    post(&gateway, &event("evt_1"));
    gateway.until_idle();
    let shown = call(&gateway, "GET", "/admin/entries/1", Some(TOKEN), "").json();
    assert_eq!((&shown["event_id"], &shown["ledger_fault"]), (&"evt_1".into(), &Value::Null), "{shown}");
    assert_eq!(shown["ledger"]["event"]["outcome"], shown["outcome"], "{shown}");
    let text = inbox(&options, &gateway, &["show", "evt_1"]);
    let outcome = shown["outcome"].as_str().unwrap();
    assert!(text.contains(&format!("ledger       {outcome} at ")), "{text}");

    let file = Connection::open(directory.path().join("ledger.db")).unwrap();
    file.execute_batch("ALTER TABLE guardian_decisions RENAME TO elsewhere").unwrap();
    let shown = call(&gateway, "GET", "/admin/entries/1", Some(TOKEN), "").json();
    assert_eq!((&shown["state"], &shown["ledger"]), (&"settled".into(), &Value::Null), "{shown}");
    assert_eq!(shown["ledger_fault"], "ledger_failed", "{shown}");
    assert!(inbox(&options, &gateway, &["show", "evt_1"]).contains("ledger       gave no answer: ledger_failed"));
}

#[test]
fn nobody_without_the_token_sees_or_changes_anything_and_wrong_requests_say_why() {
    let directory = tempfile::tempdir().unwrap();
    let with_token = options(directory.path());
    let gateway = with_token.serve();
    post(&gateway, &event("evt_1"));
    let paths = [
        ("GET", "/admin/entries"),
        ("GET", "/admin/entries/1"),
        ("GET", "/admin/problems"),
        ("GET", "/admin/breakers"),
        ("GET", "/admin/bees"),
        ("POST", "/admin/entries/replay"),
        ("POST", "/admin/entries/release"),
        ("POST", "/admin/entries/drop"),
        ("POST", "/admin/resume"),
        ("POST", "/admin/breakers/colony"),
    ];
    let all = r#"{"all":true,"note":"x","selection":{"states":["settled"]}}"#;
    for (method, path) in paths {
        for wrong in [None, Some(""), Some("a-token-of-the-testz"), Some("a-token-of-the-tests-and-more")] {
            let reply = call(&gateway, method, path, wrong, all);
            assert_eq!((reply.status, reply.problem().as_str()), (401, "unauthorized"), "{method} {path} {wrong:?}");
        }
        let other = if method == "GET" { "POST" } else { "PUT" };
        let reply = call(&gateway, other, path, Some(TOKEN), all);
        assert_eq!((reply.status, reply.headers["allow"].as_str()), (405, method), "{path}");
    }
    let (code, _, stderr) =
        try_inbox(&with_token.clone().with("GATEWAY_ADMIN_TOKEN", "another-token-of-the-tests"), &gateway, &["list"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("GATEWAY_ADMIN_TOKEN"), "{stderr}");

    let refused = |method: &str, path: &str, body: &str, detail: &str| {
        let reply = call(&gateway, method, path, Some(TOKEN), body);
        assert_eq!((reply.status, reply.problem().as_str()), (400, "invalid_request"), "{path} {body}");
        assert!(reply.json()["detail"].as_str().unwrap_or_default().contains(detail), "{}", reply.body);
    };
    refused("GET", "/admin/entries?stat=dead", "", "not known");
    refused("GET", "/admin/entries?since=yesterday", "", "must be a time");
    refused("GET", "/admin/entries/1?type=x", "", "its number alone");
    refused("POST", "/admin/entries/replay", "{}", "\"all\": true");
    refused("POST", "/admin/entries/replay", r#"{"al":true}"#, "unknown field");
    refused("POST", "/admin/entries/drop", r#"{"all":true}"#, "note");
    refused("POST", "/admin/entries/replay", r#"{"selection":{"types":["*"]}}"#, "a type may end");
    assert_eq!(call(&gateway, "POST", "/admin/entries/replay", Some(TOKEN), &" ".repeat(600_000)).status, 400);
    for missing in ["/admin/entries/99", "/admin/entries/x"] {
        assert_eq!(call(&gateway, "GET", missing, Some(TOKEN), "").problem(), "no_such_entry");
    }
    let breaker = call(&gateway, "POST", "/admin/breakers/none", Some(TOKEN), r#"{"state":"closed"}"#);
    assert_eq!((breaker.status, breaker.problem().as_str()), (404, "not_found"));
    assert_eq!(call(&gateway, "GET", "/admin/entries", Some(TOKEN), "").json()["entries"][0]["attempts"], 0);
    assert_eq!(audit(&gateway).len(), 0, "nothing was changed");

    let without = tempfile::tempdir().unwrap();
    let gateway = Options::new(without.path()).serve();
    for (method, path) in paths {
        assert_eq!(call(&gateway, method, path, Some(TOKEN), all).status, 404, "{path}");
    }
}

#[test]
fn what_a_person_asks_for_takes_the_direct_route_and_breakers_and_bees_are_shown() {
    let (colony, directory) = (Colony::start(), tempfile::tempdir().unwrap());
    let gateway = colony.options(directory.path()).with("GATEWAY_ADMIN_TOKEN", TOKEN).serve();
    let get = |path: &str| call(&gateway, "GET", path, Some(TOKEN), "").json();
    let post_to = |path: &str, body: &str| call(&gateway, "POST", path, Some(TOKEN), body).json();
    gateway.until(|_| get("/admin/bees")["bees"][0]["state"] == "idle");
    assert!(get("/admin/bees")["bees"][0]["name"].as_str().unwrap().starts_with("bee-"));
    post(&gateway, &invoice("evt_1", "in_1", true));
    assert_eq!(colony.successful(), 1);
    ledger(directory.path()).execute_batch("DELETE FROM revenue_entries").unwrap();
    let step = post_to("/admin/entries/replay", r#"{"selection":{"events":["evt_1"]}}"#);
    assert_eq!((&step["entries"][0]["refused"], &step["next"]), (&Value::Null, &Value::Null));
    gateway.until_idle();
    assert_eq!(number(directory.path(), "SELECT COUNT(*) FROM revenue_entries"), 1);
    assert_eq!(colony.successful(), 1, "a job cannot say what was asked");

    let states = |breakers: &Value| {
        breakers["breakers"].as_array().unwrap().iter().map(|breaker| breaker["state"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(states(&get("/admin/breakers")), ["closed", "closed"]);
    assert_eq!(post_to("/admin/breakers/colony", r#"{"state":"open"}"#)["state"], "open");
    gateway.until(|health| health["route"] == "direct");
    post(&gateway, &invoice("evt_2", "in_2", true));
    assert_eq!(colony.successful(), 1);
    assert_eq!(post_to("/admin/breakers/colony", r#"{"state":"closed"}"#)["state"], "closed");
    gateway.until(|health| health["route"] == "colony_os");
    post(&gateway, &invoice("evt_3", "in_3", true));
    assert_eq!(colony.successful(), 2);
    gateway.until(|_| audit(&gateway).len() == 3);
    let actions: Vec<Value> = audit(&gateway).into_iter().map(|line| line["action"].clone()).collect();
    assert_eq!(actions, ["replay", "breaker", "breaker"]);
}

const UNKNOWN_TO_ALL: &str = "
CREATE FUNCTION gateway.refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the moon is full' USING ERRCODE = 'ZZ001'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON gateway.events FOR EACH ROW EXECUTE FUNCTION gateway.refuse();";

const UNKNOWN_TO_ONE: &str = "
CREATE TRIGGER refuse BEFORE INSERT ON gateway.events FOR EACH ROW WHEN (NEW.id = 'evt_bad')
    EXECUTE FUNCTION gateway.refuse();";

#[tokio::test]
async fn an_error_that_no_rule_knows_pauses_dispatch_until_somebody_resumes_it() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::create(Flavour::Supabase).await;
    let options = options(directory.path()).with("DATABASE_URL", database.url());
    assert_eq!(run(&options, &["migrate"]).0, 0);
    database.run(UNKNOWN_TO_ALL).await;
    let gateway = options.serve();
    for number in 0..20 {
        assert_eq!(gateway.post(&event(&format!("evt_{number}"))).status, 200);
    }
    let health = gateway.until(|health| health["components"]["dispatch"]["status"] == "degraded");
    assert_eq!((&health["inbox"]["dead"], &health["status"]), (&0.into(), &"degraded".into()));
    assert!(health["components"]["dispatch"]["detail"].as_str().unwrap().contains("ZZ001"), "{health}");
    gateway.until(|_| gateway.metric("colony_gateway_dispatch_paused") == 1);
    let waiting = inbox(&options, &gateway, &["list", "--state", "waiting", "--json"]);
    let waiting: Value = serde_json::from_str(&waiting).unwrap();
    assert!(waiting["entries"].as_array().unwrap().iter().all(|entry| entry["attempts"] == 0), "{waiting}");

    // The cause is mended; nobody waits for the next probe.
    database.run("DROP TRIGGER refuse ON gateway.events").await;
    inbox(&options, &gateway, &["resume"]);
    let health = gateway.until(|health| health["inbox"]["settled"] == 20);
    assert_eq!(health["inbox"]["dead"], 0);
    gateway.until(|health| health["components"]["dispatch"]["status"] == "ok");
    gateway.until(|_| said(&gateway, "dispatch resumed") == 1);
    assert_eq!(said(&gateway, "dispatch paused"), 1);

    // One event alone is not held against the others.
    database.run(UNKNOWN_TO_ONE).await;
    for id in ["evt_a", "evt_bad", "evt_b"] {
        assert_eq!(gateway.post(&event(id)).status, 200);
    }
    gateway.until(|health| health["inbox"]["settled"] == 22);
    gateway.until(|_| {
        gateway.log().iter().any(|line| line.contains("the entry is tried again") && line.contains("evt_bad"))
    });
    assert_eq!(gateway.post(&event("evt_c")).status, 200);
    gateway.until(|health| health["inbox"]["settled"] == 23);
    inbox(&options, &gateway, &["resume"]);
    gateway.until(|health| health["inbox"]["dead"] == 1);
    let listed = inbox(&options, &gateway, &["list", "--state", "dead"]);
    assert!(listed.contains("evt_bad") && listed.contains("ledger_unknown"), "{listed}");
    assert_eq!(gateway.health()["components"]["dispatch"]["status"], "ok");
    database.run("DROP TRIGGER refuse ON gateway.events").await;
    inbox(&options, &gateway, &["replay", "--code", "ledger_unknown"]);
    gateway.until(|health| health["inbox"]["settled"] == 24);
}
