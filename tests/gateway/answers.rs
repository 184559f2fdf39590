//! What Stripe and operators are answered.

use crate::gateway::{Options, SECRET, event, post, request, signature};

fn options(directory: &tempfile::TempDir) -> Options {
    Options::new(directory.path())
}

#[test]
fn every_path_acknowledges_a_signed_event_and_names_the_route() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = options(&directory).serve();
    for (number, path) in ["/webhooks/stripe", "/webhook", "/.netlify/functions/stripe-webhook"].iter().enumerate() {
        let body = event(&format!("evt_{number}"));
        let reply = request(gateway.webhooks, &post(path, &[("Stripe-Signature", &signature(&body))], body.as_bytes()));
        assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"received":true,"method":"direct"}"#), "{path}");
        assert_eq!(reply.headers["content-type"], "application/json");
    }
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 3);
    assert_eq!(gateway.metric(r#"colony_gateway_webhook_requests_total{result="ok"}"#), 3);
}

#[test]
fn duplicates_are_acknowledged_stored_once_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = options(&directory).serve();
    for _ in 0..3 {
        assert_eq!(gateway.post(&event("evt_1")).status, 200);
    }
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 1);
    assert_eq!(gateway.metric(r#"colony_gateway_webhook_requests_total{result="duplicate"}"#), 2);
}

#[test]
fn every_signature_fault_is_answered_alike_and_stores_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = options(&directory).serve();
    let body = event("evt_1");
    let good = signature(&body);
    let (_, v1) = good.split_once(",v1=").unwrap();
    let stale = format!("t=1600000000,v1={v1}");
    let other = signature(&event("evt_2"));
    let cases: [&[(&str, &str)]; 5] = [
        &[],
        &[("stripe-signature", "t=1,v1=00")],
        &[("stripe-signature", &stale)],
        &[("stripe-signature", &other)],
        &[("stripe-signature", &good), ("stripe-signature", &good)],
    ];
    let mut answers = Vec::new();
    for headers in cases {
        let reply = request(gateway.webhooks, &post("/webhooks/stripe", headers, body.as_bytes()));
        assert_eq!((reply.status, reply.problem().as_str()), (400, "invalid_signature"));
        answers.push(reply.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "a forger could tell them apart: {answers:?}");
    assert_eq!(gateway.health()["inbox"]["settled"], 0);
    assert_eq!(gateway.metric(r#"colony_gateway_signature_failures_total{reason="missing"}"#), 1);
    assert_eq!(gateway.metric(r#"colony_gateway_signature_failures_total{reason="repeated"}"#), 1);
    assert_eq!(gateway.metric(r#"colony_gateway_signature_failures_total{reason="no_match"}"#), 2);
}

#[test]
fn what_cannot_be_worked_on_is_acknowledged_kept_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = options(&directory).serve();
    let thin =
        r#"{"id":"evt_thin","object":"v2.core.event","type":"v1.billing.meter.no_meter_found","livemode":false}"#;
    for body in [thin, "this is no JSON", "{}"] {
        assert_eq!(gateway.post(body).status, 200, "{body}");
    }
    let health = gateway.health();
    assert_eq!((health["inbox"]["quarantined"].as_u64(), health["inbox"]["settled"].as_u64()), (Some(3), Some(0)));
    assert_eq!(gateway.metric(r#"colony_gateway_deliveries_held_total{reason="misrouted"}"#), 1);
    assert_eq!(gateway.metric(r#"colony_gateway_deliveries_held_total{reason="malformed"}"#), 2);
    assert!(gateway.whole_log().iter().any(|line| line.contains("held for a person")));
}

#[test]
fn endpoints_of_the_file_verify_with_their_own_secrets_and_hold_the_other_mode() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    let text = format!(
        "[[endpoint]]\nname = \"live\"\npath = \"/live\"\nmode = \"live\"\nsecrets = [\"whsec_other\", \"{SECRET}\"]\n"
    );
    std::fs::write(&file, text).unwrap();
    let gateway = options(&directory).with("GATEWAY_CONFIG", file.display()).serve();
    let body = event("evt_test_mode");
    let reply = request(gateway.webhooks, &post("/live", &[("stripe-signature", &signature(&body))], body.as_bytes()));
    assert_eq!(reply.status, 200);
    assert_eq!(gateway.metric(r#"colony_gateway_deliveries_held_total{reason="mode_mismatch"}"#), 1);
}

#[test]
fn other_methods_and_paths_get_problem_documents() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = options(&directory).serve();
    let wrong_method = gateway.get("/webhooks/stripe");
    assert_eq!((wrong_method.status, wrong_method.problem().as_str()), (405, "method_not_allowed"));
    assert_eq!(wrong_method.headers["allow"], "POST");
    let nowhere = gateway.get("/admin/entries");
    assert_eq!((nowhere.status, nowhere.problem().as_str()), (404, "not_found"));
    let posted = request(gateway.webhooks, &post("/health", &[], b""));
    assert_eq!((posted.status, posted.headers["allow"].as_str()), (405, "GET"));
}

#[test]
fn the_public_listener_tells_a_status_only_and_the_admin_listener_the_components() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = options(&directory).serve();
    for path in ["/health", "/livez", "/readyz"] {
        let reply = gateway.get(path);
        assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"status":"ok"}"#), "{path}");
        assert_eq!(gateway.admin_get(path).status, 200, "{path}");
    }
    assert_eq!(gateway.get("/metrics").status, 404);
    let health = gateway.health();
    assert_eq!((&health["status"], &health["ready"], &health["route"]), (&"ok".into(), &true.into(), &"direct".into()));
    assert_eq!(health["components"]["ledger"]["status"], "ok");
    assert!(gateway.admin_get("/metrics").body.contains("# HELP colony_gateway_events_total"));
}

#[test]
fn the_metrics_say_where_the_console_is_opened_as_far_as_that_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = options(&directory).with("GATEWAY_CONSOLE_URL", "https://gateway.example.com/console/").serve();
    assert_eq!(gateway.metric(r#"colony_gateway_console_info{url="https://gateway.example.com"}"#), 1);
    drop(gateway);
    let gateway = options(&directory).serve();
    assert!(!gateway.admin_get("/metrics").body.contains("colony_gateway_console_info{"));
}

#[test]
fn one_address_can_serve_everything() {
    let directory = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = options(&directory).with("GATEWAY_LISTEN", free).with("GATEWAY_ADMIN_LISTEN", free).serve();
    assert_eq!(gateway.webhooks, gateway.admin);
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    assert!(gateway.health()["inbox"].is_object());
    assert!(gateway.get("/metrics").body.contains("colony_gateway_build_info"));
}

#[test]
fn the_request_log_has_one_line_a_request_and_no_secrets_or_bodies() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = options(&directory).serve();
    let body = event("evt_logged").replace("prod_1", "customer-data@example.com");
    gateway.post(&body);
    request(gateway.webhooks, &post("/webhooks/stripe", &[("stripe-signature", "t=1,v1=forged")], b"private"));
    let lines = gateway.request_lines(2);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!((&lines[0]["event_id"], &lines[0]["status"]), (&"evt_logged".into(), &200.into()));
    assert_eq!((&lines[1]["code"], &lines[1]["reason"]), (&"invalid_signature".into(), &"no_v1".into()));
    let everything = gateway.whole_log().join("\n");
    for private in [SECRET, "customer-data", "private", "forged"] {
        assert!(!everything.contains(private), "{private} was logged");
    }
}
