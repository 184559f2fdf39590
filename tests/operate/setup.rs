//! `stripe setup`: an endpoint and its secret, made, adopted and rolled.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use colony_gateway::stripe::api::EVENTS_MAPPED;

use crate::gateway::{Options, SECRET};
use crate::run;
use crate::stripe_endpoints::{StripeEndpoints, WRITE_KEY};

const URL: &str = "https://pay.example.com/webhooks/stripe";

struct World {
    directory: tempfile::TempDir,
    stripe: StripeEndpoints,
    options: Options,
}

impl World {
    async fn new() -> Self {
        let (directory, stripe) = (tempfile::tempdir().unwrap(), StripeEndpoints::start().await);
        std::fs::write(directory.path().join("key"), format!("{WRITE_KEY}\n")).unwrap();
        let options = Options::new(&directory.path().join("data")).with("GATEWAY_STRIPE_API_URL", &stripe.base_url);
        Self { directory, stripe, options }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn secrets(&self) -> String {
        std::fs::read_to_string(self.file("secret")).unwrap()
    }

    async fn setup(&self, more: &[&str]) -> (i32, String, String) {
        self.setup_into(&self.file("secret"), more).await
    }

    async fn setup_into(&self, secret: &Path, more: &[&str]) -> (i32, String, String) {
        let (key, secret) = (self.file("key").display().to_string(), secret.display().to_string());
        let fixed = ["stripe", "setup", "--url", URL, "--key-file", &key, "--secret-file", &secret, "--overlap", "0"];
        let all: Vec<String> = fixed.iter().chain(more).map(|text| (*text).to_owned()).collect();
        let options = self.options.clone();
        tokio::task::spawn_blocking(move || run(&options, &all.iter().map(String::as_str).collect::<Vec<_>>()))
            .await
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_made_once_with_its_secret_in_a_private_file_and_rolled_with_both_secrets_in_it() {
    let world = World::new().await;
    let (code, stdout, _) = world.setup(&["--dry-run"]).await;
    assert!(
        code == 0 && stdout.contains("would make an endpoint") && stdout.contains("nothing was changed"),
        "{stdout}"
    );
    assert!(!world.file("secret").exists() && world.stripe.enabled().is_empty());

    // An answer that is lost makes no second endpoint.
    let (code, stdout, stderr) = world.setup(&[]).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert_eq!(world.secrets(), "whsec_made1\n");
    assert_eq!(std::fs::metadata(world.file("secret")).unwrap().permissions().mode() & 0o777, 0o600);
    let made = world.stripe.get("we_made1").unwrap();
    assert_eq!(
        (made["url"].as_str(), made["enabled_events"].as_array().map(Vec::len)),
        (Some(URL), Some(EVENTS_MAPPED.len()))
    );
    assert!(!format!("{stdout}{stderr}").contains("whsec_") && !format!("{stdout}{stderr}").contains(WRITE_KEY));

    let before = world.stripe.asked().len();
    let (code, stdout, _) = world.setup(&[]).await;
    assert!(code == 0 && stdout.contains("we_made1 is in order"), "{stdout}");
    assert_eq!(world.stripe.asked().len(), before + 1, "it only looked");

    let (code, stdout, stderr) = world.setup(&["--roll"]).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert_eq!(world.secrets(), "whsec_made2,whsec_made1\n", "the old one stays valid");
    assert_eq!(world.stripe.enabled(), ["we_made2"]);
    let used = world
        .options
        .clone()
        .with("STRIPE_WEBHOOK_SECRET", "")
        .with("STRIPE_WEBHOOK_SECRET_FILE", world.file("secret").display());
    let (code, stdout, stderr) = tokio::task::spawn_blocking(move || run(&used, &["config", "check"])).await.unwrap();
    assert_eq!(code, 0, "{stdout}{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_made_by_hand_is_adopted_with_just_the_events_that_are_needed() {
    let world = World::new().await;
    world.stripe.put("we_hand", URL, &["*"]);
    world.stripe.put("we_other", "https://shop.example.com/hook", &["invoice.paid"]);
    std::fs::write(world.file("secret"), SECRET).unwrap();
    let (code, stdout, _) = world.setup(&[]).await;
    assert!(code == 0 && stdout.contains("changed we_hand") && stdout.contains("cannot be known"), "{stdout}");
    let events = world.stripe.get("we_hand").unwrap()["enabled_events"].as_array().unwrap().len();
    assert_eq!(events, EVENTS_MAPPED.len());
    assert_eq!(world.stripe.enabled(), ["we_hand", "we_other"]);
    assert_eq!(world.secrets(), SECRET);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_that_the_gateway_is_told_of_need_not_be_there_yet() {
    let world = World::new().await;
    let options = world.options.clone().with("STRIPE_WEBHOOK_SECRET", "");
    let options = options.with("STRIPE_WEBHOOK_SECRET_FILE", world.file("secret").display());
    let key = world.file("key").display().to_string();
    let all = ["stripe", "setup", "--url", URL, "--key-file", &key].map(str::to_owned);
    let run = move || run(&options, &all.iter().map(String::as_str).collect::<Vec<_>>());
    let (code, stdout, stderr) = tokio::task::spawn_blocking(run).await.unwrap();
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert_eq!(world.secrets(), "whsec_made1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_makes_no_second_endpoint() {
    let world = World::new().await;
    world.stripe.fail_after_doing();
    let (code, stdout, stderr) = world.setup(&[]).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    world.stripe.fail_after_doing();
    let (code, stdout, stderr) = world.setup(&["--roll"]).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert_eq!(
        (world.stripe.enabled(), world.secrets().as_str()),
        (vec!["we_made2".to_owned()], "whsec_made2,whsec_made1\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_at_stripe_when_the_secret_cannot_be_kept_or_the_key_may_not_write() {
    let world = World::new().await;
    let (code, _, stderr) = world.setup_into(&world.file("nowhere/secret"), &[]).await;
    assert!(code == 1 && stderr.contains("nothing was changed at Stripe"), "{stderr}");
    std::fs::write(world.file("key"), "rk_test_reads_only").unwrap();
    let (code, _, stderr) = world.setup(&[]).await;
    assert!(code == 1 && stderr.contains("write access to webhook endpoints"), "{stderr}");
    assert!(!stderr.contains("rk_test_reads_only") && world.stripe.enabled().is_empty());
    assert!(!world.file("secret").exists());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_typed_is_not_shown() {
    let world = World::new().await;
    let secret = world.file("secret").display().to_string();
    let command = world.options.command();
    let said = tokio::task::spawn_blocking(move || {
        let line = format!("{} stripe setup --url {URL} --secret-file {secret}", command.get_program().display());
        // A terminal of its own, which shows what is typed unless it is told not to.
        let mut terminal = Command::new("script");
        terminal.args(["-q", "-e", "-c", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        for (name, value) in command.get_envs() {
            terminal.env(name, value.unwrap());
        }
        let mut terminal = terminal.spawn().unwrap();
        let (mut typed, mut shown) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
        let mut said = Vec::new();
        while !said.ends_with(b"kept nowhere): ") {
            let mut byte = [0];
            shown.read_exact(&mut byte).unwrap();
            said.extend(byte);
        }
        writeln!(typed, "{WRITE_KEY}").unwrap();
        shown.read_to_end(&mut said).unwrap();
        assert!(terminal.wait().unwrap().success());
        String::from_utf8(said).unwrap()
    });
    let said = said.await.unwrap();
    assert!(said.contains("we_made1") && !said.contains(WRITE_KEY), "{said}");
}
