//! `erase` with the real binary, on a running gateway and on a stopped one.

use std::path::Path;

use colony_gateway::ledger::person::{PERSON_IDS_MAX, Subject};

use crate::commands::run;
use crate::gateway::{Gateway, Options, post, request};

const TOKEN: &str = "a-token-for-the-tests-only";
const MAIL: &str = "ann@mail.example";

fn options(directory: &Path) -> Options {
    Options::new(directory).with("GATEWAY_ADMIN_TOKEN", TOKEN)
}

fn event(id: &str, customer: &str, mail: &str) -> String {
    format!(
        r#"{{"id":"{id}","object":"event","type":"customer.updated","livemode":false,"created":1700000000,
        "api_version":"2025-03-31.basil","data":{{"object":{{"id":"{customer}","object":"customer","email":"{mail}",
        "metadata":{{"userId":"ann-1"}}}}}}}}"#
    )
}

/// The options of a command about this gateway.
fn about(options: &Options, gateway: &Gateway) -> Options {
    options.clone().with("GATEWAY_ADMIN_LISTEN", gateway.admin)
}

fn stop(mut gateway: Gateway) {
    gateway.signal("TERM");
    assert!(gateway.wait().success());
}

/// Files of a directory that hold a text.
fn files_with(directory: &Path, text: &str) -> Vec<String> {
    let files = std::fs::read_dir(directory).unwrap().flatten().filter(|entry| entry.path().is_file());
    let holds = |path: &Path| std::fs::read(path).unwrap().windows(text.len()).any(|part| part == text.as_bytes());
    files.filter(|entry| holds(&entry.path())).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_persons_data_is_gone_from_every_file_of_a_running_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let gateway = options.serve();
    let command = about(&options, &gateway);
    assert_eq!(gateway.post(&event("evt_1", "cus_ann", MAIL)).status, 200);
    assert_eq!(gateway.post(&event("evt_2", "cus_bob", "bob@mail.example").replace("ann-1", "bob-1")).status, 200);
    gateway.until_idle();
    let (code, stdout, stderr) = run(&command, &["erase", "--user", "ann-1", "--dry-run"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("would erase:") && stdout.contains("inbox    bodies: 1"), "{stdout}");
    let (code, stdout, stderr) = run(&command, &["erase", "--user", "ann-1", "--reason", "request 7", "--json"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["inbox_bodies"], &report["ledger_events"]), (&1.into(), &1.into()), "{report}");
    assert_eq!(report["ledger_rows"]["bindings"], 1, "{report}");

    // What is left of the entry says why its body is gone.
    let (code, shown, said) = run(&command, &["inbox", "show", "evt_1"]);
    assert!(code == 0 && shown.contains("removed: its person was erased on 2"), "{shown}{said}");

    // The audit lines, here and there, tell the fingerprint and not the id.
    let customer = Subject::customer("cus_ann").unwrap().fingerprint();
    let user = Subject::user("ann-1").unwrap().fingerprint();
    assert!(stderr.contains(&user) && stderr.contains("request 7") && !stderr.contains("ann-1"), "{stderr}");
    let audit: Vec<String> = gateway.whole_log().into_iter().filter(|line| line.contains("\"audit\"")).collect();
    assert!(audit.iter().any(|line| line.contains(&customer) && line.contains("erase")), "{audit:?}");
    assert!(!audit.concat().contains("cus_ann") && !audit.concat().contains("ann-1"), "{audit:?}");

    // A late event of the same person does not bring it back into the ledger.
    assert_eq!(gateway.post(&event("evt_3", "cus_ann", MAIL)).status, 200);
    gateway.until_idle();
    let (code, stdout, _) = run(&command, &["erase", "--user", "ann-1"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("was erased before"), "{stdout}");
    let (code, stdout, _) = run(&command, &["erase", "--customer", "cus_ann"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("inbox    bodies: 1") || stdout.contains("inbox    bodies: 0"), "{stdout}");
    assert!(stdout.contains("payloads of events: 0"), "{stdout}");
    stop(gateway);
    assert_eq!(files_with(directory.path(), MAIL), Vec::<String>::new());
    assert!(!files_with(directory.path(), "bob@mail.example").is_empty());
}

#[test]
fn a_stopped_gateways_files_are_erased_in_place_and_it_starts_again() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let gateway = options.serve();
    assert_eq!(gateway.post(&event("evt_1", "cus_ann", MAIL)).status, 200);
    gateway.until_idle();
    stop(gateway);
    let (code, stdout, stderr) = run(&options, &["erase", "--customer", "cus_ann"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("inbox    bodies: 1") && stdout.contains("payloads of events: 1"), "{stdout}");
    assert_eq!(files_with(directory.path(), MAIL), Vec::<String>::new());
    let gateway = options.serve();
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 1);
    // A redelivery is a duplicate here, with or without its body.
    assert_eq!(gateway.post(&event("evt_1", "cus_ann", MAIL)).status, 200);
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 1);
}

#[test]
fn what_is_not_settled_is_listed_and_never_removed() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path()).with("GATEWAY_STRIPE_MODE", "live");
    let gateway = options.serve();
    let command = about(&options, &gateway);
    let settled = event("evt_1", "cus_ann", MAIL).replace("\"livemode\":false", "\"livemode\":true");
    assert_eq!(gateway.post(&settled).status, 200);
    assert_eq!(gateway.post(&event("evt_held", "cus_ann", MAIL)).status, 200);
    let health = gateway.until_idle();
    assert_eq!((&health["inbox"]["settled"], &health["inbox"]["quarantined"]), (&1.into(), &1.into()), "{health}");
    let (code, stdout, stderr) = run(&command, &["erase", "--customer", "cus_ann", "--dry-run"]);
    assert_eq!(code, 3, "{stdout}{stderr}");
    assert!(stdout.contains("would refuse") && stdout.contains("1 entry of the person is not settled"), "{stdout}");
    let (code, _, stderr) = run(&command, &["erase", "--customer", "cus_ann"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("quarantined evt_held") && stderr.contains("--include-unsettled"), "{stderr}");
    let bodies = || {
        let connection = rusqlite::Connection::open(directory.path().join("inbox.db")).unwrap();
        connection.query_row("SELECT count(*) FROM bodies", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(bodies(), 2, "a refusal changes nothing");
    let (code, stdout, _) = run(&command, &["erase", "--customer", "cus_ann", "--include-unsettled", "--dry-run"]);
    assert!(code == 0 && !stdout.contains("would refuse"), "{stdout}");
    let (code, stdout, stderr) = run(&command, &["erase", "--customer", "cus_ann", "--include-unsettled"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(
        stdout.contains("not settled and were left (run this again then): 1") && stdout.contains("evt_held"),
        "{stdout}"
    );
    assert_eq!(bodies(), 1, "the one that waits stays");
}

#[test]
fn a_dry_run_foresees_that_an_active_subscription_refuses_the_erasure() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let gateway = options.serve();
    let active = r#"{"id":"evt_1","object":"event","type":"customer.subscription.created","livemode":true,"created":1700000000,
        "api_version":"2025-03-31.basil","data":{"object":{"id":"sub_1","object":"subscription","customer":"cus_ann",
        "status":"active","livemode":true,"created":1700000000,"metadata":{"userId":"ann-1"},"items":{"object":"list","data":[]}}}}"#;
    assert_eq!(gateway.post(active).status, 200);
    gateway.until_idle();
    stop(gateway);
    let (code, stdout, stderr) = run(&options, &["erase", "--user", "ann-1", "--dry-run"]);
    assert_eq!(code, 3, "{stdout}{stderr}");
    assert!(stdout.contains("1 subscription entitles the person") && stdout.contains("--include-active"), "{stdout}");
    let (code, stdout, _) = run(&options, &["erase", "--user", "ann-1", "--dry-run", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["would_refuse"]), (3, &serde_json::json!(["active"])));
    assert_eq!(run(&options, &["erase", "--user", "ann-1"]).0, 1);
    assert_eq!(run(&options, &["erase", "--user", "ann-1", "--include-active", "--dry-run"]).0, 0);
    assert_eq!(run(&options, &["erase", "--user", "ann-1", "--include-active"]).0, 0);
}

#[test]
fn the_admin_path_asks_for_the_token_and_for_a_person() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = options(directory.path()).serve();
    let bearer = format!("Bearer {TOKEN}");
    let person = r#"{"person":{"users":[],"customers":["cus_1"],"subscriptions":[],"objects":[]}}"#;
    let send = |token: &str, body: &str| {
        request(gateway.admin, &post("/admin/erase", &[("authorization", token)], body.as_bytes()))
    };
    assert_eq!(send("Bearer wrong", person).problem(), "unauthorized");
    assert_eq!(send(&bearer, person).json()["erased"], 0);
    let ids: Vec<String> = (0..=PERSON_IDS_MAX).map(|number| format!("pi_{number}")).collect();
    let crowd = serde_json::json!({"person": {"users": [], "customers": [], "subscriptions": [], "objects": ids}});
    assert_eq!(send(&bearer, &crowd.to_string()).problem(), "invalid_request");
    assert_eq!(send(&bearer, &" ".repeat(4 * 1024 * 1024 + 1)).problem(), "invalid_request");
    for bad in ["", "{}", r#"{"person":{"users":[],"customers":[],"subscriptions":[],"objects":[]}}"#] {
        assert_eq!(send(&bearer, bad).problem(), "invalid_request", "{bad}");
    }
    assert_eq!(gateway.admin_get("/admin/erase").problem(), "unauthorized");
    let look = String::from_utf8(post("/admin/erase", &[("authorization", &bearer)], b"")).unwrap();
    let look = request(gateway.admin, look.replacen("POST", "GET", 1).as_bytes());
    assert_eq!(look.problem(), "method_not_allowed");
}

#[test]
fn an_id_that_leads_nowhere_is_said_to_and_its_tombstone_can_be_taken_away() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    stop(options.serve());
    let (code, stdout, _) = run(&options, &["erase", "--user", "nobody"]);
    assert_eq!(code, 3, "a script must not take it for done");
    assert!(stdout.contains("is the id right?") && stdout.contains("--forget"), "{stdout}");
    assert!(run(&options, &["erase", "--user", "nobody", "--forget"]).1.contains("is taken away"));
    assert!(run(&options, &["erase", "--user", "nobody", "--forget"]).1.contains("there was no tombstone"));
}

#[test]
fn a_command_without_a_person_says_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in
        [&["erase"][..], &["erase", "--customer", "sub_1"], &["erase", "--user", "a", "--customer", "cus_1"]]
    {
        let (code, _, stderr) = run(&options(directory.path()), arguments);
        assert_eq!(code, 2, "{stderr}");
    }
}
