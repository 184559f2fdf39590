//! Messages on the wire: stand-ins of receivers over HTTP and SMTP.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::config::{EmailConfig, NotifyConfig};
use crate::domain::backoff::Backoff;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::secret::Secret;
use crate::lifecycle::Shutdown;
use crate::stripe::signature::{SigningSecret, check_header};
use crate::telemetry::health::{Board, Level};
use crate::telemetry::instruments::Instruments;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;

const SECRET: &str = "whsec_for_the_messages_of_tests";

/// Waits too short for a test to notice.
const AT_ONCE: Backoff = Backoff { first: Duration::from_micros(1), max: Duration::from_micros(1) };

/// A request that a receiver got.
#[derive(Debug)]
struct Got {
    headers: HeaderMap,
    body: Bytes,
}

/// Accepts messages over HTTP. Answers with these statuses first, then with 200.
struct Receiver {
    url: String,
    got: mpsc::UnboundedReceiver<Got>,
    server: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Answers = Arc<std::sync::Mutex<std::collections::VecDeque<u16>>>;

impl Receiver {
    #[expect(clippy::disallowed_methods, reason = "the task is aborted when the receiver is dropped")]
    async fn start(answers: &[u16]) -> Self {
        let (sender, got) = mpsc::unbounded_channel();
        let answers: Answers = Arc::new(std::sync::Mutex::new(answers.iter().copied().collect()));
        let take = |State((sender, answers)): State<(mpsc::UnboundedSender<Got>, Answers)>,
                    headers: HeaderMap,
                    body: Bytes| async move {
            sender.send(Got { headers, body }).unwrap();
            let status = answers.lock().unwrap().pop_front().unwrap_or(200);
            StatusCode::from_u16(status).unwrap()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/secret-path", listener.local_addr().unwrap());
        let router = Router::new().fallback(take).with_state((sender, answers));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, got, server }
    }

    async fn next(&mut self) -> Value {
        serde_json::from_slice(&self.got.recv().await.unwrap().body).unwrap()
    }
}

fn settings() -> NotifyConfig {
    NotifyConfig {
        slack: None,
        discord: None,
        teams: None,
        webhook: None,
        email: None,
        name: None,
        after: Duration::from_mins(1),
        backlog: None,
        no_webhook: None,
    }
}

fn instruments() -> Instruments {
    Instruments { metrics: Metrics::new(), board: Board::default(), clock: Clock::system(), tracer: Tracer::default() }
}

fn message() -> Message {
    Message {
        id: "m1".to_owned(),
        news: News::Opened,
        matter: Some(Matter::new(MatterKind::Problem, "age invoice.paid")),
        title: "invoice.paid waits for a <person>".to_owned(),
        detail: "3 entries & more. @everyone".to_owned(),
        action: "Look.".to_owned(),
        link: Some("https://gw.example.com/console/problems".to_owned()),
        at: Timestamp::from_seconds(1_700_000_000),
    }
}

/// The example of a message in `docs/json.md`.
fn documented() -> Value {
    testkit::examples::example("The webhook of alerts")
}

#[test]
fn the_page_names_every_kind_of_message() {
    use MatterKind::{Access, Backlog, Component, KeyDue, MissedEvents, NoWebhook, Problem};
    let page = testkit::examples::page();
    let row = |field: &str| page.lines().find(|line| line.starts_with(&format!("| `{field}` |"))).unwrap();
    for news in [News::Opened, News::Resolved, News::Happened, News::Several, News::Test] {
        let name = serde_json::to_value(news).unwrap();
        assert!(row("news").contains(&format!("`{}`", name.as_str().unwrap())), "{name}");
    }
    for kind in [Problem, Access, Component, Backlog, NoWebhook, MissedEvents, KeyDue] {
        assert!(row("kind").contains(&format!("`{}`", kind.as_str())), "{}", kind.as_str());
    }
}

#[tokio::test]
async fn every_channel_gets_the_message_in_its_own_form() {
    let (mut slack, mut discord) = (Receiver::start(&[]).await, Receiver::start(&[204]).await);
    let (mut teams, mut hook) = (Receiver::start(&[202]).await, Receiver::start(&[]).await);
    let config = NotifyConfig {
        slack: Some(Secret::new(slack.url.as_str())),
        discord: Some(Secret::new(discord.url.as_str())),
        teams: Some(Secret::new(teams.url.as_str())),
        webhook: Some((Secret::new(hook.url.as_str()), Secret::new(SECRET))),
        ..settings()
    };
    let clock = Clock::system();
    for channel in channels(&config).unwrap() {
        channel.send(&message(), "gw-1", &clock).await.unwrap();
    }
    let text = slack.next().await["text"].as_str().unwrap().to_owned();
    assert!(
        text.starts_with("*[gw-1] Open: invoice.paid waits for a &lt;person&gt;*\n3 entries &amp; more."),
        "{text}"
    );
    assert!(text.ends_with("Look.\n\nhttps://gw.example.com/console/problems"), "{text}");
    let discord = discord.next().await;
    assert!(discord["content"].as_str().unwrap().starts_with("**[gw-1] Open: "), "{discord}");
    assert_eq!(discord["allowed_mentions"]["parse"].as_array().map(Vec::len), Some(0), "nobody is called by name");
    let teams = teams.next().await;
    let card = &teams["attachments"][0];
    assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
    assert_eq!(
        (card["content"]["type"].as_str(), card["content"]["body"][2]["text"].as_str()),
        (Some("AdaptiveCard"), Some("Look."))
    );

    let got = hook.got.recv().await.unwrap();
    let header = got.headers["colony-gateway-signature"].to_str().unwrap();
    let (secret, _) = SigningSecret::parse(SECRET).unwrap();
    let verified = check_header([header.as_bytes()]).unwrap().verify(
        got.body.clone(),
        &[secret],
        clock.now(),
        Duration::from_mins(5),
    );
    assert!(verified.is_ok(), "what checks Stripe's signatures checks these");
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    let names = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names(&body), names(&documented()), "docs/json.md");
    assert_eq!(
        body,
        serde_json::json!({
            "id": "m1", "news": "opened", "kind": "problem", "key": "age invoice.paid", "gateway": "gw-1",
            "title": "invoice.paid waits for a <person>", "detail": "3 entries & more. @everyone", "action": "Look.",
            "link": "https://gw.example.com/console/problems", "at": "2023-11-14T22:13:20Z"
        })
    );
}

#[tokio::test]
async fn a_message_is_tried_again_and_a_failure_shows_until_one_arrives() {
    let mut hook = Receiver::start(&[500, 503, 404]).await;
    let config = NotifyConfig { slack: Some(Secret::new(hook.url.as_str())), ..settings() };
    let (instruments, shutdown) = (instruments(), Shutdown::default());
    let (outbox, workers) = Outbox::new(channels(&config).unwrap(), "gw", &instruments);
    let mut tasks = tokio::task::JoinSet::new();
    for worker in workers {
        tasks.spawn(worker.with_backoff(AT_ONCE).run(shutdown.clone()));
    }
    let component = || instruments.board.read()[outbox::COMPONENT].clone();
    assert_eq!(component().status, Level::Ok);
    outbox.send(&message());
    for _ in 0..3 {
        hook.next().await;
    }
    while !outbox.is_idle() {
        tokio::task::yield_now().await;
    }
    let failed = component();
    assert_eq!(failed.status, Level::Degraded);
    assert!(failed.detail.contains("slack answers 404") && !failed.detail.contains("secret-path"), "{}", failed.detail);
    outbox.send(&message());
    hook.next().await;
    while !outbox.is_idle() {
        tokio::task::yield_now().await;
    }
    assert_eq!(component().status, Level::Ok);
    let text = instruments.metrics.render();
    for line in ["{result=\"sent\"} 1", "{result=\"failed\"} 1"] {
        assert!(text.contains(&format!("colony_gateway_notifications_total{line}")), "{text}");
    }
    shutdown.drain();
    while tasks.join_next().await.is_some() {}
}

#[tokio::test]
async fn a_channel_that_never_answers_holds_up_nothing_and_its_queue_is_bounded() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}/", listener.local_addr().unwrap());
    let mut other = Receiver::start(&[]).await;
    let config = NotifyConfig {
        slack: Some(Secret::new(silent.as_str())),
        discord: Some(Secret::new(other.url.as_str())),
        ..settings()
    };
    let (instruments, shutdown) = (instruments(), Shutdown::default());
    let (outbox, workers) = Outbox::new(channels(&config).unwrap(), "gw", &instruments);
    let mut tasks = tokio::task::JoinSet::new();
    for worker in workers {
        tasks.spawn(worker.with_backoff(AT_ONCE).run(shutdown.clone()));
    }
    // One message is in hand, and the queue takes as many as its bound.
    for _ in 0..outbox::QUEUED_MAX + 2 {
        outbox.send(&message());
        other.next().await;
    }
    let text = instruments.metrics.render();
    assert!(text.contains("colony_gateway_notifications_total{result=\"queue_full\"} 1"), "{text}");
    tasks.abort_all();
}

/// A mail server that accepts everything. Returns the commands and the lines of the mail.
fn mail_server() -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://gateway:pa55@{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let (mut out, mut lines) = (stream.try_clone().unwrap(), Vec::new());
        let mut say = |text: &str| out.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        say("220 stand-in");
        let mut in_mail = false;
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.push(line.clone());
            if in_mail {
                if line == "." {
                    in_mail = false;
                    say("250 taken");
                }
                continue;
            }
            match line.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" => say("250-stand-in\r\n250 AUTH PLAIN LOGIN"),
                "AUTH" => say("235 welcome"),
                "DATA" => {
                    in_mail = true;
                    say("354 go on");
                }
                "QUIT" => {
                    say("221 bye");
                    break;
                }
                _ => say("250 ok"),
            }
        }
        lines
    });
    (url, server)
}

#[tokio::test]
async fn a_mail_goes_to_everybody_with_the_title_as_its_subject() {
    let (url, server) = mail_server();
    let email = EmailConfig {
        url: Secret::new(url),
        from: "Gateway <gateway@example.com>".to_owned(),
        to: vec!["a@example.com".to_owned(), "b@example.com".to_owned()],
    };
    let config = NotifyConfig { email: Some(email), ..settings() };
    let [channel] = &channels(&config).unwrap()[..] else { panic!("one channel") };
    channel.send(&message(), "gw-1", &Clock::system()).await.unwrap();
    let lines = tokio::task::spawn_blocking(move || server.join().unwrap()).await.unwrap();
    let said = |line: &str| assert!(lines.iter().any(|said| said == line), "{line} is not in {lines:#?}");
    for line in [
        "MAIL FROM:<gateway@example.com>",
        "RCPT TO:<a@example.com>",
        "RCPT TO:<b@example.com>",
        "Subject: [gw-1] Open: invoice.paid waits for a <person>",
        "Message-ID: <m1@colony-gateway>",
        "Look.",
    ] {
        said(line);
    }
}

#[tokio::test]
async fn a_mail_server_that_refuses_is_a_failure_without_its_password() {
    let closed = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let email = EmailConfig {
        url: Secret::new(format!("smtp://gateway:pa55@{closed}")),
        from: "gateway@example.com".to_owned(),
        to: vec!["a@example.com".to_owned()],
    };
    let config = NotifyConfig { email: Some(email), ..settings() };
    let [channel] = &channels(&config).unwrap()[..] else { panic!("one channel") };
    let error = channel.send(&message(), "gw-1", &Clock::system()).await.unwrap_err();
    assert!(error.is_passing && !error.said.contains("pa55"), "{error:?}");
    assert!(!format!("{channel:?}").contains("pa55"));
}
