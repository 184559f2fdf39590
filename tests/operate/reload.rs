//! Keys, tokens and rules that change under a running gateway.

use std::path::{Path, PathBuf};

use colony_gateway::domain::clock::Clock;
use colony_gateway::stripe::simulator::{sign, sign_all};

use crate::gateway::{Gateway, Options, event, post, request};

const OLD: &str = "whsec_the_old_one";
const NEW: &str = "whsec_the_new_one";

struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces a file the way tools for secrets do: a new one takes its name.
    fn replace(&self, name: &str, text: &str) {
        let next = self.file(&format!("{name}.new"));
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, self.file(name)).unwrap();
    }

    fn options(&self) -> Options {
        self.replace("webhook", OLD);
        Options::new(&self.file("data"))
            .with("STRIPE_WEBHOOK_SECRET", "")
            .with("STRIPE_WEBHOOK_SECRET_FILE", self.file("webhook").display())
    }
}

fn deliver(gateway: &Gateway, secret: &str, id: &str) -> u16 {
    let body = event(id);
    let header = sign(secret, Clock::system().now(), body.as_bytes());
    request(gateway.webhooks, &post("/webhooks/stripe", &[("stripe-signature", &header)], body.as_bytes())).status
}

fn until_logged(gateway: &Gateway, setting: &str, message: &str) {
    let has = |line: &String| line.contains(message) && line.contains(setting);
    gateway.until(|_| gateway.log().iter().any(has));
}

fn fingerprint(secret: &str) -> String {
    let (secret, _) = colony_gateway::stripe::signature::SigningSecret::parse(secret).unwrap();
    secret.fingerprint().to_string()
}

fn kid(secret: &str) -> String {
    format!("colony_gateway_key_uses_total{{key=\"webhook:{}\"}}", fingerprint(secret))
}

#[test]
fn keys_show_names_the_secrets_of_each_endpoint_by_fingerprint_and_never_as_they_are() {
    let world = World::new();
    let options = world.options();
    world.replace("webhook", &format!("{NEW},{OLD}"));
    world.replace(
        "gateway.toml",
        "[[endpoint]]\nname = \"connect\"\npath = \"/connect\"\nsecrets = [\"whsec_of_connect\"]\n",
    );
    let file = world.file("gateway.toml");
    let (code, said, stderr) = crate::run(&options, &["--config", file.to_str().unwrap(), "keys", "show"]);
    assert_eq!(code, 0, "{stderr}");
    let webhook = world.file("webhook").display().to_string();
    for (secret, endpoint) in [(NEW, "stripe"), (OLD, "stripe"), ("whsec_of_connect", "connect")] {
        let line = format!("fingerprint {}  endpoint {endpoint}, ", fingerprint(secret));
        assert!(said.contains(&line) && !said.contains(secret), "{said}");
    }
    assert!(said.contains(&webhook) && said.contains("from its table"), "{said}");
}

#[test]
fn a_webhook_secret_changes_with_an_overlap_and_its_uses_say_when_the_old_one_can_go() {
    let world = World::new();
    let gateway = world.options().serve();
    assert_eq!(deliver(&gateway, OLD, "evt_1"), 200);
    assert_eq!(deliver(&gateway, NEW, "evt_2"), 400);

    world.replace("webhook", &format!("{OLD},{NEW}\n"));
    until_logged(&gateway, "STRIPE_WEBHOOK_SECRET", "taken over");
    assert_eq!((deliver(&gateway, OLD, "evt_3"), deliver(&gateway, NEW, "evt_4")), (200, 200));
    assert_eq!((gateway.metric(&kid(OLD)), gateway.metric(&kid(NEW))), (2, 1));

    // Stripe signs with both while it rolls one.
    let body = event("evt_both");
    let header = sign_all(&[NEW, OLD], Clock::system().now(), body.as_bytes());
    let both = request(gateway.webhooks, &post("/webhooks/stripe", &[("stripe-signature", &header)], body.as_bytes()));
    assert_eq!((both.status, gateway.metric(&kid(OLD)), gateway.metric(&kid(NEW))), (200, 3, 2));

    world.replace("webhook", NEW);
    gateway.until(|_| deliver(&gateway, OLD, "evt_5") == 400);
    assert_eq!(deliver(&gateway, NEW, "evt_6"), 200);
    gateway.until(|_| gateway.metric("colony_gateway_reloads_total{result=\"ok\"}") == 2);
    let age = gateway.admin_get("/metrics").body;
    assert!(age.contains("colony_gateway_secret_age_seconds{secret=\"STRIPE_WEBHOOK_SECRET\"}"), "{age}");
}

#[test]
fn a_secret_that_is_refused_leaves_the_old_one_in_use_and_says_why() {
    let world = World::new();
    let gateway = world.options().serve();
    for bad in ["", "two words", "\n"] {
        world.replace("webhook", bad);
        gateway.signal("HUP");
        until_logged(&gateway, "STRIPE_WEBHOOK_SECRET", "settings refused, nothing changed");
        assert_eq!(deliver(&gateway, OLD, "evt_1"), 200, "{bad:?}");
    }
    std::fs::remove_file(world.file("webhook")).unwrap();
    gateway.signal("HUP");
    until_logged(&gateway, "STRIPE_WEBHOOK_SECRET", "cannot be read");
    assert_eq!(deliver(&gateway, OLD, "evt_1"), 200);
    world.replace("webhook", NEW);
    gateway.until(|_| deliver(&gateway, NEW, "evt_2") == 200);
}

#[test]
fn only_what_changed_is_told_as_taken_over() {
    let world = World::new();
    world.replace("rules", "");
    let gateway = world.options().with("GATEWAY_GUARDIAN_RULES", world.file("rules").display()).serve();
    world.replace("webhook", NEW);
    until_logged(&gateway, "STRIPE_WEBHOOK_SECRET", "taken over");
    gateway.signal("HUP");
    until_logged(&gateway, "SIGHUP", "settings read again");
    gateway.until(|_| gateway.metric("colony_gateway_reloads_total{result=\"ok\"}") == 2);
    let told = |setting: &str| {
        let log = gateway.whole_log();
        log.iter().filter(|line| line.contains("taken over") && line.contains(setting)).count()
    };
    assert_eq!((told("STRIPE_WEBHOOK_SECRET"), told("revenue.guardian_rules")), (1, 0));
    world.replace("rules", "[builtin.amount_max]\nmax = 1\n");
    until_logged(&gateway, "revenue.guardian_rules", "taken over");
    assert_eq!(told("STRIPE_WEBHOOK_SECRET"), 1);
}

fn route(gateway: &Gateway, token: &str) -> u16 {
    let request_text = format!(
        "GET /admin/route HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    request(gateway.admin, request_text.as_bytes()).status
}

#[test]
fn the_admin_token_and_the_stripe_key_change_without_a_restart() {
    let world = World::new();
    let options = world.options();
    world.replace("token", "the-first-admin-token");
    world.replace("stripe", "sk_test_first\n");
    let with = |options: Options, name: &str, file: &Path| options.with(name, file.display());
    let options = with(options, "GATEWAY_ADMIN_TOKEN_FILE", &world.file("token"));
    let options = with(options, "STRIPE_SECRET_KEY_FILE", &world.file("stripe"));
    let gateway = options.with("GATEWAY_STRIPE_API_URL", "http://127.0.0.1:9").serve();
    assert_eq!(route(&gateway, "the-first-admin-token"), 200);

    world.replace("token", "the-second-admin-token");
    until_logged(&gateway, "GATEWAY_ADMIN_TOKEN", "taken over");
    assert_eq!((route(&gateway, "the-first-admin-token"), route(&gateway, "the-second-admin-token")), (401, 200));

    world.replace("stripe", "rk_test_second");
    until_logged(&gateway, "STRIPE_SECRET_KEY", "taken over");
    world.replace("stripe", "sk_live_by_mistake");
    until_logged(&gateway, "STRIPE_SECRET_KEY", "of another mode");
    assert!(!gateway.whole_log().join("\n").contains("sk_live_by_mistake"));
}

#[test]
fn a_secret_that_was_refused_is_told_until_it_is_mended_whatever_else_changes() {
    let world = World::new();
    let options = world.options();
    world.replace("token", "the-first-admin-token");
    world.replace("stripe", "sk_test_first");
    let options = options.with("GATEWAY_ADMIN_TOKEN_FILE", world.file("token").display());
    let options = options.with("STRIPE_SECRET_KEY_FILE", world.file("stripe").display());
    let gateway = options.with("GATEWAY_STRIPE_API_URL", "http://127.0.0.1:9").serve();
    let count = |result: &str| gateway.metric(&format!("colony_gateway_reloads_total{{result=\"{result}\"}}"));

    world.replace("stripe", "sk_live_by_mistake");
    gateway.until(|_| count("refused") == 1);
    world.replace("token", "the-second-admin-token");
    gateway.until(|_| count("refused") + count("ok") == 2);
    assert_eq!(route(&gateway, "the-second-admin-token"), 200);
    let told = &gateway.health()["components"]["settings"];
    assert_eq!(told["status"], "degraded", "{told}");
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("STRIPE_SECRET_KEY")), "{told}");

    world.replace("stripe", "sk_test_second");
    gateway.until(|health| health["components"]["settings"]["status"] == "ok");
}
