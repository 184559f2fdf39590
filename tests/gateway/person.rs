//! `person`: the inbox beside the ledger's answer.

use serde_json::{Value, json};

use crate::commands::run;
use crate::gateway::Options;

const TOKEN: &str = "a-token-of-the-tests";

/// An event of test mode that names the user `ada`.
fn of_test_mode(id: &str) -> String {
    json!({"id": id, "object": "event", "type": "customer.subscription.created", "livemode": false, "created": 1_700_000_000,
        "api_version": "2025-03-31.basil", "data": {"object": {"id": "sub_1", "object": "subscription", "customer": "cus_1",
        "status": "active", "livemode": false, "metadata": {"userId": "ada"}, "items": {"object": "list", "data": []}}}})
    .to_string()
}

#[test]
fn events_about_a_person_that_are_held_are_counted_and_an_inbox_that_cannot_be_asked_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path()).with("GATEWAY_ADMIN_TOKEN", TOKEN).with("GATEWAY_STRIPE_MODE", "live");
    let mut gateway = options.serve();
    for id in ["evt_1", "evt_2"] {
        assert_eq!(gateway.post(&of_test_mode(id)).status, 200);
    }
    let here = options.clone().with("GATEWAY_ADMIN_LISTEN", gateway.admin);
    let held = "events about the person are not applied: 2 held\n      \
                to see: colony-gateway inbox list --state waiting,leased,submitted,dead,quarantined --ref ada\n";
    let (code, said, stderr) = run(&here, &["person", "ada"]);
    assert!(code == 0 && said.contains(held), "{said}{stderr}");
    let command = said.lines().find_map(|line| line.strip_prefix("      to see: colony-gateway ")).unwrap();
    let (_, listed, _) = run(&here, &command.split(' ').collect::<Vec<_>>());
    assert!(listed.contains("evt_1") && listed.contains("evt_2"), "{listed}");
    let (_, none, _) = run(&here, &["person", "bob"]);
    assert!(none.contains("inbox      events about the person that are not applied: none"), "{none}");

    // Without the token the ledger's answer is all there is, and that is no error.
    let (code, said, stderr) = run(&here.clone().with("GATEWAY_ADMIN_TOKEN", ""), &["person", "ada"]);
    assert!(code == 0 && said.contains("inbox      could not be asked"), "{said}{stderr}");
    assert!(said.contains("set GATEWAY_ADMIN_TOKEN"), "{said}");

    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    let (code, said, stderr) = run(&options, &["person", "ada", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(said["inbox"], json!({"waiting": 0, "held": 2, "given_up": 0, "more": false}), "from the file: {said}");
}
