//! The Guardian's rules in the real binary: read at the start, read again at a hangup, kept when the new ones are bad.

use crate::commands::run;
use crate::gateway::{Gateway, Options, event};

const HOLD_PRODUCTS: &str = r#"
[[rule]]
id = "no_products"
action = "quarantine"
severity = "critical"
reason = "products are not sold here"
types = ["product.*"]
all = [{ path = "data.object.object", equals = "product" }]
"#;

/// Posts an event and waits until it is brought to its end; the number of entries in quarantine then.
fn quarantined_after(gateway: &Gateway, id: &str) -> u64 {
    assert_eq!(gateway.post(&event(id)).status, 200);
    gateway.until_idle()["inbox"]["quarantined"].as_u64().unwrap()
}

#[test]
fn rules_hold_events_back_and_a_hangup_replaces_them_unless_they_are_bad() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.toml");
    std::fs::write(&file, HOLD_PRODUCTS).unwrap();
    let gateway = Options::new(directory.path()).with("GATEWAY_GUARDIAN_RULES", file.display()).serve();
    assert_eq!(quarantined_after(&gateway, "evt_1"), 1);
    assert!(gateway.whole_log().iter().any(|line| line.contains("Guardian blocked") && line.contains("no_products")));
    gateway.until(|_| gateway.metric(r#"colony_gateway_guardian_events_total{decision="blocked"}"#) == 1);

    std::fs::write(&file, "[builtin.no_such_rule]\naction = \"flag\"\n").unwrap();
    gateway.signal("HUP");
    gateway.until(|_| gateway.log().iter().any(|line| line.contains("refused, the old one stays in use")));
    gateway.until(|health| health["components"]["settings"]["status"] == "degraded");
    let detail = gateway.health()["components"]["settings"]["detail"].as_str().unwrap().to_owned();
    for told in ["rules.toml, line 1", "no_such_rule", "a restart would fail"] {
        assert!(detail.contains(told), "{detail}");
    }
    assert_eq!(quarantined_after(&gateway, "evt_2"), 2);

    std::fs::write(&file, "").unwrap();
    gateway.signal("HUP");
    gateway.until(|_| gateway.log().iter().any(|line| line.contains("taken over")));
    gateway.until(|health| health["components"]["settings"]["status"] == "ok");
    assert_eq!(quarantined_after(&gateway, "evt_3"), 2);
}

#[test]
fn bad_rules_are_refused_at_the_start_with_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.toml");
    std::fs::write(&file, "[builtin.no_such_rule]\naction = \"flag\"\n").unwrap();
    let options = Options::new(directory.path()).with("GATEWAY_GUARDIAN_RULES", file.display());
    assert_eq!(run(&options, &["config", "check"]).0, 2);
    let (code, _, stderr) = run(&options, &["serve"]);
    assert_eq!(code, 2, "a unit does not start it again");
    assert!(stderr.contains("revenue.guardian_rules") && stderr.contains("no_such_rule"), "{stderr}");
}
