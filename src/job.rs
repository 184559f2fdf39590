//! What a job of ours is, from end to end: events in, an attested function spec out; a leased process in, believed events out.
//!
//! | part | role |
//! |---|---|
//! | [`attestation`] | the gateway's Ed25519 signature over a job, end to end |
//! | [`batch`] | events in the one argument of a job, exact and bounded |
//! | [`completion`] | what a bee says became of a job's events |
//! | [`keys`] | the keys of an installation: made, written down, rotated |
//! | [`sealing`] | events that only bees can read |
//!
//! Guarantees: [`open`] hands out no byte of a job that a trusted gateway did not attest for this colony and this
//! function; it decompresses only after that. Does not: look into events.

pub mod attestation;
pub mod batch;
pub mod completion;
mod key_text;
pub mod keys;
pub mod sealing;

use std::collections::BTreeMap;
use std::time::Duration;

use colonies::messages::{Conditions, FunctionSpec, Process};
use serde_json::Value;
use serde_json::value::RawValue;

use self::attestation::{Attestation, Claim, Rejection, Signer, Verified, Verifier};
use self::batch::{DecodeError, EncodeError, Encoding};
use self::keys::opening::Openers;
use self::sealing::{OpenError, Recipients, SealingError};
use crate::domain::clock::Timestamp;
use crate::domain::ledger_id::LedgerId;
use crate::domain::trace::TraceContext;

/// Name of the function.
pub const FUNCTION: &str = "validate_revenue";

/// Label of the gateway's processes, to find them by.
pub const LABEL: &str = "stripe";

/// Name of the keyword argument for the encoding of a batch.
const ENCODING_KWARG: &str = "encoding";

/// Encoding of a job without events.
const REHEARSAL: &str = "rehearsal";

/// Prefix of `kwargs.encoding` if the argument is sealed. The encoding of its content follows.
const SEALED: &str = "sealed";

/// Name of the keyword argument for a job's position in a trace (W3C Trace Context). Not attested.
const TRACE_KWARG: &str = "traceparent";

/// The terms on which a job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Name of the colony.
    pub colony: String,
    /// Type of the executors that may run it.
    pub executor_type: String,
    /// Higher runs first, -50000 to 50000.
    pub priority: i64,
    /// How long a lease lasts, in whole seconds, at least one. It is finite, so that a lost reply to an assignment cannot
    /// hold the process for ever.
    pub lease: Duration,
    /// How many leases may expire, beyond the first, before the process fails.
    pub retries: u32,
}

impl Terms {
    /// The usual terms: priority 5, a lease of 30 s, three retries.
    pub fn new(colony: impl Into<String>, executor_type: impl Into<String>) -> Self {
        Self {
            colony: colony.into(),
            executor_type: executor_type.into(),
            priority: 5,
            lease: Duration::from_secs(30),
            retries: 3,
        }
    }
}

/// The sender of jobs, and whom they are for.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    pub terms: &'a Terms,
    pub signer: &'a Signer,
    /// The ledger that the events are for.
    pub ledger: &'a LedgerId,
    /// Id of the colony's user that submits.
    pub submitter: &'a str,
    /// The bees' keys, to which the events are sealed. Without them the events travel as they are.
    pub recipients: Option<&'a Recipients>,
}

/// Puts events, given as JSON texts, into one attested job.
///
/// # Errors
/// If the events do not fit in one job, or the system gives no randomness.
pub fn seal(sender: &Sender<'_>, events: &[&str], now: Timestamp) -> Result<FunctionSpec, SealError> {
    let encoded = batch::encode(events)?;
    let encoding = encoding_name(encoded.encoding.as_str(), sender.recipients.is_some());
    let text = match sender.recipients {
        Some(recipients) => recipients.seal(&encoded.bytes)?,
        None => encoded.into_text()?,
    };
    attested(sender, text, encoding, now)
}

/// An attested job with this argument.
fn attested(sender: &Sender<'_>, text: String, encoding: String, now: Timestamp) -> Result<FunctionSpec, SealError> {
    let Sender { terms, signer, ledger, submitter, .. } = *sender;
    let claim = Claim {
        colony: &terms.colony,
        ledger: ledger.as_str(),
        submitter,
        function: FUNCTION,
        encoding: &encoding,
        args: &[&text],
    };
    let attestation = signer.attest(claim, now).map_err(SealError::Randomness)?;
    let attestation = Value::String(attestation.to_text().map_err(SealError::Json)?);
    let mut kwargs = BTreeMap::from([(attestation::KWARG.to_owned(), attestation)]);
    if !encoding.is_empty() {
        kwargs.insert(ENCODING_KWARG.to_owned(), Value::from(encoding));
    }
    Ok(FunctionSpec {
        funcname: FUNCTION.to_owned(),
        args: vec![Value::String(text)],
        kwargs,
        priority: terms.priority,
        // A wait that expires would fail the process, and the server checks only some of them.
        maxwaittime: -1,
        maxexectime: i64::try_from(terms.lease.as_secs().max(1)).unwrap_or(i64::MAX),
        maxretries: i64::from(terms.retries),
        conditions: Conditions {
            colonyname: terms.colony.clone(),
            executortype: terms.executor_type.clone(),
            ..Conditions::default()
        },
        label: LABEL.to_owned(),
        ..FunctionSpec::default()
    })
}

/// A job without events, by which a gateway finds out whether bees do its jobs again. A bee verifies it like any other,
/// opens it if it is sealed, asks its ledger which one it is, and answers with an empty result.
///
/// # Errors
/// If the system gives no randomness.
pub fn rehearsal(sender: &Sender<'_>, now: Timestamp) -> Result<FunctionSpec, SealError> {
    let text = match sender.recipients {
        Some(recipients) => recipients.seal(&[])?,
        None => String::new(),
    };
    attested(sender, text, encoding_name(REHEARSAL, sender.recipients.is_some()), now)
}

/// The value of `kwargs.encoding`; empty if there is nothing to say.
fn encoding_name(inner: &str, is_sealed: bool) -> String {
    match (inner, is_sealed) {
        (inner, false) => inner.to_owned(),
        ("", true) => SEALED.to_owned(),
        (inner, true) => format!("{SEALED}+{inner}"),
    }
}

/// The encoding of an argument's content by its name, and whether the argument is sealed.
fn read_encoding(name: &str) -> Option<(&str, bool)> {
    match name.strip_prefix(SEALED) {
        None => Some((name, false)),
        Some("") => Some(("", true)),
        Some(inner) => inner.strip_prefix('+').filter(|inner| !inner.is_empty()).map(|inner| (inner, true)),
    }
}

/// The job with its position in a trace, which the bee continues. It is not part of the attested content.
#[must_use]
pub fn traced(mut spec: FunctionSpec, trace: Option<TraceContext>) -> FunctionSpec {
    if let Some(trace) = trace {
        spec.kwargs.insert(TRACE_KWARG.to_owned(), Value::String(trace.to_string()));
    }
    spec
}

/// The position in a trace that came with a process. It is not attested, and a malformed one is ignored.
pub fn trace_of(process: &Process) -> Option<TraceContext> {
    process.spec.kwargs.get(TRACE_KWARG)?.as_str().and_then(TraceContext::parse)
}

/// Why events cannot be put into a job.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// They do not fit.
    #[error(transparent)]
    Batch(#[from] EncodeError),
    /// They cannot be sealed to the bees.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// No nonce.
    #[error("the operating system gives no randomness")]
    Randomness(#[source] getrandom::Error),
    /// The attestation cannot be written as JSON. This does not happen.
    #[error("the attestation cannot be written")]
    Json(#[source] serde_json::Error),
}

/// The content of a verified job.
#[derive(Debug)]
pub struct Opened {
    /// The events in their order. A rehearsal has none, and any other job at least one.
    pub events: Vec<Box<RawValue>>,
    /// Who attested it, and when.
    pub attested: Verified,
}

/// The reader of jobs.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// Name of the colony.
    pub colony: &'a str,
    /// The ledger that the events would go to.
    pub ledger: &'a LedgerId,
    pub verifier: &'a Verifier,
    /// Keys for sealed jobs.
    pub openers: &'a Openers,
}

/// Verifies a process that was assigned to a bee, then decodes its events.
///
/// # Errors
/// See [`JobRejection`]. Trying again mends none of them.
pub fn open(process: &Process, reader: &Reader<'_>, now: Timestamp) -> Result<Opened, JobRejection> {
    let spec = &process.spec;
    if spec.funcname != FUNCTION {
        return Err(JobRejection::OtherFunction);
    }
    let attestation = match spec.kwargs.get(attestation::KWARG) {
        None => return Err(JobRejection::NotAttested),
        Some(Value::String(text)) => Attestation::from_text(text).map_err(JobRejection::MalformedAttestation)?,
        Some(_) => return Err(JobRejection::AttestationForm),
    };
    let name = match spec.kwargs.get(ENCODING_KWARG) {
        None => "",
        Some(Value::String(name)) => name,
        Some(_) => return Err(JobRejection::UnknownEncoding),
    };
    let (inner, is_sealed) = read_encoding(name).ok_or(JobRejection::UnknownEncoding)?;
    let encoding = match inner {
        REHEARSAL => None,
        inner => Some(Encoding::from_name(inner).ok_or(JobRejection::UnknownEncoding)?),
    };
    let [Value::String(text)] = spec.args.as_slice() else { return Err(JobRejection::Arguments) };
    let claim = Claim {
        colony: reader.colony,
        ledger: reader.ledger.as_str(),
        submitter: &process.initiatorid,
        function: FUNCTION,
        encoding: name,
        args: &[text],
    };
    let attested = reader.verifier.verify(&attestation, claim, &process.id(), now)?;
    let unsealed = if is_sealed { Some(reader.openers.open(text)?) } else { None };
    let events = match (encoding, unsealed) {
        (None, _) => Vec::new(),
        (Some(encoding), Some(bytes)) => batch::decode_bytes(&bytes, encoding)?,
        (Some(encoding), None) => batch::decode(text, encoding)?,
    };
    Ok(Opened { events, attested })
}

/// Why a process is not run.
#[derive(Debug, thiserror::Error)]
pub enum JobRejection {
    /// It calls another function than the one that bees run.
    #[error("the function is not `{FUNCTION}`")]
    OtherFunction,
    /// A member that is not a gateway submitted it, or a gateway without a key.
    #[error("the job carries no attestation")]
    NotAttested,
    /// The attestation lacks a field, or has one that is unknown or not text.
    #[error("the job's attestation is malformed")]
    MalformedAttestation(#[source] serde_json::Error),
    /// The attestation is not text. Those of earlier releases were not.
    #[error("the job's attestation is not a text: gateway and bees must be of the same release")]
    AttestationForm,
    /// The encoding is unknown.
    #[error("the encoding of the job is not known")]
    UnknownEncoding,
    /// It does not have exactly one argument that is text.
    #[error("a job has exactly one argument, a text")]
    Arguments,
    /// The attestation is not trusted.
    #[error(transparent)]
    Attestation(#[from] Rejection),
    /// A gateway attested it, but it cannot be opened here.
    #[error(transparent)]
    Sealed(#[from] OpenError),
    /// A gateway attested it, but it is not a batch.
    #[error(transparent)]
    Batch(#[from] DecodeError),
}

impl JobRejection {
    /// Stable name for metrics and records.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OtherFunction => "other_function",
            Self::NotAttested => "not_attested",
            Self::MalformedAttestation(_) | Self::AttestationForm => "attestation_malformed",
            Self::UnknownEncoding => "unknown_encoding",
            Self::Arguments => "arguments",
            Self::Attestation(rejection) => rejection.code(),
            Self::Sealed(error) => error.code(),
            Self::Batch(_) => "batch",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::Secret;
    use crate::job::attestation::Trust;
    use crate::job::sealing::OpeningKey;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_280_627);
    const EVENT: &str = "{ \"id\": \"evt_1\", \"amount\": 9007199254740993, \"note\": \"é <b>&\" }";

    /// Id of the gateway's user, as the server reports it.
    const USER: &str = "3fc05cf3df4b494e95d6a3d297a34f19938f7daa7422ab0d4f794454133341ac";

    struct Gateway {
        signer: Signer,
        verifier: Verifier,
        ledger: LedgerId,
        recipients: Option<Recipients>,
        openers: Openers,
    }

    fn gateway() -> Gateway {
        let signer = Signer::generate().unwrap();
        let verifier = Verifier::new(Trust::new(vec![signer.public().clone()])).unwrap();
        let openers = Openers::given(&Secret::new("")).unwrap();
        Gateway { signer, verifier, ledger: LedgerId::draw().unwrap(), recipients: None, openers }
    }

    /// As [`gateway`], with bees that have a key for sealed jobs.
    fn sealing() -> Gateway {
        let key = OpeningKey::generate().unwrap();
        let recipients = Some(Recipients::new(vec![key.public().clone()]).unwrap());
        Gateway { recipients, openers: Openers::given(&key.to_hex()).unwrap(), ..gateway() }
    }

    /// A process that the gateway submitted.
    fn submitted() -> Process {
        Process { processid: "p1".to_owned(), initiatorid: USER.to_owned(), ..Process::default() }
    }

    impl Gateway {
        fn spec(&self, events: &[&str]) -> FunctionSpec {
            self.spec_by(&Terms::new("rec", "finance-worker"), events)
        }

        fn spec_by(&self, terms: &Terms, events: &[&str]) -> FunctionSpec {
            let sender = Sender {
                terms,
                signer: &self.signer,
                ledger: &self.ledger,
                submitter: USER,
                recipients: self.recipients.as_ref(),
            };
            seal(&sender, events, NOW).expect("the events fit")
        }

        /// A job of this form, made with the keys of another gateway.
        fn spec_like(&self, other: &Self) -> FunctionSpec {
            let terms = Terms::new("rec", "finance-worker");
            let recipients = self.recipients.as_ref();
            let sender =
                Sender { terms: &terms, signer: &other.signer, ledger: &other.ledger, submitter: USER, recipients };
            seal(&sender, &[EVENT], NOW).expect("the events fit")
        }

        fn reader(&self) -> Reader<'_> {
            Reader { colony: "rec", ledger: &self.ledger, verifier: &self.verifier, openers: &self.openers }
        }

        /// What a bee gets from a spec after the server has re-encoded it.
        fn open(&self, spec: &FunctionSpec) -> Result<Vec<String>, &'static str> {
            let spec = serde_json::from_str(&serde_json::to_string(spec).expect("a spec can be written"));
            let process = Process { spec: spec.expect("a spec can be read"), ..submitted() };
            let opened = open(&process, &self.reader(), NOW).map_err(|rejection| rejection.code())?;
            Ok(opened.events.iter().map(|event| event.get().to_owned()).collect())
        }
    }

    #[test]
    fn one_event_travels_as_the_only_argument_with_strings_around_it() {
        let gateway = gateway();
        let spec = gateway.spec(&[EVENT]);
        assert_eq!(spec.args, [Value::from(EVENT)]);
        assert!(spec.kwargs.values().all(Value::is_string), "the public Python client reads no others");
        let attestation: Value = serde_json::from_str(spec.kwargs["attestation"].as_str().unwrap()).unwrap();
        let attestation = attestation.as_object().unwrap();
        let fields = ["alg", "iat", "kid", "ledger", "nonce", "sig", "submitter"];
        assert_eq!(attestation.keys().collect::<Vec<_>>(), fields);
        assert!(attestation.values().all(Value::is_string), "numbers would come back changed");
        assert_eq!(spec.kwargs.len(), 1);
        assert_eq!(gateway.open(&spec), Ok(vec![EVENT.to_owned()]));
    }

    #[test]
    fn several_events_travel_compressed() {
        let gateway = gateway();
        let spec = gateway.spec(&[EVENT, "{}"]);
        assert_eq!(spec.kwargs["encoding"], "zstd+json");
        assert_eq!(gateway.open(&spec), Ok(vec![EVENT.to_owned(), "{}".to_owned()]));
    }

    #[test]
    fn a_rehearsal_is_attested_like_any_job_and_holds_nothing() {
        let terms = Terms::new("rec", "finance-worker");
        for gateway in [gateway(), sealing()] {
            let (recipients, ledger) = (gateway.recipients.as_ref(), &gateway.ledger);
            let sender = Sender { terms: &terms, signer: &gateway.signer, ledger, submitter: USER, recipients };
            assert_eq!(gateway.open(&rehearsal(&sender, NOW).unwrap()), Ok(Vec::new()));
        }
        let gateway = gateway();
        let mut posing = gateway.spec(&[EVENT]);
        posing.kwargs.insert("encoding".to_owned(), Value::from("rehearsal"));
        assert_eq!(gateway.open(&posing), Err("attestation_signature"));
    }

    #[test]
    fn sealed_events_travel_as_one_attested_text_that_only_bees_read() {
        let gateway = sealing();
        for (events, encoding) in [(vec![EVENT], "sealed"), (vec![EVENT, "{}"], "sealed+zstd+json")] {
            let spec = gateway.spec(&events);
            assert_eq!(spec.kwargs["encoding"], encoding);
            let [Value::String(text)] = spec.args.as_slice() else { panic!("{:?}", spec.args) };
            assert!(!text.contains("evt_1") && !text.contains("9007199254740993"));
            assert_eq!(gateway.open(&spec), Ok(events.iter().map(|&event| event.to_owned()).collect()));
            let mut changed = spec.clone();
            changed.args = vec![Value::from(text.replace("\"alg\"", " \"alg\""))];
            assert_eq!(gateway.open(&changed), Err("attestation_signature"), "what is sent is attested");
            let stranger = Gateway { openers: Openers::given(&Secret::new("")).unwrap(), ..sealing() };
            let reader = Reader { openers: &stranger.openers, ..gateway.reader() };
            let process = Process { spec, ..submitted() };
            assert_eq!(open(&process, &reader, NOW).unwrap_err().code(), "sealed_to_others");
        }
        assert_eq!(
            gateway.open(&Gateway { recipients: None, ..sealing() }.spec_like(&gateway)),
            Ok(vec![EVENT.to_owned()])
        );
    }

    #[test]
    fn the_name_of_an_encoding_is_read_in_its_one_form() {
        for (inner, is_sealed) in [("", false), ("", true), ("zstd+json", true), (REHEARSAL, true)] {
            assert_eq!(read_encoding(&encoding_name(inner, is_sealed)), Some((inner, is_sealed)));
        }
        for name in ["sealed+", "sealedzstd+json"] {
            assert_eq!(read_encoding(name), None, "{name}");
        }
        let gateway = sealing();
        for name in ["sealed+gzip", "sealed+sealed", "Sealed"] {
            let mut spec = gateway.spec(&[EVENT]);
            spec.kwargs.insert("encoding".to_owned(), Value::from(name));
            assert_eq!(gateway.open(&spec), Err("unknown_encoding"), "{name}");
        }
    }

    #[test]
    fn a_position_in_a_trace_travels_beside_what_is_attested() {
        let gateway = gateway();
        let trace = TraceContext::new([1; 16], [2; 8], true);
        let plain = gateway.spec(&[EVENT]);
        assert_eq!(traced(plain.clone(), None), plain);
        let spec = traced(plain, trace);
        assert_eq!(spec.kwargs["traceparent"], Value::from(trace.unwrap().to_string()));
        assert_eq!(gateway.open(&spec), Ok(vec![EVENT.to_owned()]));
        assert_eq!(trace_of(&Process { spec, ..Process::default() }), trace);
    }

    #[test]
    fn a_position_that_is_malformed_is_none_and_fails_no_job() {
        let gateway = gateway();
        let long = format!("00-{}-{}-01", "a".repeat(32), "b".repeat(1 << 20));
        let with = |value: Value| {
            let mut spec = gateway.spec(&[EVENT]);
            spec.kwargs.insert("traceparent".to_owned(), value);
            spec
        };
        for value in [Value::Null, Value::from(1), Value::from(""), Value::from("00-x-y-01"), Value::from(long)] {
            let spec = with(value);
            assert_eq!(gateway.open(&spec), Ok(vec![EVENT.to_owned()]));
            assert_eq!(trace_of(&Process { spec, ..Process::default() }), None);
        }
    }

    #[test]
    fn the_terms_of_a_job_are_finite() {
        let spec = gateway().spec(&[EVENT]);
        assert_eq!((spec.funcname.as_str(), spec.label.as_str()), ("validate_revenue", "stripe"));
        assert_eq!((spec.priority, spec.maxwaittime, spec.maxexectime, spec.maxretries), (5, -1, 30, 3));
        let conditions = &spec.conditions;
        assert_eq!((conditions.colonyname.as_str(), conditions.executortype.as_str()), ("rec", "finance-worker"));
        let hasty = Terms { lease: Duration::ZERO, ..Terms::new("rec", "finance-worker") };
        assert_eq!(gateway().spec_by(&hasty, &[EVENT]).maxexectime, 1);
    }

    #[test]
    fn a_job_that_anybody_changed_or_made_is_rejected_by_name() {
        let gateway = gateway();
        let (one, two) = (gateway.spec(&[EVENT]), gateway.spec(&[EVENT, "{}"]));
        let changed = |spec: &FunctionSpec, change: &dyn Fn(&mut FunctionSpec)| {
            let mut spec = spec.clone();
            change(&mut spec);
            gateway.open(&spec).unwrap_err()
        };
        assert_eq!(changed(&one, &|spec| spec.kwargs.clear()), "not_attested");
        assert_eq!(changed(&one, &|spec| spec.funcname = "other".to_owned()), "other_function");
        assert_eq!(changed(&one, &|spec| spec.args = vec![Value::from("{}")]), "attestation_signature");
        assert_eq!(changed(&one, &|spec| spec.args.push(Value::from("{}"))), "arguments");
        assert_eq!(changed(&one, &|spec| spec.args.clear()), "arguments");
        assert_eq!(changed(&one, &|spec| spec.args = vec![serde_json::json!({})]), "arguments");
        let with_encoding = |value: Value| {
            move |spec: &mut FunctionSpec| {
                spec.kwargs.insert("encoding".to_owned(), value.clone());
            }
        };
        assert_eq!(changed(&one, &with_encoding(Value::from("zstd+json"))), "attestation_signature");
        assert_eq!(changed(&two, &with_encoding(Value::from("gzip"))), "unknown_encoding");
        assert_eq!(changed(&two, &with_encoding(Value::from(1))), "unknown_encoding");
        assert_eq!(changed(&two, &|spec| _ = spec.kwargs.remove("encoding")), "attestation_signature");
        let with_attestation = |value: Value| {
            move |spec: &mut FunctionSpec| {
                spec.kwargs.insert("attestation".to_owned(), value.clone());
            }
        };
        let nested = serde_json::from_str(one.kwargs["attestation"].as_str().unwrap()).unwrap();
        for value in [Value::Null, Value::from("x"), Value::from("{\"alg\": \"Ed25519\"}"), nested] {
            assert_eq!(changed(&one, &with_attestation(value)), "attestation_malformed");
        }
        assert_eq!(changed(&one, &with_attestation(two.kwargs["attestation"].clone())), "attestation_signature");
    }

    #[test]
    fn a_job_of_another_colony_is_rejected() {
        let gateway = gateway();
        let process = Process { spec: gateway.spec(&[EVENT]), ..submitted() };
        let rejection = open(&process, &Reader { colony: "other", ..gateway.reader() }, NOW).unwrap_err();
        assert_eq!(rejection.code(), "attestation_signature");
    }

    #[test]
    fn a_job_for_another_ledger_is_rejected_by_its_name_and_only_when_it_is_genuine() {
        let (gateway, ours) = (gateway(), LedgerId::draw().unwrap());
        let reader = Reader { ledger: &ours, ..gateway.reader() };
        let process = Process { spec: gateway.spec(&[EVENT]), ..submitted() };
        assert_eq!(open(&process, &reader, NOW).unwrap_err().code(), "other_ledger");
        let mut posing = process.clone();
        let text = process.spec.kwargs["attestation"].as_str().unwrap().replace(gateway.ledger.as_str(), ours.as_str());
        posing.spec.kwargs.insert("attestation".to_owned(), Value::from(text));
        assert_eq!(open(&posing, &reader, NOW).unwrap_err().code(), "attestation_signature");
    }

    #[test]
    fn a_job_that_another_member_submits_again_is_rejected_by_a_bee_that_never_saw_it() {
        let gateway = gateway();
        let genuine = Process { spec: gateway.spec(&[EVENT]), ..submitted() };
        let stolen = Process { processid: "p2".to_owned(), initiatorid: "mallory".to_owned(), ..genuine.clone() };
        assert_eq!(open(&stolen, &gateway.reader(), NOW).unwrap_err().code(), "attestation_other_submitter");
        assert!(open(&genuine, &gateway.reader(), NOW).is_ok(), "the thief was first and changed nothing");
    }

    #[test]
    fn an_attested_job_that_is_no_batch_is_rejected_after_its_attestation() {
        let gateway = gateway();
        let text = "AAAA";
        let claim = Claim {
            colony: "rec",
            ledger: gateway.ledger.as_str(),
            submitter: USER,
            function: FUNCTION,
            encoding: "zstd+json",
            args: &[text],
        };
        let attestation = gateway.signer.attest(claim, NOW).unwrap().to_text().unwrap();
        let mut spec = gateway.spec(&[EVENT, EVENT]);
        spec.args = vec![Value::from(text)];
        assert_eq!(gateway.open(&spec), Err("attestation_signature"));
        spec.kwargs.insert("attestation".to_owned(), Value::from(attestation));
        assert_eq!(gateway.open(&spec), Err("batch"));
    }
}
