//! `send` and `tail`, against the real binary.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::commands::run;
use crate::gateway::Options;

const TOKEN: &str = "a-token-of-the-tests";

#[test]
fn an_event_is_sent_by_its_type_or_from_a_file_and_tail_shows_how_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path()).with("GATEWAY_ADMIN_TOKEN", TOKEN);
    let gateway = options.serve();
    let url = format!("http://{}/webhooks/stripe", gateway.webhooks);
    let admin = format!("http://{}", gateway.admin);
    let following = ["tail", "--json", "--admin", &admin];
    let mut tail = options.command().args(following).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let entries = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());

    let kind = "customer.subscription.created";
    let made = ["send", kind, "--user", "ada", "--set", "metadata.order=7", "--url", &url, "--json"];
    let (code, stdout, stderr) = run(&options, &made);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let sent: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((sent["status"].as_u64(), sent["type"].as_str()), (Some(200), Some(kind)));
    let event = sent["event"].as_str().unwrap();
    let mut shown = entries.filter(|entry| entry["event_id"] == event);
    let ended = shown.find(|entry| entry["state"] == "settled").unwrap();
    assert_eq!(ended["outcome"], "applied", "{ended}");
    let interrupted = Command::new("kill").arg("-INT").arg(tail.id().to_string()).status().unwrap();
    assert!(interrupted.success() && tail.wait().unwrap().success(), "an interrupt is the end that is meant");

    let (_, story, _) = run(&options, &["inbox", "show", event, "--reveal", "--admin", &admin]);
    assert!(story.contains("\"order\": \"7\"") && story.contains("\"userId\": \"ada\""), "{story}");

    let (code, printed, _) = run(&options, &["send", "invoice.paid", "--print"]);
    assert_eq!(code, 0);
    let file = directory.path().join("event.json");
    std::fs::write(&file, &printed).unwrap();
    let sends = |more: &[&str]| {
        let all = [&["send", "--file", file.to_str().unwrap(), "--url", &url], more].concat();
        run(&options, &all)
    };
    assert_eq!(sends(&[]).0, 0);
    assert_eq!(sends(&["--fresh"]).0, 0);
    let (code, stdout, _) = sends(&["--secret", "whsec_of_another"]);
    assert!(code == 1 && stdout.contains("invalid_signature") && stdout.contains("signing secret"), "{stdout}");
    let health = gateway.until_idle();
    assert_eq!(health["inbox"]["settled"], 3, "{health}");
}

#[test]
fn what_cannot_be_sent_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path());
    let (code, _, stderr) = run(&options, &["send", "invoice.payed"]);
    assert!(code == 1 && stderr.contains("Did you mean invoice.paid?"), "{stderr}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/webhooks/stripe");
    let (code, _, stderr) = run(&options, &["send", "invoice.paid", "--url", &url]);
    assert!(code == 1 && stderr.contains("cannot be reached") && stderr.contains("is the gateway running"), "{stderr}");
    let file = directory.path().join("invoice.json");
    std::fs::write(&file, r#"{"id": "in_1", "object": "invoice"}"#).unwrap();
    for more in [&["--url", &url][..], &["--print"], &["--fresh", "--url", &url]] {
        let (code, stdout, stderr) = run(&options, &[&["send", "--file", file.to_str().unwrap()], more].concat());
        assert!(
            code == 1 && stderr.contains("there is no event in ") && stderr.contains("one invoice"),
            "{stdout}{stderr}"
        );
    }
    let (code, _, stderr) = run(&options.with("STRIPE_WEBHOOK_SECRET", ""), &["send", "invoice.paid", "--url", &url]);
    assert!(code == 1 && stderr.contains("no secret to sign with"), "{stderr}");
}
