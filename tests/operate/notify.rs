//! Messages to people, from the real gateway.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::gateway::{Options, event};
use crate::run;

/// Takes messages. Stops when dropped.
pub(crate) struct Receiver {
    pub(crate) url: String,
    got: Arc<(Mutex<VecDeque<Value>>, Notify)>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    #[expect(clippy::disallowed_methods, reason = "the task is aborted when the receiver is dropped")]
    pub(crate) async fn start() -> Self {
        type Got = Arc<(Mutex<VecDeque<Value>>, Notify)>;
        let got: Got = Arc::default();
        let take = |State(got): State<Got>, body: Bytes| async move {
            got.0.lock().unwrap().push_back(serde_json::from_slice(&body).unwrap());
            got.1.notify_one();
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().fallback(take).with_state(Arc::clone(&got));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, got, server }
    }

    /// The next message about a problem.
    pub(crate) async fn problem(&self) -> Value {
        self.next("problem").await
    }

    /// The next message of a kind.
    async fn next(&self, kind: &str) -> Value {
        loop {
            while let Some(message) = { self.got.0.lock().unwrap().pop_front() } {
                if message["kind"] == kind {
                    return message;
                }
            }
            self.got.1.notified().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_is_told_when_it_opens_and_when_it_is_over_and_a_restart_tells_it_no_second_time() {
    let (directory, receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = Options::new(&directory.path().join("data"))
        // The events of this test are of test mode, so that each waits for a person.
        .with("GATEWAY_STRIPE_MODE", "live")
        .with("GATEWAY_ADMIN_TOKEN", "a-token-of-the-tests")
        .with("GATEWAY_NOTIFY_WEBHOOK_URL", &receiver.url)
        .with("GATEWAY_NOTIFY_WEBHOOK_SECRET", "whsec_for_the_messages_of_tests")
        .with("GATEWAY_NOTIFY_AFTER", "1ms")
        .with("GATEWAY_NOTIFY_NAME", "gw-1");
    let test = options.clone().with("GATEWAY_NOTIFY_SLACK_URL", format!("http://{closed}/nobody"));
    let (code, stdout, _) = tokio::task::spawn_blocking(move || run(&test, &["notify", "test"])).await.unwrap();
    assert!(code == 1 && stdout.contains("webhook  sent") && stdout.contains("slack  not sent"), "{stdout}");
    assert!(!stdout.contains("nobody"), "the address is a secret: {stdout}");

    let gateway = options.serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    let opened = receiver.problem().await;
    assert_eq!((opened["news"].as_str(), opened["gateway"].as_str()), (Some("opened"), Some("gw-1")));
    assert!(opened["title"].as_str().unwrap().contains("product.created"), "{opened}");
    let kept = directory.path().join("data/notifications.json");
    let is_kept = || std::fs::read_to_string(&kept).is_ok_and(|kept| kept.contains("product.created"));
    // Every look asks the gateway something, which gives it the time to write.
    gateway.until(|_| is_kept());
    gateway.kill();

    let mut gateway = options.serve();
    let admin = format!("http://{}", gateway.admin);
    let drops = options.clone();
    let dropped = move || run(&drops, &["inbox", "drop", "--all", "--reason", "none of ours", "--admin", &admin]);
    let (code, stdout, stderr) = tokio::task::spawn_blocking(dropped).await.unwrap();
    assert_eq!(code, 0, "{stdout}{stderr}");
    let over = receiver.problem().await;
    assert_eq!((over["news"].as_str(), &over["key"]), (Some("resolved"), &opened["key"]));
    gateway.until(|_| !is_kept());
    gateway.signal("TERM");
    assert!(gateway.wait().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_payer_without_access_is_told_of_whoever_else_waits() {
    let (directory, receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    let options = Options::new(&directory.path().join("data"))
        .with("GATEWAY_NOTIFY_WEBHOOK_URL", &receiver.url)
        .with("GATEWAY_NOTIFY_WEBHOOK_SECRET", "whsec_for_the_messages_of_tests")
        .with("GATEWAY_NOTIFY_AFTER", "1ms");
    let gateway = options.serve();
    for name in ["sub_one", "sub_two"] {
        let paid = serde_json::json!({
            "id": format!("evt_{name}"), "object": "event", "type": "customer.subscription.updated", "livemode": true,
            "created": 1_700_000_000, "api_version": "2025-03-31.basil",
            "data": {"object": {"id": name, "object": "subscription", "customer": "cus_1", "status": "active",
                "created": 1_700_000_000, "metadata": {}, "items": {"object": "list", "data": []}}}});
        assert_eq!(gateway.post(&paid.to_string()).status, 200);
        let told = receiver.next("access").await;
        assert_eq!((&told["news"], &told["key"]), (&Value::from("opened"), &Value::from(name)), "{told}");
        assert!(told["detail"].as_str().unwrap().contains("cus_1"), "{told}");
    }
}
