//! Subscriptions of which nobody has anything: told to the operator, and bound by one.

use serde_json::{Value, json};

use crate::commands::run;
use crate::gateway::{Gateway, Options};

const TOKEN: &str = "a-token-of-the-tests";

fn subscription(id: &str, created: i64, metadata: &Value) -> String {
    json!({"id": format!("evt_{id}_{created}"), "object": "event", "type": "customer.subscription.updated",
        "livemode": true, "created": created, "api_version": "2025-03-31.basil",
        "data": {"object": {"id": id, "object": "subscription", "customer": "cus_1", "status": "active", "livemode": true,
            "created": 1_700_000_000, "metadata": metadata, "items": {"object": "list", "data": []}}}})
    .to_string()
}

fn post(gateway: &Gateway, body: &str) {
    assert_eq!(gateway.post(body).status, 200);
    gateway.until_idle();
}

/// User of each subscription, as `revenue --json` tells.
fn users(options: &Options) -> Vec<(String, Value)> {
    let (code, stdout, stderr) = run(options, &["revenue", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let document: Value = serde_json::from_str(&stdout).unwrap();
    let lines = document["access"].as_array().unwrap().iter();
    let mut users: Vec<_> = lines.map(|line| (line["id"].as_str().unwrap().to_owned(), line["user"].clone())).collect();
    users.sort_by(|a, b| a.0.cmp(&b.0));
    users
}

#[test]
fn a_customer_who_pays_without_naming_a_user_is_a_problem_until_an_operator_says_whose_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path()).with("GATEWAY_ADMIN_TOKEN", TOKEN).with("USER", "ana");
    let mut gateway = options.serve();
    post(&gateway, &subscription("sub_named", 1_700_000_000, &json!({"userId": "user_1"})));
    post(&gateway, &subscription("sub_1", 1_700_000_000, &json!({"tier": "gold"})));
    gateway.until(|_| gateway.metric(r#"colony_gateway_unowned_subscriptions{reason="unnamed"}"#) == 1);
    gateway.until(|_| gateway.metric("colony_gateway_orphans") == 1);
    let health = gateway.until(|health| health["components"]["access"]["status"] == "degraded");
    assert!(
        health["components"]["access"]["detail"].as_str().unwrap().contains("sub_1 of cus_1 (unnamed)"),
        "{health}"
    );
    gateway.until(|_| gateway.log().iter().any(|line| line.contains("problem opened") && line.contains("sub_1")));

    let address = format!("http://{}", gateway.admin);
    let (code, problems, _) = run(&options, &["inbox", "problems", "--admin", &address]);
    assert_eq!(code, 0);
    assert!(problems.contains("sub_1 of cus_1: active") && problems.contains("colony-gateway bind"), "{problems}");
    assert!(!problems.contains("sub_named"), "{problems}");
    let (_, findings, _) = run(&options, &["findings", "--json", "--subject", "cus_1"]);
    let findings: Value = serde_json::from_str(&findings).unwrap();
    assert_eq!(
        (&findings["present"][0]["id"], &findings["present"][0]["reason"]),
        (&json!("sub_1"), &json!("unnamed"))
    );
    assert!(run(&options, &["findings", "--severity", "warning"]).1.contains("no findings"));
    let (_, check, _) = run(&options, &["check", "--json"]);
    let check: Value = serde_json::from_str(&check).unwrap();
    let access = check["components"].as_array().unwrap().iter().find(|one| one["component"] == "access").unwrap();
    assert_eq!(access["status"], "degraded", "{access}");

    for refused in [["bind", "in_1", "--user", "user_2"], ["bind", "sub_1", "--user", "null"]] {
        assert_eq!(run(&options, &refused).0, 1, "{refused:?}");
    }
    let (code, stdout, stderr) = run(&options, &["bind", "sub_1", "--user", "user_2", "--reason", "asked them"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("sub_1 belongs to ") && stderr.contains("audit") && stderr.contains("asked them"),
        "{stderr}"
    );
    gateway.until(|health| health["components"]["access"]["status"] == "ok");
    gateway.until(|_| gateway.metric(r#"colony_gateway_unowned_subscriptions{reason="unnamed"}"#) == 0);
    // The next renewal, which names nobody or another, changes nothing.
    post(&gateway, &subscription("sub_1", 1_700_000_100, &json!({"userId": "user_3"})));
    let expected = [("sub_1".to_owned(), json!("user_2")), ("sub_named".to_owned(), json!("user_1"))];
    assert_eq!(users(&options), expected);
    assert_eq!(gateway.health()["inbox"]["quarantined"], 0);

    // The gateway's audit has a word that it did not say itself, and so has the inbox when none runs. Neither names the user.
    let here = options.clone().with("GATEWAY_ADMIN_LISTEN", gateway.admin);
    let (code, _, stderr) = run(&here, &["bind", "sub_1", "--user", "user_2", "--reason", "again"]);
    assert!(code == 0 && !stderr.contains("audit does not contain this"), "{stderr}");
    gateway.until(|_| gateway.log().iter().any(|line| line.contains("\"action\":\"bind\"") && line.contains("sub_1")));

    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    let deeds = || -> Vec<(String, String, String, Option<String>)> {
        let inbox = rusqlite::Connection::open(directory.path().join("inbox.db")).unwrap();
        let mut deeds =
            inbox.prepare("SELECT who, via, what || ' ' || result, note FROM deeds WHERE action = 'bind'").unwrap();
        let deeds = deeds.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
        deeds.map(Result::unwrap).collect()
    };
    let kept = deeds();
    let [(who, via, what, note)] = kept.as_slice() else { panic!("{kept:?}") };
    assert_eq!((who.as_str(), via.as_str(), note.as_deref()), ("token", "command", Some("again")));
    assert!(what.starts_with("sub_1 kept as gateway:bind:") && !what.contains("user_2"), "{what}");
    assert!(run(&options, &["inbox", "problems"]).1.contains("nothing waits for a person"));
    // A word about the customer leaves a subscription alone that names a user itself.
    assert_eq!(run(&options, &["bind", "cus_1", "--user", "user_9"]).0, 0);
    assert_eq!(users(&options), expected);
    assert_eq!(run(&options, &["bind", "sub_1", "--user", "user_4"]).0, 0);
    assert_eq!(users(&options)[0].1, "user_4");
    let last = deeds().pop().unwrap();
    assert_eq!((last.0.as_str(), last.1.as_str()), ("ana", "command"));
}
