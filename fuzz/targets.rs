//! What is fuzzed: functions from bytes to nothing that panic when something is wrong with this crate.
//!
//! Used by the coverage-guided fuzzer (`fuzz/fuzz_targets`) and, over the seeds and mutations of them, by an ordinary
//! test (`tests/fuzzing`). The seeds are made from the fixtures of the tests.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use colonies::messages::{
    AssignProcess, FunctionSpec, GetColonyStatistics, GetExecutors, GetProcess, GetProcesses, Message, Process,
    ReplyEnvelope, RequestEnvelope, SubmitFunctionSpec,
};
use colony_gateway::config::{Config, Sources};
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::domain::ledger_id::LedgerId;
use colony_gateway::domain::secret::Secret;
use colony_gateway::job;
use colony_gateway::job::Reader;
use colony_gateway::job::attestation::{Claim, Signer, Trust, Verifier};
use colony_gateway::job::completion::{self, JobResult};
use colony_gateway::job::keys::opening::Openers;
use colony_gateway::revenue::guardian::Guardian;
use colony_gateway::revenue::project::Settings;
use colony_gateway::revenue::validator::{PROJECTION_FAILED, Validator};
use colony_gateway::revenue::verdict::Verdict;
use colony_gateway::stripe::envelope::Envelope;
use colony_gateway::stripe::event::Event;
use colony_gateway::stripe::signature::{SigningSecret, check_header};
use colony_gateway::stripe::simulator::sign;
use serde_json::{Value, json};

/// A target: its name, the function, its seeds.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// Every target.
pub const TARGETS: [Target; 5] = [
    ("signature", signature, signature_seeds),
    ("event", event, event_seeds),
    ("reply", reply, reply_seeds),
    ("job", job, job_seeds),
    ("config", config, config_seeds),
];

const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);
const TOLERANCE: Duration = Duration::from_mins(5);
const SECRET: &str = "whsec_of_the_fuzzer_8c1fd2";

/// Stands in a header for the true signature, so that the fuzzer can get past it.
const TRUE_SIGNATURE: &str = "$";

/// A header up to the first line break, then a body: only what carries the true signature, signed within the tolerance,
/// is taken.
pub fn signature(data: &[u8]) {
    let (header, body) = match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[][..]),
    };
    let truth = sign(SECRET, NOW, body);
    let mac = truth.rsplit('=').next().expect("a signature").to_owned();
    let text = String::from_utf8_lossy(header).replace(TRUE_SIGNATURE, &mac);
    let header = if std::str::from_utf8(header).is_ok() { text.as_bytes() } else { header };
    let (secret, _) = SigningSecret::parse(SECRET).expect("a good secret");
    let Ok(checked) = check_header([header]) else { return };
    if let Ok(delivery) = checked.verify(Bytes::copy_from_slice(body), &[secret], NOW, TOLERANCE) {
        assert_eq!(delivery.body().as_ref(), body);
        // One second beside it would be another signature: hex digits may be of either case.
        assert!(text.to_ascii_lowercase().contains(&mac), "taken without the true signature");
        assert!(text.contains(&NOW.seconds().to_string()), "taken at another time than the signed one");
    }
}

fn signature_seeds() -> Vec<Vec<u8>> {
    let seconds = NOW.seconds();
    let other = "5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd";
    [
        format!("t={seconds},v1=$\n{{}}"),
        format!("t={seconds},v1={other},v1=$,v0={other}\n{{\"id\":\"evt_1\"}}"),
        format!("t={},v1={other}\n{{}}", seconds - 1000),
        format!(" t = {seconds} , v1 = $ \n"),
        "v1=$\n{}".to_owned(),
        format!("t={seconds},t={seconds},v1=$\n{{}}"),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// An event as it came in: the door reads its envelope, the pipeline gives a verdict on it that can be stored.
pub fn event(data: &[u8]) {
    thread_local! {
        static PIPELINE: OnceCell<(tokio::runtime::Runtime, Validator)> = const { OnceCell::new() };
    }
    let _ = Envelope::read(data);
    let _ = Event::parse(data);
    PIPELINE.with(|pipeline| {
        let (runtime, validator) = pipeline.get_or_init(|| {
            let clock = Clock::manual(NOW);
            let validator = Validator::new(Settings::default(), Arc::new(Guardian::default()), clock);
            (tokio::runtime::Builder::new_current_thread().build().expect("a runtime"), validator)
        });
        let verdicts = runtime.block_on(validator.validate(&[Bytes::copy_from_slice(data)]));
        let [verdict] = verdicts.as_slice() else { panic!("{} verdicts for one event", verdicts.len()) };
        let text = serde_json::to_string(verdict).expect("a verdict is JSON");
        assert!(!text.contains("\\u0000"), "no store takes a NUL: {text}");
        if let Verdict::Quarantine { rule, .. } = verdict {
            assert!(rule != PROJECTION_FAILED, "the projection panicked");
        }
    });
}

/// Lines of the fixtures, one of each type of event in the first and the last API version.
fn event_seeds() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = [directory.join("tests/fixtures/stripe"), directory.join("../tests/fixtures/stripe")];
    let directory = directory.iter().find(|directory| directory.is_dir()).expect("the fixtures");
    let mut seeds: BTreeMap<(String, &str), Vec<u8>> = BTreeMap::new();
    for version in ["2020-08-27", "2026-03-25.dahlia"] {
        let lines = std::fs::read_to_string(directory.join(format!("{version}.jsonl"))).expect("a fixture");
        for line in lines.lines() {
            let event: Value = serde_json::from_str(line).expect("a fixture is JSON");
            let kind = event["type"].as_str().expect("an event has a type").to_owned();
            seeds.entry((kind, version)).or_insert_with(|| line.as_bytes().to_vec());
        }
    }
    seeds.into_values().collect()
}

/// What a Colonies server answers, or somebody in its place.
pub fn reply(data: &[u8]) {
    if let Ok(envelope) = serde_json::from_slice::<ReplyEnvelope>(data) {
        open_all(&envelope);
    }
    // And with the envelope around it, which base64 would keep the fuzzer from finding.
    for payloadtype in ["assignprocessmsg", "getprocessmsg", "getprocessesmsg", "getcolonystatsmsg", "getexecutorsmsg"]
    {
        for error in [false, true] {
            let payload = STANDARD.encode(data);
            open_all(&ReplyEnvelope { payloadtype: payloadtype.to_owned(), payload, error });
        }
    }
    let request = RequestEnvelope { payload: STANDARD.encode(data), ..RequestEnvelope::default() };
    let _ = request.open::<SubmitFunctionSpec>();
    let _ = serde_json::from_slice::<RequestEnvelope>(data).map(|request| request.signer());
}

fn open_all(envelope: &ReplyEnvelope) {
    fn open<M: Message>(envelope: &ReplyEnvelope) -> Option<M::Reply> {
        envelope.open::<M>().ok()?.ok()
    }
    for process in [open::<AssignProcess>(envelope), open::<GetProcess>(envelope)].into_iter().flatten() {
        let _ = JobResult::from_output(&process.out);
        let _ = completion::read_failure(&process.errors);
        let _ = (process.lease(), process.lease_end(), process.id());
    }
    drop(open::<GetProcesses>(envelope));
    let _ = open::<GetColonyStatistics>(envelope);
    drop(open::<GetExecutors>(envelope));
}

fn reply_seeds() -> Vec<Vec<u8>> {
    let outcome = json!({"events": [{"event": "evt_1", "outcome": "applied"}, {"event": "evt_2", "outcome": "failed",
        "code": "rule", "reason": "why"}], "applied": 1, "failed": 1});
    let process = json!({"processid": "p", "initiatorid": "i", "assignedexecutorid": "e", "isassigned": true, "state": 2,
        "submissiontime": "2026-01-01T00:00:00.123456789Z", "starttime": "2026-01-01T00:00:01+01:00",
        "endtime": "0001-01-01T00:00:00Z", "retries": 1, "attributes": [], "errors": ["code: reason"],
        "in": [], "out": [outcome], "spec": {"nodename": "n", "funcname": "validate_revenue", "args": ["{}"],
        "kwargs": {"attestation": {}}, "priority": 5, "maxwaittime": -1, "maxexectime": 30, "maxretries": 3,
        "conditions": {"colonyname": "rec", "executornames": null, "executortype": "t"}, "label": "stripe"}});
    let statistics = json!({"colonies": 1, "executors": 2, "waitingprocesses": 3, "successfulprocesses": 4});
    let executors = json!([{"executorid": "e", "executortype": "t", "executorname": "n", "colonyname": "rec",
        "state": 1, "commissiontime": "2026-01-01T00:00:00Z", "lastheardfromtime": "2026-01-01T00:00:00Z"}]);
    let refusal = json!({"message": "Process not found", "status": 404});
    let sealed = json!({"payloadtype": "error", "payload": STANDARD.encode(refusal.to_string()), "error": true});
    [process.clone(), json!([process]), statistics, executors, refusal, sealed]
        .map(|seed| seed.to_string().into_bytes())
        .to_vec()
}

/// A job from the colony. The first byte says whether it is opened as it is, which nobody attested, or what a trusted
/// gateway attested it around the bytes: plain, or as a compressed batch, in base64 or still to be put into it.
pub fn job(data: &[u8]) {
    thread_local! {
        static TRUST: OnceCell<(Signer, Verifier)> = const { OnceCell::new() };
    }
    let Some((&way, data)) = data.split_first() else { return };
    TRUST.with(|trust| {
        let (signer, verifier) = trust.get_or_init(|| {
            let signer = Signer::parse(&Secret::new("07".repeat(32))).expect("a seed");
            let verifier = Verifier::new(Trust::new(vec![signer.public().clone()])).expect("one key");
            (signer, verifier)
        });
        let (ledger, openers) = (ledger(), Openers::given(&Secret::new("")).expect("no key"));
        let opened = if way % 4 == 0 {
            let Ok(process) = serde_json::from_slice::<Process>(data) else { return };
            let opened =
                job::open(&process, &reader(verifier, &ledger, &openers), NOW).map(|opened| opened.events.len());
            assert!(opened.is_err(), "a job that nobody attested was opened");
            opened
        } else {
            let text = if way % 4 == 3 { STANDARD.encode(data) } else { String::from_utf8_lossy(data).into_owned() };
            let encoding = if way % 4 == 1 { "" } else { "zstd+json" };
            job::open(&attested(signer, &text, encoding), &reader(verifier, &ledger, &openers), NOW)
                .map(|opened| opened.events.len())
        };
        if let Ok(events) = opened {
            assert!((1..=256).contains(&events), "{events} events in a job");
        }
    });
}

/// The ledger of all jobs here.
fn ledger() -> LedgerId {
    LedgerId::try_from("07".repeat(16)).expect("an identity")
}

fn reader<'a>(verifier: &'a Verifier, ledger: &'a LedgerId, openers: &'a Openers) -> Reader<'a> {
    Reader { colony: "rec", ledger, verifier, openers }
}

/// A process whose one argument is attested as it stands.
fn attested(signer: &Signer, text: &str, encoding: &str) -> Process {
    let ledger = ledger();
    let claim = Claim {
        colony: "rec",
        ledger: ledger.as_str(),
        submitter: "user",
        function: job::FUNCTION,
        encoding,
        args: &[text],
    };
    let attestation = signer.attest(claim, NOW).expect("randomness").to_text().expect("strings");
    let mut kwargs = BTreeMap::from([("attestation".to_owned(), json!(attestation))]);
    if !encoding.is_empty() {
        kwargs.insert("encoding".to_owned(), Value::from(encoding));
    }
    let spec = FunctionSpec {
        funcname: job::FUNCTION.to_owned(),
        args: vec![Value::from(text)],
        kwargs,
        ..FunctionSpec::default()
    };
    // A process of its own for every call, as far as the guard against replay is concerned.
    Process { processid: "p".to_owned(), initiatorid: "user".to_owned(), spec, ..Process::default() }
}

fn job_seeds() -> Vec<Vec<u8>> {
    let signer = Signer::parse(&Secret::new("08".repeat(32))).expect("a seed");
    let stranger = serde_json::to_vec(&attested(&signer, "{}", "")).expect("a process is JSON");
    let terms = job::Terms::new("rec", "finance-worker");
    let ledger = ledger();
    let sender = job::Sender { terms: &terms, signer: &signer, ledger: &ledger, submitter: "user", recipients: None };
    let batch = job::seal(&sender, &["{\"id\":\"evt_1\"}", "{}"], NOW).expect("two events fit");
    let text = batch.args[0].as_str().expect("an argument is text").as_bytes();
    let packed = STANDARD.decode(text).expect("base64");
    let seed = |way: u8, bytes: &[u8]| [&[way], bytes].concat();
    vec![
        seed(0, &stranger),
        seed(0, &serde_json::to_vec(&Process { spec: batch.clone(), ..Process::default() }).expect("JSON")),
        seed(1, b"{\"id\":\"evt_1\",\"amount\":9007199254740993}"),
        seed(2, text),
        seed(3, &packed),
    ]
}

/// A configuration file up to the first NUL, then an environment, one `NAME=value` a line: read or refused, and no secret
/// shown.
pub fn config(data: &[u8]) {
    thread_local! {
        static FILE: OnceCell<std::path::PathBuf> = const { OnceCell::new() };
    }
    let text = String::from_utf8_lossy(data);
    let (file, lines) = text.split_once('\0').unwrap_or((&text, ""));
    let pairs = lines.lines().filter_map(|line| line.split_once('='));
    // Values that name files would have the fuzzer read what is not its own.
    let mut environment: BTreeMap<String, String> = pairs
        .filter(|(name, _)| !name.ends_with("_FILE"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    environment.insert("STRIPE_WEBHOOK_SECRET".to_owned(), SECRET.to_owned());
    environment.insert("DATABASE_URL".to_owned(), format!("postgres://user:{SECRET}@localhost/x"));
    FILE.with(|path| {
        let path = path.get_or_init(|| std::env::temp_dir().join(format!("gateway-fuzz-{}.toml", std::process::id())));
        std::fs::write(path, file).expect("a temporary file");
        let sources = Sources { environment, file: Some(path.clone()) };
        for read in [Config::for_serve(&sources), Config::for_tools(&sources)] {
            let shown = match &read {
                Ok(config) => format!("{config:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains(SECRET), "a secret is shown: {shown}");
        }
    });
}

fn config_seeds() -> Vec<Vec<u8>> {
    [
        "",
        "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:8080\"\nbody_timeout = \"10s\"\n",
        "[colony]\nenabled = false\nlease = \"30s\"\n[dispatch]\nworkers = 2\nretry_max = \"5m\"\n",
        "[[endpoints]]\nname = \"thin\"\npath = \"/webhooks/thin\"\nsecret_env = \"X\"\nstyle = \"thin\"\n",
        "[inbox]\nbytes_max = \"1GiB\"\n\0GATEWAY_LISTEN=[::1]:80\nGATEWAY_LOG=info,x=debug\nGATEWAY_UNKNOWN=1\n",
        "\0USE_COLONY_OS=true\nCOLONIES_SERVER_HOST=a,b:1\nBEE_COUNT=0\nPOLL_TIMEOUT=5s\nSTRIPE_PRICE_GOLD=price_1,price_2\n",
    ]
    .map(|seed| seed.as_bytes().to_vec())
    .to_vec()
}
