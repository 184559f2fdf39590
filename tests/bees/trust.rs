//! What bees refuse, and what they do for those whom they trust.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use colonies::messages::{FunctionSpec, Process, ProcessState};
use colony_gateway::domain::clock::Clock;
use colony_gateway::domain::ledger_id::LedgerId;
use colony_gateway::domain::outcome::OutcomeName;
use colony_gateway::job::FUNCTION;
use colony_gateway::job::attestation::{Claim, Signer};
use colony_gateway::job::completion::EventResult;
use colony_gateway::lifecycle::Ending;
use colony_gateway::telemetry::metrics::Metrics;
use colony_gateway::telemetry::trace::{self, FLUSH_MAX, Sampling, TraceSettings};
use serde_json::{Value, json};

use crate::collector::{Answer, Collector};
use crate::hive::{Bees, COLONY, Hive, key};

/// Submits a job that must be rejected, and checks that this shows.
async fn assert_rejected(hive: &Hive, bees: &Bees, spec: FunctionSpec, code: &str) -> Process {
    let line = format!("colony_gateway_jobs_rejected_total{{reason=\"{code}\"}}");
    let before = bees.metric(&line);
    let process = hive.gateway.submit(spec).await.unwrap();
    let ended = hive.ended(&process, ProcessState::Failed).await;
    assert!(ended.errors[0].starts_with(&format!("{code}: ")), "{:?}", ended.errors);
    assert_eq!(bees.metric(&line), before + 1);
    process
}

#[tokio::test]
async fn attested_jobs_are_done_and_told_of_with_a_result_for_each_event() {
    let hive = Hive::new().await;
    let mut bees = hive.bees(2).await;
    let one = hive.submit(&["a"]).await;
    let many = hive.submit(&["b", "c", "d"]).await;
    assert_eq!(hive.result(&one).await.counts.applied, 1);
    let result = hive.result(&many).await;
    let events: Vec<_> = result.events.iter().map(|event| (event.event.as_str(), event.outcome)).collect();
    let applied = OutcomeName::Applied;
    assert_eq!(events, [("evt_b", applied), ("evt_c", applied), ("evt_d", applied)]);
    let again = hive.submit(&["b"]).await;
    assert_eq!(hive.result(&again).await.counts.duplicate, 1);
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(crate::hive::patiently("the gateway is told", bees.told.recv()).await.unwrap().process);
    }
    assert!([one, many, again].iter().all(|process| told.contains(&process.id())));
    assert_eq!(bees.stop().await, Ending::Clean);
    hive.assert_applied_once(4).await;
}

#[tokio::test]
async fn forged_changed_and_replayed_attestations_are_rejected_counted_and_closed_as_failed() {
    let hive = Hive::new().await;
    let bees = hive.bees(2).await;
    let stranger = Signer::generate().unwrap();
    assert_rejected(&hive, &bees, hive.spec_by(&stranger, &["forged"]), "attestation_unknown_key").await;

    let mut posing = hive.spec_by(&stranger, &["posing"]);
    let text = posing.kwargs["attestation"].as_str().unwrap();
    let text = text.replace(stranger.public().kid(), hive.signer.public().kid());
    posing.kwargs.insert("attestation".to_owned(), json!(text));
    assert_rejected(&hive, &bees, posing, "attestation_signature").await;

    let mut changed = hive.spec(&["changed"]);
    changed.args = vec![json!(crate::hive::event("other"))];
    assert_rejected(&hive, &bees, changed, "attestation_signature").await;

    let genuine = hive.spec(&["genuine"]);
    let process = hive.gateway.submit(genuine.clone()).await.unwrap();
    assert_eq!(hive.result(&process).await.counts.applied, 1);
    assert_rejected(&hive, &bees, genuine, "attestation_replayed").await;
    bees.stop().await;
    hive.assert_applied_once(1).await;
}

#[tokio::test]
async fn a_replayed_job_is_refused_by_bees_that_never_saw_it_and_never_counts_as_closed() {
    const CLOSED: &str = "colony_gateway_bee_jobs_total{end=\"closed\"}";
    let hive = Hive::new().await;
    let bees = hive.bees(1).await;
    let genuine = hive.spec(&["genuine"]);
    hive.result(&hive.gateway.submit(genuine.clone()).await.unwrap()).await;
    bees.until(CLOSED, 1).await;
    bees.stop().await;

    // Other bees, without a memory of it: they go by who submitted it.
    let bees = hive.plan("later", 1).start();
    bees.until_registered(1).await;
    let mallory = key();
    hive.owner.add_user("mallory", mallory.id()).await.unwrap();
    let process = hive.client.member(COLONY, mallory).submit(genuine.clone()).await.unwrap();
    let ended = hive.ended(&process, ProcessState::Failed).await;
    assert!(ended.errors[0].starts_with("attestation_other_submitter: "), "{:?}", ended.errors);

    // Who has the gateway's own key in the colony is told apart by the ledger alone.
    let process = hive.gateway.submit(genuine).await.unwrap();
    assert_eq!(hive.result(&process).await.counts.duplicate, 1);
    bees.until("colony_gateway_bee_jobs_total{end=\"recognised\"}", 1).await;
    assert_eq!(bees.metric(CLOSED), 0);
    bees.stop().await;
    hive.assert_applied_once(1).await;
}

#[tokio::test]
async fn a_job_for_another_ledger_goes_back_and_its_bee_takes_no_more() {
    let mut hive = Hive::new().await;
    let ours = std::mem::replace(&mut hive.ledger_id, LedgerId::draw().unwrap());
    let theirs = hive.spec(&["theirs"]);
    hive.ledger_id = ours;
    let bees = hive.bees(1).await;
    assert_rejected(&hive, &bees, theirs, "other_ledger").await;
    bees.until_health_says("for another ledger").await;
    let waits = hive.submit(&["ours"]).await;
    assert_eq!(
        hive.now(&waits).await.state,
        ProcessState::Waiting,
        "a bee with the wrong database leaves jobs to others"
    );
    let others = hive.plan("others", 1).start();
    assert_eq!(hive.result(&waits).await.counts.applied, 1);
    others.stop().await;
    bees.stop().await;
    hive.assert_applied_once(1).await;
}

#[tokio::test]
async fn bees_notice_that_their_database_was_made_anew_and_do_the_jobs_for_the_new_one() {
    let mut hive = Hive::new().await;
    let bees = hive.bees(1).await;
    let first = hive.submit(&["first"]).await;
    assert_eq!(hive.result(&first).await.counts.applied, 1);
    hive.ledger_id = LedgerId::draw().unwrap();
    hive.ledger.replace(hive.ledger_id.clone());
    let second = hive.submit(&["second"]).await;
    assert_eq!(hive.result(&second).await.counts.applied, 1);
    bees.stop().await;
    hive.assert_applied_once(2).await;
}

#[tokio::test]
async fn a_job_for_the_ledger_that_was_replaced_behind_its_address_is_not_applied_to_the_new_one() {
    let mut hive = Hive::new().await;
    let bees = hive.bees(1).await;
    let first = hive.submit(&["first"]).await;
    assert_eq!(hive.result(&first).await.counts.applied, 1);
    // The bee was told no more than that, and another gateway still works with the old one.
    let old = std::mem::replace(&mut hive.ledger_id, LedgerId::draw().unwrap());
    hive.ledger.replace(hive.ledger_id.clone());
    let anew = std::mem::replace(&mut hive.ledger_id, old);
    let (late, later) = (hive.spec(&["late"]), hive.spec(&["later"]));
    hive.ledger_id = anew;
    assert_rejected(&hive, &bees, late, "other_ledger").await;
    let next = hive.submit(&["next"]).await;
    assert_eq!(hive.result(&next).await.counts.applied, 1, "a gateway that has noticed is worked for at once");
    assert_rejected(&hive, &bees, later, "other_ledger").await;
    bees.until_health_says("for another ledger").await;
    bees.stop().await;
    hive.assert_applied_once(2).await;
}

#[tokio::test]
async fn bees_whose_ledger_is_not_that_of_the_jobs_that_wait_know_it_before_they_take_one() {
    let mut hive = Hive::new().await;
    // Known to the colony from an earlier start.
    hive.bees(1).await.stop().await;
    assert_eq!(hive.plan("hive", 1).pool().wrong_ledger().await, None, "nothing waits");
    let ours = std::mem::replace(&mut hive.ledger_id, LedgerId::draw().unwrap());
    hive.submit(&["theirs"]).await;
    assert_eq!(hive.plan("hive", 1).pool().wrong_ledger().await, Some(ours.clone()));
    hive.ledger_id = ours;
    hive.submit(&["ours"]).await;
    assert_eq!(hive.plan("hive", 1).pool().wrong_ledger().await, None, "one of the jobs is for them");
}

#[tokio::test]
async fn a_job_that_another_member_submits_without_attestation_is_rejected() {
    let hive = Hive::new().await;
    let bees = hive.bees(1).await;
    let mallory = key();
    hive.owner.add_user("mallory", mallory.id()).await.unwrap();
    let mut spec = hive.spec(&["gift"]);
    spec.kwargs.clear();
    let process = hive.client.member(COLONY, mallory).submit(spec).await.unwrap();
    let ended = hive.ended(&process, ProcessState::Failed).await;
    assert!(ended.errors[0].starts_with("not_attested: "), "{:?}", ended.errors);
    assert_eq!(bees.metric("colony_gateway_jobs_rejected_total{reason=\"not_attested\"}"), 1);
    bees.until("colony_gateway_bee_jobs_total{end=\"rejected\"}", 1).await;
    bees.stop().await;
    hive.assert_applied_once(0).await;
}

#[tokio::test]
async fn a_decompression_bomb_is_rejected_even_from_a_trusted_gateway_and_the_bee_works_on() {
    let hive = Hive::new().await;
    let bees = hive.bees(1).await;
    let bomb = zstd::bulk::compress(&vec![b' '; 64 * 1024 * 1024], 3).unwrap();
    let text = STANDARD.encode(bomb);
    assert!(text.len() < 100_000);
    let claim = Claim {
        colony: COLONY,
        ledger: hive.ledger_id.as_str(),
        submitter: hive.gateway.id().as_str(),
        function: FUNCTION,
        encoding: "zstd+json",
        args: &[&text],
    };
    let attestation = hive.signer.attest(claim, Clock::system().now()).unwrap().to_text().unwrap();
    let mut spec = hive.spec(&["a", "b"]);
    spec.args = vec![Value::from(text)];
    spec.kwargs.insert("attestation".to_owned(), Value::from(attestation));
    assert_rejected(&hive, &bees, spec, "batch").await;
    let process = hive.submit(&["after"]).await;
    assert_eq!(hive.result(&process).await.counts.applied, 1);
    bees.stop().await;
    hive.assert_applied_once(1).await;
}

#[tokio::test]
async fn other_functions_are_rejected_and_the_summary_is_answered_where_it_is_offered() {
    let hive = Hive::new().await;
    let ask = |function: &str| FunctionSpec {
        funcname: function.to_owned(),
        args: Vec::new(),
        kwargs: std::collections::BTreeMap::new(),
        ..hive.spec(&["x"])
    };
    let bees = hive.bees(1).await;
    assert_rejected(&hive, &bees, ask("revenue_summary"), "other_function").await;
    bees.stop().await;

    let mut plan = hive.plan("hive", 1);
    plan.offers_summary = true;
    let bees = plan.start();
    hive.result(&hive.submit(&["a"]).await).await;
    let process = hive.gateway.submit(ask("revenue_summary")).await.unwrap();
    let answer = hive.ended(&process, ProcessState::Success).await.out;
    assert_eq!(answer[0]["counts"]["events"], 1);
    assert_eq!(answer[0]["daily"][0]["gross_minor"], crate::hive::AMOUNT);
    bees.stop().await;
    hive.assert_applied_once(1).await;
}

#[tokio::test]
async fn an_event_that_is_none_fails_alone_and_one_that_the_guardian_blocks_is_held_back() {
    let hive = Hive::new().await;
    let bees = hive.bees(1).await;
    let blocked = crate::hive::event("blocked").replace("\"currency\":\"eur\"", "\"currency\":\"$\"");
    let events = [crate::hive::event("good"), "{\"id\":\"evt_none\"}".to_owned(), blocked];
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let terms = colony_gateway::job::Terms::new(COLONY, crate::hive::KIND);
    let spec = hive.sealed(&hive.signer, &terms, &events);
    let process = hive.gateway.submit(spec).await.unwrap();
    let result = hive.result(&process).await;
    let outcomes: Vec<_> = result.events.iter().map(|event| (event.event.as_str(), event.outcome)).collect();
    let expected = [
        ("evt_good", OutcomeName::Applied),
        ("evt_none", OutcomeName::Failed),
        ("evt_blocked", OutcomeName::Quarantined),
    ];
    assert_eq!(outcomes, expected);
    let is_told = |event: &EventResult| event.code.is_some() && event.reason.is_none();
    assert!(result.events[1..].iter().all(is_told), "a reason may quote the event, and the server keeps it for ever");
    bees.stop().await;
    assert_eq!(Arc::strong_count(&hive.ledger), 1, "stopped bees hold nothing");
}

#[tokio::test]
async fn nobody_vouches_for_a_position_in_a_trace_so_it_is_followed_or_left_and_fails_no_job() {
    let (hive, collector) = (Hive::new().await, Collector::start(Answer::Take));
    let settings = TraceSettings {
        url: format!("{}/v1/traces", collector.endpoint()).parse().unwrap(),
        headers: None,
        timeout: FLUSH_MAX,
        service: None,
        resource: Vec::new(),
        sampling: Sampling::named("parentbased_always_on", 1.0).unwrap(),
    };
    let (tracer, exporting) = trace::start(&settings, "bees", Metrics::new()).unwrap();
    let mut plan = hive.plan("hive", 1);
    plan.tracer = tracer;
    let bees = plan.start();
    bees.until_registered(1).await;
    let good = "00-11111111111111111111111111111111-2222222222222222-01";
    let values = [json!(good), json!("00-zz"), json!(good.repeat(10_000)), json!(7), json!({"a": [good]}), Value::Null];
    let mut processes = Vec::new();
    for (number, value) in values.into_iter().enumerate() {
        let mut spec = hive.spec(&[&format!("{number}")]);
        spec.kwargs.insert("traceparent".to_owned(), value);
        let process = hive.gateway.submit(spec).await.unwrap();
        assert_eq!(hive.result(&process).await.counts.applied, 1);
        processes.push(process.id().to_string());
    }
    let mut forged = hive.spec_by(&Signer::generate().unwrap(), &["forged"]);
    forged.kwargs.insert("traceparent".to_owned(), json!(good));
    assert_rejected(&hive, &bees, forged, "attestation_unknown_key").await;
    bees.stop().await;
    exporting.finish(FLUSH_MAX).await;

    let spans = collector.until_spans("run job", processes.len());
    let jobs: Vec<_> = spans.iter().filter(|span| span.name == "run job").collect();
    assert!(jobs.iter().map(|job| &job.attributes["colony.process_id"]).eq(&processes), "a forged job has no span");
    assert_eq!((&jobs[0].trace, &jobs[0].parent), (&vec![0x11; 16], &vec![0x22; 8]));
    assert!(jobs[1..].iter().all(|job| job.parent.is_empty() && job.trace != jobs[0].trace));
    hive.assert_applied_once(processes.len()).await;
}
