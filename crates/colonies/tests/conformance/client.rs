//! The client against servers that are slow, wrong, full, gone or cut off: what it reports, and what it never does twice.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use colonies::ProcessId;
use colonies::client::{
    Assignment, Client, ClientError, Disposition, Member, Roots, Search, ServerUrl, Settings, SetupError,
};
use colonies::identity::PrivateKey;
use colonies::messages::{
    AssignProcess, CloseSuccessful, Empty, FunctionSpec, GetProcess, GetProcesses, GetVersion, List, Process,
    SubmitFunctionSpec, Version,
};

use crate::scripted::{Act, Scripted, authority};

/// Long enough for loopback on a busy machine.
const AMPLE: Duration = Duration::from_secs(20);

fn settings(servers: &[ServerUrl]) -> Settings {
    Settings { call_timeout: AMPLE, poll_margin: AMPLE, ..Settings::new(servers.to_vec()) }
}

/// Settings that give up a silent server soon but still hear one that answers on a busy machine.
fn impatient(servers: &[ServerUrl]) -> Settings {
    let connect_timeout = Duration::from_secs(1);
    let call_timeout = Duration::from_secs(2);
    Settings { call_timeout, connect_timeout, poll_margin: call_timeout, ..Settings::new(servers.to_vec()) }
}

fn member_with(settings: &Settings) -> Member {
    let key = PrivateKey::from_hex(&"11".repeat(32)).expect("the key is in range");
    Client::new(settings).expect("the settings are sound").member("rec", Arc::new(key))
}

fn member(servers: &[ServerUrl]) -> Member {
    member_with(&settings(servers))
}

fn process(id: &str) -> Process {
    Process { processid: id.to_owned(), ..Process::default() }
}

fn id() -> ProcessId {
    ProcessId::new("p1")
}

#[tokio::test]
async fn a_call_posts_a_signed_envelope_and_reads_the_reply() {
    let server = Scripted::start([Act::done::<SubmitFunctionSpec>(&process("p1"))]);
    let member = member(&[server.url()]);
    let spec = FunctionSpec { funcname: "validate_revenue".to_owned(), ..FunctionSpec::default() };
    assert_eq!(member.submit(spec.clone()).await.unwrap().id(), id());
    assert_eq!(server.last_line(), "POST /api HTTP/1.1");
    let envelope = server.last_envelope();
    assert_eq!(envelope.signer().unwrap(), *member.id());
    assert_eq!(envelope.open::<SubmitFunctionSpec>().unwrap().spec, spec);
}

#[tokio::test]
async fn calls_in_a_row_share_a_connection() {
    let server = Scripted::start(vec![Act::done::<CloseSuccessful>(&Empty); 5]);
    let member = member(&[server.url()]);
    for _ in 0..5 {
        member.close_successful(&id(), vec![]).await.unwrap();
    }
    assert_eq!((server.requests(), server.connections()), (5, 1));
}

#[tokio::test]
async fn an_empty_poll_and_a_pause_are_no_errors_and_no_assignment() {
    let server = Scripted::start([
        Act::refused(404, "No process available for assignment"),
        Act::refused(408, "Assignment timeout: colony assignments are paused"),
        Act::done::<AssignProcess>(&process("p1")),
    ]);
    let member = member(&[server.url()]);
    assert_eq!(member.assign(Duration::from_millis(1)).await.unwrap(), Assignment::Nothing);
    assert_eq!(server.last_envelope().open::<AssignProcess>().unwrap().timeout, 1, "zero would be refused");
    assert_eq!(member.assign(Duration::from_secs(10)).await.unwrap(), Assignment::Paused);
    assert_eq!(server.last_envelope().open::<AssignProcess>().unwrap().timeout, 10);
    let assignment = member.assign(Duration::MAX).await.unwrap();
    assert_eq!(server.last_envelope().open::<AssignProcess>().unwrap().timeout, 60, "the longest wait is bounded");
    assert_eq!(assignment, Assignment::Process(Box::new(process("p1"))));
}

#[tokio::test]
async fn a_404_is_an_empty_poll_for_an_assignment_alone() {
    let server = Scripted::start([
        Act::refused(404, "Failed to get process, process not found"),
        Act::Answer(404, b"404 page not found".to_vec()),
        Act::Answer(404, b"404 page not found".to_vec()),
    ]);
    let member = member(&[server.url()]);
    assert_eq!(member.process(&id()).await.unwrap_err().code(), "unknown_process");
    assert_eq!(member.process(&id()).await.unwrap_err().code(), "malformed");
    assert_eq!(member.assign(Duration::from_secs(1)).await.unwrap_err().code(), "malformed", "another server's 404");
}

#[tokio::test]
async fn a_stranger_a_lost_lease_and_an_existing_name_are_told_apart() {
    let server = Scripted::start([
        Act::refused(403, "Access denied, not a member of Colony with name <rec>"),
        Act::refused(403, "Failed to close process as successful, process is not assigned"),
        Act::refused(400, "Executor with name <bee-1> in Colony <rec> already exists"),
    ]);
    let member = member(&[server.url()]);
    let stranger = member.assign(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(stranger.disposition(), Disposition::GiveUp { code: "not_a_member" });
    let lost = member.close_successful(&id(), vec![]).await.unwrap_err();
    assert_eq!(lost.disposition(), Disposition::GiveUp { code: "lease_lost" });
    let key = Arc::new(PrivateKey::generate().unwrap());
    let owner = Client::new(&settings(&[server.url()])).unwrap().owner("rec", Arc::clone(&key));
    let exists = owner.add_executor("bee-1", "finance-worker", key.id()).await.unwrap_err();
    assert_eq!(exists.code(), "already_exists");
}

#[tokio::test]
async fn a_list_that_go_writes_as_null_is_empty() {
    let null = br#"{"payloadtype":"getprocessesmsg","payload":"bnVsbA==","error":false}"#.to_vec();
    let server = Scripted::start([Act::Answer(200, null), Act::done::<GetProcesses>(&List(vec![process("p1")]))]);
    let member = member(&[server.url()]);
    let search = Search { count: 1000, ..Search::default() };
    assert_eq!(member.processes(&search).await.unwrap(), []);
    assert_eq!(member.processes(&search).await.unwrap(), [process("p1")]);
    assert_eq!(server.last_envelope().open::<GetProcesses>().unwrap().count, 100, "more would be refused");
}

#[tokio::test]
async fn a_process_without_an_id_is_no_process() {
    let server = Scripted::start([Act::done::<SubmitFunctionSpec>(&process(""))]);
    let error = member(&[server.url()]).submit(FunctionSpec::default()).await.unwrap_err();
    assert_eq!(error.code(), "malformed");
    assert!(error.may_have_acted());
}

#[tokio::test]
async fn an_id_that_could_not_be_kept_or_shown_is_no_id() {
    for id in ["x".repeat(1 << 20), "a\u{0}b".to_owned(), "a b".to_owned(), "a\nb".to_owned(), "\u{e9}".to_owned()] {
        let server = Scripted::start([
            Act::done::<SubmitFunctionSpec>(&process(&id)),
            Act::done::<AssignProcess>(&process(&id)),
            Act::done::<GetProcesses>(&List(vec![process("p1"), process(&id)])),
        ]);
        let member = member(&[server.url()]);
        assert_eq!(member.submit(FunctionSpec::default()).await.map(drop).unwrap_err().code(), "malformed");
        assert_eq!(member.assign(Duration::from_secs(1)).await.map(drop).unwrap_err().code(), "malformed");
        assert_eq!(member.processes(&Search::default()).await.map(drop).unwrap_err().code(), "malformed");
    }
}

#[tokio::test]
async fn the_answer_about_another_process_is_no_answer() {
    let server = Scripted::start([Act::done::<GetProcess>(&process("p2")), Act::done::<GetProcess>(&process("p1"))]);
    let member = member(&[server.url()]);
    assert_eq!(member.process(&id()).await.map(drop).unwrap_err().code(), "malformed");
    assert_eq!(member.process(&id()).await.unwrap().id(), id());
}

#[tokio::test]
async fn a_silent_server_is_given_up_at_the_deadline_and_may_have_acted() {
    let server = Scripted::start([Act::Silence, Act::Silence]);
    let member = member_with(&impatient(&[server.url()]));
    let error = member.submit(FunctionSpec::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
    assert!(error.may_have_acted());
    assert!(matches!(error.disposition(), Disposition::Retry { .. }));
    let error = member.assign(Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { deadline, .. } if deadline == Duration::from_secs(3)), "{error:?}");
}

#[tokio::test]
async fn a_poll_outlives_the_deadline_of_other_calls() {
    let barrier = Arc::new(Barrier::new(2));
    let polled = Scripted::start([Act::refused(404, "No process available for assignment").after(&barrier)]);
    let silent = Scripted::start([Act::Silence]);
    let polling = member_with(&Settings { poll_margin: AMPLE, ..impatient(&[polled.url()]) });
    let waiting = member_with(&impatient(&[silent.url()]));
    let (assignment, ()) = tokio::join!(polling.assign(Duration::from_secs(1)), async {
        assert_eq!(waiting.statistics().await.unwrap_err().code(), "timed_out");
        // A call that began at the same time is over. Only now does the poll get its answer.
        tokio::task::spawn_blocking(move || barrier.wait()).await.unwrap();
    });
    assert_eq!(assignment.unwrap(), Assignment::Nothing);
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_is_ambiguous_and_nothing_is_sent_twice() {
    let (first, second) = (Scripted::start([Act::Hang, Act::CutShort]), Scripted::start([Act::Hang]));
    for server in [&first, &second, &first] {
        let member = member(&[server.url(), Scripted::nowhere()]);
        let error = member.submit(FunctionSpec::default()).await.unwrap_err();
        assert!(matches!(error, ClientError::Broken { .. }), "{error:?}");
        assert!(error.may_have_acted());
    }
    assert_eq!((first.requests(), second.requests()), (2, 1));
}

#[tokio::test]
async fn an_unreachable_server_was_sent_nothing() {
    let error = member(&[Scripted::nowhere()]).submit(FunctionSpec::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert!(!error.may_have_acted());
    assert!(matches!(error.disposition(), Disposition::Retry { .. }));
}

#[tokio::test]
async fn garbage_is_malformed_and_may_have_acted() {
    for body in [&b""[..], b"<html>", b"{}", b"null", b"\xff\xfe", br#"{"payloadtype":"versionmsg","payload":"e30="}"#]
    {
        let server = Scripted::start([Act::Answer(200, body.to_vec())]);
        let error = member(&[server.url()]).submit(FunctionSpec::default()).await.unwrap_err();
        assert!(matches!(error, ClientError::Malformed { status: 200, .. }), "{error:?}");
        assert!(error.may_have_acted());
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Scripted::start([Act::Answer(307, vec![])]);
    let error = member(&[server.url()]).submit(FunctionSpec::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Malformed { status: 307, .. }), "{error:?}");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_reply_beyond_the_bound_is_refused_whether_announced_or_not() {
    let reply = Act::done::<GetProcess>(&process("p1"));
    let Act::Answer(_, body) = &reply else { panic!("an answer has a body") };
    let server = Scripted::start([reply.clone(), reply.clone(), Act::Flood]);
    let fits = Settings { reply_bytes_max: body.len(), ..settings(&[server.url()]) };
    let short = Settings { reply_bytes_max: body.len() - 1, ..fits.clone() };
    assert_eq!(member_with(&fits).process(&id()).await.unwrap().id(), id());
    for _ in 0..2 {
        let error = member_with(&short).process(&id()).await.unwrap_err();
        assert!(matches!(error, ClientError::Oversized { limit, .. } if limit == body.len() - 1), "{error:?}");
    }
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn the_next_server_gets_the_call_that_reached_none_and_is_kept() {
    let version = Version { buildversion: "1".to_owned(), ..Version::default() };
    let server = Scripted::start(vec![Act::done::<GetVersion>(&version); 3]);
    let servers = [Scripted::nowhere(), Scripted::nowhere(), server.url()];
    let client = Client::new(&settings(&servers)).unwrap();
    for _ in 0..3 {
        assert_eq!(client.version().await.unwrap(), version);
    }
    assert_eq!((server.requests(), server.connections()), (3, 1));
}

#[tokio::test]
async fn a_server_whose_connection_broke_is_asked_last_the_next_time() {
    let done = Act::done::<CloseSuccessful>(&Empty);
    let (first, second) = (Scripted::start([Act::Hang, done.clone()]), Scripted::start([Act::Hang]));
    let member = member(&[first.url(), second.url()]);
    assert_eq!(member.close_successful(&id(), vec![]).await.unwrap_err().code(), "broken");
    assert_eq!(member.close_successful(&id(), vec![]).await.unwrap_err().code(), "broken");
    member.close_successful(&id(), vec![]).await.unwrap();
    assert_eq!((first.requests(), second.requests()), (2, 1));
}

#[tokio::test]
async fn an_overloaded_or_failing_server_is_left_for_the_next_call_but_the_call_is_not_repeated() {
    for (act, code) in [
        (Act::Answer(503, b"no upstream".to_vec()), "overloaded"),
        (Act::Answer(502, b"<html>".to_vec()), "overloaded"),
        (Act::refused(500, "etcd leader lost"), "server_fault"),
        (Act::refused(400, "dial tcp 127.0.0.1:5432: connect: connection refused"), "unexpected"),
    ] {
        let (first, second) = (Scripted::start([act]), Scripted::start([Act::done::<CloseSuccessful>(&Empty)]));
        let member = member(&[first.url(), second.url()]);
        let error = member.close_successful(&id(), vec![]).await.unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.may_have_acted());
        assert_eq!(second.requests(), 0);
        member.close_successful(&id(), vec![]).await.unwrap();
        assert_eq!((first.requests(), second.requests()), (1, 1));
    }
}

#[tokio::test]
async fn a_refusal_does_not_move_the_client_to_another_server() {
    let refused = Act::refused(403, "Access denied, not a member of Colony with name <rec>");
    let (first, second) = (Scripted::start(vec![refused; 2]), Scripted::start([]));
    let member = member(&[first.url(), second.url()]);
    for _ in 0..2 {
        assert_eq!(member.statistics().await.unwrap_err().code(), "not_a_member");
    }
    assert_eq!((first.requests(), second.requests()), (2, 0));
}

#[tokio::test]
async fn health_is_asked_without_a_key() {
    let server = Scripted::start([Act::Answer(200, vec![]), Act::Answer(500, vec![])]);
    let client = Client::new(&settings(&[server.url()])).unwrap();
    client.health().await.unwrap();
    assert_eq!(server.last_line(), "GET /health HTTP/1.1");
    assert_eq!(client.health().await.unwrap_err().code(), "server_fault");
}

#[tokio::test]
async fn tls_is_spoken_with_an_authority_that_is_named_and_refused_before_anything_is_sent_without_it() {
    let server = Scripted::start_tls([Act::done::<GetVersion>(&Version::default())]);
    let authority = authority();
    let trusting = Settings { roots: Roots::File(authority.clone()), ..settings(&[server.url()]) };
    Client::new(&trusting).unwrap().version().await.unwrap();

    let leaf = Roots::File(authority.with_file_name("localhost.pem"));
    let distrusting = Settings { roots: leaf, ..settings(&[server.url()]) };
    let error = member_with(&distrusting).submit(FunctionSpec::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends_counts_as_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let server = ServerUrl::parse_list(&address, None, None).unwrap();
    let authority = authority();
    let settings = Settings { roots: Roots::File(authority), ..impatient(&server) };
    let error = member_with(&settings).submit(FunctionSpec::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
}

#[test]
fn settings_that_leave_no_bound_are_refused() {
    let server = Scripted::nowhere();
    let sound = Settings::new(vec![server.clone()]);
    let refused = |settings: Settings| Client::new(&settings).unwrap_err();
    assert!(matches!(refused(Settings { servers: vec![], ..sound.clone() }), SetupError::Servers { count: 0 }));
    assert!(matches!(refused(Settings::new(vec![server; 17])), SetupError::Servers { count: 17 }));
    let slow = Settings { connect_timeout: sound.call_timeout, ..sound.clone() };
    assert!(matches!(refused(slow), SetupError::Timeouts { .. }));
    let tight = Settings { poll_margin: sound.connect_timeout, ..sound.clone() };
    assert!(matches!(refused(tight), SetupError::Margin { .. }));
    for reply_bytes_max in [0, usize::MAX] {
        let unbounded = Settings { reply_bytes_max, ..sound.clone() };
        assert!(matches!(refused(unbounded), SetupError::ReplyBytes { .. }));
    }
    assert!(Client::new(&sound).is_ok());
}
