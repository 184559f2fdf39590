//! Traces in the real binary: one an event from the delivery to the ledger, over processes too, and nothing that depends on
//! a collector.

use std::process::{Child, Stdio};

use crate::collector::{Answer, Collector, Span};
use crate::gateway::{Gateway, Options, event, post, request, signature};
use crate::route::Colony;

/// Part of every planted text.
const MARK: &str = "PLANTED5ecret";

fn traced(options: Options, collector: &Collector) -> Options {
    options.with("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
}

/// The one span of a name that speaks of an event.
fn span<'a>(spans: &'a [Span], name: &str, event: &str) -> &'a Span {
    let is_it =
        |span: &&Span| span.name == name && span.attributes.get("stripe.event_id").is_some_and(|id| id == event);
    let found: Vec<&Span> = spans.iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{name} of {event} in {spans:#?}");
    found[0]
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// The one part of a name that a span has.
fn part<'a>(spans: &'a [Span], name: &str, of: &Span) -> &'a Span {
    let found: Vec<&Span> = spans.iter().filter(|span| span.name == name && span.parent == of.id).collect();
    assert_eq!(found.len(), 1, "{name} below {of:#?} in {spans:#?}");
    assert_eq!(found[0].trace, of.trace);
    assert!(found[0].start >= of.start && found[0].end >= found[0].start);
    found[0]
}

fn stored_contexts(gateway: &Gateway, directory: &std::path::Path) -> Vec<Option<String>> {
    gateway.until_idle();
    let connection = rusqlite::Connection::open(directory.join("inbox.db")).unwrap();
    let mut statement = connection.prepare("SELECT traceparent FROM entries ORDER BY id").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn an_event_that_is_applied_directly_is_one_trace_from_the_request_to_the_ledger() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start(Answer::Take));
    let options = traced(Options::new(directory.path()), &collector).with("OTEL_SERVICE_NAME", "payments");
    let mut gateway = options.serve();
    // A position from outside is not followed: the door is open to everybody.
    let (body, foreign) = (event("evt_1"), "00-11111111111111111111111111111111-2222222222222222-01");
    let headers = [("stripe-signature", &*signature(&body)), ("traceparent", foreign)];
    assert_eq!(request(gateway.webhooks, &post("/webhook", &headers, body.as_bytes())).status, 200);
    let spans = collector.until_spans("ledger write", 1);

    let delivery = span(&spans, "POST /webhook", "evt_1");
    assert!(delivery.parent.is_empty() && delivery.links.is_empty());
    assert_ne!(delivery.trace, vec![0x11; 16]);
    let commit = part(&spans, "inbox commit", delivery);
    let attempt = part(&spans, "apply", delivery);
    part(&spans, "validate", attempt);
    let write = part(&spans, "ledger write", attempt);
    assert_eq!(spans.len(), 5, "{spans:#?}");
    assert!(commit.end <= delivery.end && write.end <= attempt.end);
    assert!(spans.iter().all(|span| span.service == "payments"));
    let expected = [
        ("gateway.endpoint", "stripe"),
        ("gateway.entry", "1"),
        ("gateway.result", "ok"),
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("http.route", "/webhook"),
        ("stripe.event_id", "evt_1"),
        ("stripe.event_type", "product.created"),
    ];
    assert_eq!(delivery.attributes, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let attribute = |span: &Span, name: &str| span.attributes.get(name).cloned().unwrap_or_default();
    assert_eq!(attribute(attempt, "gateway.outcome"), "ignored");
    assert_eq!(attribute(attempt, "gateway.route"), "direct");
    assert_eq!(attribute(attempt, "gateway.attempt"), "1");
    assert_eq!(attribute(write, "gateway.ledger"), "sqlite");

    // The log line leads to the trace, and the collector got what it got under the path and type of the protocol.
    let line = &gateway.request_lines(1)[0];
    assert_eq!(line["trace_id"], hex::encode(&delivery.trace));
    let (head, _) = &collector.requests()[0];
    assert!(
        head.starts_with("post /v1/traces http/1.1") && head.contains("content-type: application/x-protobuf"),
        "{head}"
    );

    // Another delivery of the same event is a trace that ends at the inbox, and a forged one is none.
    assert_eq!(gateway.post(&body).status, 200);
    let forged = post("/webhook", &[("stripe-signature", "t=1,v1=00")], body.as_bytes());
    assert_eq!(request(gateway.webhooks, &forged).status, 400);
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    let spans = collector.until_spans("inbox commit", 2);
    let again = named(&spans, "POST /webhooks/stripe");
    assert_eq!((again.len(), attribute(again[0], "gateway.result").as_str()), (1, "duplicate"));
    assert_eq!(spans.len(), 7, "what was left at the end was exported, and nothing else: {spans:#?}");
}

/// Bees in a process of their own. Killed when dropped.
struct Bees(Child);

impl Drop for Bees {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_job_leads_from_its_deliveries_to_the_bee_in_another_process() {
    let (directory, collector, colony) =
        (tempfile::tempdir().unwrap(), Collector::start(Answer::Take), Colony::start());
    let (data, bee) = (directory.path().join("gateway"), directory.path().join("bee"));
    let options =
        traced(colony.options(&data), &collector).with("BEE_COUNT", 0).with("GATEWAY_COLONY_PROCESSES_MAX", 1);
    let gateway = options.serve();
    // Nobody works yet: the first event is a job, and the others wait for its place.
    assert_eq!(gateway.post(&event("evt_0")).status, 200);
    gateway.until(|health| health["inbox"]["submitted"] == 1);
    for number in 1..=5 {
        assert_eq!(gateway.post(&event(&format!("evt_{number}"))).status, 200);
    }
    let bees =
        traced(colony.options(&bee), &collector).with("GATEWAY_LEDGER_SQLITE_PATH", data.join("ledger.db").display());
    let mut command = bees.with("BEE_COUNT", 1).command();
    let _bees = Bees(command.arg("bee").stderr(Stdio::null()).spawn().unwrap());
    gateway.until_idle();
    let spans = collector.until("both jobs are written", |spans| {
        named(spans, "run job").len() >= 2 && named(spans, "settle").len() >= 6
    });

    let attribute = |span: &Span, name: &str| span.attributes.get(name).cloned().unwrap_or_default();
    // One event: its job is a part of its own trace, up to the ledger.
    let alone = span(&spans, "submit job", "evt_0");
    let delivery = span(&spans, "POST /webhooks/stripe", "evt_0");
    assert_eq!((&alone.trace, &alone.parent), (&delivery.trace, &delivery.id));
    let run = part(&spans, "run job", alone);
    part(&spans, "ledger write", run);
    assert_eq!((run.service.as_str(), alone.service.as_str()), ("colony-gateway-bee", "colony-gateway"));
    assert_eq!(attribute(run, "colony.process_id"), attribute(alone, "colony.process_id"));

    // Several: the job is a trace of its own, linked both ways.
    let jobs = named(&spans, "submit job");
    let job = jobs.into_iter().find(|job| job.attributes.contains_key("messaging.batch.message_count")).unwrap();
    assert!(job.parent.is_empty());
    assert_eq!((attribute(job, "messaging.batch.message_count").as_str(), job.links.len()), ("5", 5));
    for number in 1..=5 {
        let id = format!("evt_{number}");
        let delivery = span(&spans, "POST /webhooks/stripe", &id);
        assert!(job.links.contains(&delivery.id) && job.trace != delivery.trace);
        assert_eq!(attribute(part(&spans, "settle", delivery), "gateway.outcome"), "ignored");
        let submitted = part(&spans, "submit", delivery);
        assert_eq!(submitted.links, std::slice::from_ref(&job.id));
        assert_eq!(attribute(submitted, "colony.process_id"), attribute(job, "colony.process_id"));
    }
    let run = part(&spans, "run job", job);
    assert_eq!(attribute(run, "gateway.outcome.ignored"), "5");
    part(&spans, "ledger write", run);
}

#[test]
fn without_a_collector_nothing_is_sent_and_nothing_stored() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start(Answer::Take));
    for options in [
        Options::new(directory.path()),
        traced(Options::new(directory.path()), &collector).with("OTEL_SDK_DISABLED", true),
        traced(Options::new(directory.path()), &collector).with("OTEL_TRACES_EXPORTER", "none"),
    ] {
        let mut gateway = options.serve();
        assert_eq!(gateway.post(&event(&format!("evt_{}", gateway.id()))).status, 200);
        assert!(stored_contexts(&gateway, directory.path()).iter().all(Option::is_none));
        assert!(gateway.request_lines(1)[0].get("trace_id").is_none());
        gateway.signal("TERM");
        assert_eq!(gateway.wait().code(), Some(0));
    }
    assert_eq!(collector.connections(), 0);
}

#[test]
fn what_the_sampler_leaves_out_is_not_sent_by_any_part() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start(Answer::Take));
    let options = traced(Options::new(directory.path()), &collector)
        .with("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        .with("OTEL_TRACES_SAMPLER_ARG", "0");
    let mut gateway = options.serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    let stored = stored_contexts(&gateway, directory.path());
    assert!(matches!(&*stored, [Some(context)] if context.ends_with("-00")), "{stored:?}");
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    assert_eq!(collector.connections(), 0);
}

#[test]
fn a_collector_that_is_gone_refuses_or_hangs_costs_spans_and_nothing_else() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let (refusing, failing) = (Collector::start(Answer::Status(400)), Collector::start(Answer::Status(503)));
    let hanging = Collector::start(Answer::Hang);
    for endpoint in [gone, refusing.endpoint(), failing.endpoint(), hanging.endpoint()] {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new(directory.path())
            .with("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
            .with("OTEL_EXPORTER_OTLP_TIMEOUT", 200);
        let mut gateway = options.serve();
        for number in 0..20 {
            assert_eq!(gateway.post(&event(&format!("evt_{number}"))).status, 200);
        }
        assert_eq!(gateway.until_idle()["inbox"]["settled"], 20, "{endpoint}");
        gateway.until(|_| gateway.metric("colony_gateway_trace_spans_total{result=\"not_exported\"}") > 0);
        assert_eq!(gateway.metric("colony_gateway_trace_spans_total{result=\"exported\"}"), 0);
        assert_eq!(gateway.admin_get("/readyz").status, 200);
        gateway.signal("TERM");
        assert_eq!(gateway.wait().code(), Some(0));
        let said = gateway.log().iter().filter(|line| line.contains("traces: spans are dropped")).count();
        assert_eq!(said, 1, "it is said once");
    }
}

#[test]
fn a_collector_that_hangs_does_not_hold_up_the_end_and_one_that_comes_back_gets_what_comes_then() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start(Answer::Hang));
    let options = traced(Options::new(directory.path()), &collector).with("OTEL_EXPORTER_OTLP_TIMEOUT", 60_000);
    let mut gateway = options.serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    gateway.until(|_| !collector.requests().is_empty());
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(gateway.log().iter().any(|line| line.contains("the collector was too slow")), "{:?}", gateway.log());

    collector.set(Answer::Status(503));
    let gateway = traced(Options::new(directory.path()), &collector).serve();
    assert_eq!(gateway.post(&event("evt_2")).status, 200);
    gateway.until(|_| gateway.metric("colony_gateway_trace_spans_total{result=\"not_exported\"}") > 0);
    collector.set(Answer::Take);
    assert_eq!(gateway.post(&event("evt_3")).status, 200);
    let spans = collector.until_spans("ledger write", 1);
    span(&spans, "POST /webhooks/stripe", "evt_3");
    gateway.until(|_| gateway.metric("colony_gateway_trace_spans_total{result=\"exported\"}") > 0);
}

#[test]
fn nothing_secret_or_personal_is_exported() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start(Answer::Take));
    let user = "7d0f0b5e-3c39-4c1b-9f0e-0b6f0f1f2a11";
    let body = format!(
        r#"{{"id":"evt_1","object":"event","type":"checkout.session.completed","livemode":false,"created":1700000000,
        "api_version":"2025-03-31.basil","data":{{"object":{{"id":"cs_{MARK}","object":"checkout.session",
        "mode":"subscription","payment_status":"paid","status":"complete","customer":"cus_{MARK}",
        "client_reference_id":"{user}","subscription":"sub_{MARK}","amount_total":4242,"currency":"eur",
        "customer_details":{{"email":"{MARK}@example.com","name":"{MARK}"}}}}}}}}"#
    );
    let options = traced(Options::new(directory.path()), &collector)
        .with("GATEWAY_ADMIN_TOKEN", format!("{MARK}-token-of-the-admin"))
        .with("STRIPE_SECRET_KEY", format!("sk_test_{MARK}"))
        .with("GATEWAY_STRIPE_API_URL", "http://127.0.0.1:9")
        .with("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer%20{MARK}-header,x-tenant=a"));
    let mut gateway = options.serve();
    let signature = signature(&body);
    let post = post("/webhooks/stripe", &[("stripe-signature", &signature)], body.as_bytes());
    assert_eq!(request(gateway.webhooks, &post).status, 200);
    collector.until_spans("ledger write", 1);
    gateway.signal("TERM");
    gateway.wait();
    let requests = collector.requests();
    let (head, _) = &requests[0];
    let bearer = format!("authorization: bearer {}-header", MARK.to_ascii_lowercase());
    assert!(head.contains(&bearer) && head.contains("x-tenant: a"), "the headers are sent: {head}");
    let signed = signature.rsplit('=').next().unwrap();
    for (_, body) in &requests {
        let text = String::from_utf8_lossy(body);
        for secret in [MARK, user, signed, crate::gateway::SECRET, "example.com", "4242"] {
            assert!(!text.contains(secret), "{secret} is exported: {text}");
        }
    }
    assert!(!gateway.log().join("\n").contains(MARK));
}

#[test]
fn settings_that_cannot_be_right_are_refused_before_anything_starts() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path())
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")
        .with("OTEL_TRACES_SAMPLER", "sometimes")
        .with("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let log = options.try_serve().err().unwrap().join("\n");
    assert!(log.contains("OTEL_TRACES_SAMPLER: must be always_on, always_off"), "{log}");
    assert!(log.contains("OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf"), "{log}");
}
