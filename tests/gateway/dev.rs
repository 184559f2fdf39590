//! `dev` without an end: what it gives a person to solve, and what it says when it is stopped.

use crate::gateway::Options;

#[test]
fn dev_without_an_end_has_problems_to_solve_and_adds_up_when_it_is_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let token = "0123456789abcdef";
    // The dying bee's job goes to another one when its lease is over.
    let options = Options::new(directory.path()).with("GATEWAY_ADMIN_TOKEN", token).with("GATEWAY_COLONY_LEASE", "5s");
    let arguments = ["dev", "--rate", "5", "--seed", "7", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut gateway = options.try_start(&arguments).unwrap_or_else(|log| panic!("{}", log.join("\n")));
    let health = gateway.until(|health| {
        let access = health["components"]["access"]["detail"].as_str().unwrap_or_default();
        health["inbox"]["quarantined"] == 1 && access.contains("contested")
    });
    assert_eq!(health["status"], "degraded", "{health}");
    let request = format!(
        "POST /admin/check HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let report = crate::gateway::request(gateway.admin, request.as_bytes());
    assert!(
        report.status == 200 && report.body.contains("3 executors") && !report.body.contains("stopped"),
        "{report:?}"
    );
    gateway.signal("INT");
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn dev_takes_new_rules_over_and_goes_on_after_a_hangup() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.toml");
    std::fs::write(&rules, "").unwrap();
    let options = Options::new(&directory.path().join("data")).with("GATEWAY_GUARDIAN_RULES", rules.display());
    let arguments = ["dev", "--no-simulator", "--direct", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut gateway = options.try_start(&arguments).unwrap_or_else(|log| panic!("{}", log.join("\n")));
    let logged = |gateway: &crate::gateway::Gateway, words: [&str; 2]| {
        let has = |line: &String| words.iter().all(|word| line.contains(word));
        gateway.until(|_| gateway.log().iter().any(has));
    };
    gateway.signal("HUP");
    logged(&gateway, ["settings read again", "SIGHUP"]);
    std::fs::write(&rules, "[builtin.injection_script]\naction = 'quarantine'\n").unwrap();
    gateway.signal("HUP");
    logged(&gateway, ["taken over", "revenue.guardian_rules"]);
    std::fs::write(&rules, "[builtin.no_such_rule]\n").unwrap();
    gateway.signal("HUP");
    logged(&gateway, ["refused, the old one stays in use", "revenue.guardian_rules"]);
    // The operator that `dev` made and its directory are no news.
    let log = gateway.whole_log().join("\n");
    assert!(!log.contains("restart the process") && !log.contains("GATEWAY_OPERATORS"), "{log}");
    gateway.signal("INT");
    assert_eq!(gateway.wait().code(), Some(0));
}
