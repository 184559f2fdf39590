//! Who may do what on the admin listener, and what is told of it.

use serde_json::json;

use crate::gateway::{Gateway, Options, Reply, event, post, request};

const ANA: &str = "token-of-ana-0123456789";
const BEN: &str = "token-of-ben-0123456789";
const SHARED: &str = "token-of-everybody-01234";

fn ask(gateway: &Gateway, method: &str, path: &str, token: &str, body: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let request_of = post(path, &[("authorization", &bearer)], body.as_bytes());
    let text = String::from_utf8(request_of).unwrap().replacen("POST", method, 1);
    request(gateway.admin, text.as_bytes())
}

#[test]
fn a_viewer_looks_an_operator_changes_and_the_audit_knows_who_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path())
        .with("GATEWAY_OPERATORS", format!("ana operator {ANA}, ben viewer {BEN}"))
        .with("GATEWAY_ADMIN_TOKEN", SHARED)
        // Neither a level nor a directive of its own silences the audit.
        .with("GATEWAY_LOG", "warn,colony_gateway=info,request=info,audit=off");
    let gateway = options.serve();
    assert_eq!(gateway.post("no JSON").status, 200);
    assert_eq!(gateway.post(&event("evt_1")).status, 200);

    for (path, status) in [
        ("/admin/problems", 200),
        ("/admin/entries", 200),
        ("/admin/entries?ref=cus_1", 200),
        ("/admin/entries?reveal=true", 403),
        // Whose an event is, is hidden from a viewer.
        ("/admin/entries?user=user-of-ada", 403),
        ("/admin/entries?ref=user-of-ada", 403),
    ] {
        assert_eq!(ask(&gateway, "GET", path, BEN, "").status, status, "{path}");
    }
    let order = json!({"selection": {"states": ["quarantined"]}, "by": "mallory", "note": "garbage"}).to_string();
    for path in ["/admin/entries/drop", "/admin/entries/replay", "/admin/resume", "/admin/erase", "/admin/reconcile"] {
        let refused = ask(&gateway, "POST", path, BEN, &order);
        assert_eq!((refused.status, refused.problem().as_str()), (403, "forbidden"), "{path}");
    }
    assert_eq!(ask(&gateway, "PUT", "/admin/route", BEN, r#"{"wish":"direct"}"#).status, 403);
    assert_eq!(ask(&gateway, "DELETE", "/admin/people/user-of-ada", BEN, "").status, 403);
    assert_eq!(ask(&gateway, "GET", "/admin/problems", "token-of-nobody-01234", "").status, 401);

    let dropped = ask(&gateway, "POST", "/admin/entries/drop", ANA, &order);
    assert_eq!(dropped.status, 200, "{}", dropped.body);
    assert_eq!(ask(&gateway, "GET", "/admin/entries?reveal=true", SHARED, "").status, 200);
    let log = gateway.whole_log();
    let lines: Vec<serde_json::Value> = log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let audit = |action: &str| lines.iter().find(|line| line["target"] == "audit" && line["action"] == action);
    let line = audit("drop").expect("the drop is told");
    assert_eq!((&line["who"], &line["by"], &line["peer"]), (&json!("ana"), &json!("ana"), &json!("127.0.0.1")));
    assert_eq!(audit("reveal").expect("so is a look at bodies")["who"], "token");
    assert_eq!(audit("refused").expect("so is what a viewer tried")["who"], "ben");
    assert!(log.iter().any(|line| line.contains("/admin/people/{id}")), "what was tried is told by its route");
    assert!(!log.iter().any(|line| line.contains("user-of-ada")), "the log names no user");
    assert!(!log.iter().any(|line| [ANA, BEN, SHARED].iter().any(|token| line.contains(token))), "a token was logged");
}
