//! Secrets that can be recognised are planted in every setting that takes one; nothing that comes out shows them.

use colonies::identity::PrivateKey;

use crate::gateway::{Options, event, request};
use crate::run;

/// Part of every planted text.
const MARK: &str = "PLANTED5ecret";

struct Planted {
    secrets: Vec<(&'static str, String)>,
}

impl Planted {
    fn new() -> Self {
        let key = || PrivateKey::generate().unwrap().to_hex().expose().to_owned();
        Self {
            secrets: vec![
                ("STRIPE_WEBHOOK_SECRET", format!("whsec_{MARK}0")),
                ("STRIPE_SECRET_KEY", format!("sk_test_{MARK}1")),
                ("GATEWAY_ADMIN_TOKEN", format!("{MARK}-token-of-the-admin")),
                ("DATABASE_URL", format!("postgres://gateway:{MARK}3@127.0.0.1:9/x")),
                ("SUPABASE_SERVICE_ROLE_KEY", format!("eyJ{MARK}4")),
                ("REDIS_URL", format!("redis://bee:{MARK}5@127.0.0.1:9")),
                ("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization={MARK}6")),
                ("COLONIES_COLONY_PRVKEY", key()),
                ("COLONIES_USER_PRVKEY", key()),
                ("COLONIES_EXECUTOR_PRVKEY", key()),
                ("COLONIES_SERVER_PRVKEY", key()),
                ("ATTESTATION_PRVKEY", key()),
            ],
        }
    }

    fn options(&self, directory: &std::path::Path) -> Options {
        let options = Options::new(directory)
            .with("GATEWAY_LOG", "trace")
            .with("GATEWAY_STRIPE_API_URL", "http://127.0.0.1:9")
            .with("SUPABASE_URL", "http://127.0.0.1:9")
            .with("USE_COLONY_OS", "true")
            .with("COLONIES_SERVER_HOST", "http://127.0.0.1:9")
            .with("COLONIES_COLONY_NAME", "rec")
            .with("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
            .with("POLL_TIMEOUT", "1");
        self.secrets.iter().fold(options, |options, (name, value)| options.with(name, value))
    }

    /// Names of the settings whose secret is in the text.
    fn assert_none_in(&self, what: &str, text: &str) {
        let shown: Vec<&str> =
            self.secrets.iter().filter(|(_, secret)| text.contains(secret.as_str())).map(|(name, _)| *name).collect();
        assert!(shown.is_empty() && !text.contains(MARK), "{what} shows {shown:?}");
    }
}

#[test]
fn a_running_gateway_shows_no_secret_in_logs_endpoints_or_the_process_list() {
    let directory = tempfile::tempdir().unwrap();
    let planted = Planted::new();
    let mut gateway = planted.options(directory.path()).serve();
    let body = event("evt_1");
    let secret = colony_gateway::domain::secret::Secret::new(&*planted.secrets[0].1);
    let now = colony_gateway::domain::clock::Clock::system().now();
    let header = colony_gateway::stripe::simulator::sign(secret.expose(), now, body.as_bytes());
    let post = crate::gateway::post("/webhooks/stripe", &[("stripe-signature", &header)], body.as_bytes());
    assert_eq!(request(gateway.webhooks, &post).status, 200);
    assert_eq!(gateway.post(&event("evt_forged")).status, 400);
    // The ledger, the bees, Redis, the colony and the collector of traces have all been tried, and failed.
    gateway
        .until(|health| health["components"]["ledger"]["status"] != "ok" && health["components"].get("bees").is_some());
    gateway.until(|_| gateway.metric("colony_gateway_trace_spans_total{result=\"not_exported\"}") > 0);
    gateway.until(|_| gateway.metric("colony_gateway_reloads_total{result=\"ok\"}") == 0);
    gateway.signal("HUP");
    gateway.until(|_| gateway.metric("colony_gateway_reloads_total{result=\"ok\"}") == 1);
    for path in ["/health", "/metrics", "/livez", "/readyz", "/admin/route", "/nothing"] {
        planted.assert_none_in(path, &gateway.admin_get(path).body);
        planted.assert_none_in(path, &gateway.get(path).body);
    }
    let process = format!("/proc/{}", gateway.id());
    if let Ok(line) = std::fs::read_to_string(format!("{process}/cmdline")) {
        planted.assert_none_in("the process list", &line);
        let limits = std::fs::read_to_string(format!("{process}/limits")).unwrap();
        let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(cores.split_whitespace().nth(4), Some("0"), "{cores}");
    }
    gateway.signal("TERM");
    gateway.wait();
    planted.assert_none_in("the log", &gateway.log().join("\n"));
}

#[test]
fn commands_show_no_secret_whether_they_succeed_or_fail() {
    let directory = tempfile::tempdir().unwrap();
    let planted = Planted::new();
    let options = planted.options(directory.path());
    let commands: [&[&str]; 8] = [
        &["config", "show"],
        &["config", "check"],
        &["check"],
        &["check", "--json"],
        &["keys", "show"],
        &["migrate", "--plan"],
        &["revenue"],
        &["colony", "setup"],
    ];
    for command in commands {
        let (_, stdout, stderr) = run(&options, command);
        planted.assert_none_in(&command.join(" "), &format!("{stdout}{stderr}"));
    }
}

#[test]
fn a_secret_that_is_refused_is_not_repeated() {
    let directory = tempfile::tempdir().unwrap();
    for (name, _) in Planted::new().secrets {
        let options = Planted::new().options(directory.path()).with(name, format!("two words {MARK}\u{7f}"));
        let (_, stdout, stderr) = run(&options, &["config", "check"]);
        assert!(!format!("{stdout}{stderr}").contains(MARK), "{name}: {stderr}");
        let (_, stdout, stderr) = run(&options, &["check", "--json"]);
        assert!(!format!("{stdout}{stderr}").contains(MARK), "{name}: {stderr}");
    }
}
