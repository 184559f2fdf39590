//! What a job of ours is, from end to end: events in, an attested function spec out; a leased process in, believed events out.
//!
//! | part | role |
//! |---|---|
//! | [`attestation`] | the gateway's Ed25519 signature over a job, end to end |
//! | [`batch`] | events in the one argument of a job, exact and bounded |
//! | [`completion`] | what a bee says became of a job's events |
//! | [`keys`] | the keys of an installation: made, written down, rotated |
//!
//! Guarantees: [`open`] hands out no byte of a job that a trusted gateway did not attest for this colony and this
//! function; it decompresses only after that. Does not: look into events.

pub mod attestation;
pub mod batch;
pub mod completion;
pub mod keys;

use std::collections::BTreeMap;
use std::time::Duration;

use colonies::messages::{Conditions, FunctionSpec, Process};
use serde_json::Value;
use serde_json::value::RawValue;

use self::attestation::{Attestation, Claim, Rejection, Signer, Verified, Verifier};
use self::batch::{DecodeError, EncodeError, Encoding};
use crate::domain::clock::Timestamp;
use crate::domain::trace::TraceContext;

/// Name of the function.
pub const FUNCTION: &str = "validate_revenue";

/// Label of the gateway's processes, to find them by.
pub const LABEL: &str = "stripe";

/// Name of the keyword argument that tells the encoding of a batch.
const ENCODING_KWARG: &str = "encoding";

/// Name of the keyword argument that tells a job's position in a trace (W3C Trace Context). Not attested.
const TRACE_KWARG: &str = "traceparent";

/// How a job is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Name of the colony.
    pub colony: String,
    /// Type of the executors that may run it.
    pub executor_type: String,
    /// Higher runs first, -50000 to 50000.
    pub priority: i64,
    /// How long a lease lasts, in whole seconds, at least one. It is finite: a lost reply to an assignment must not
    /// hold the process for ever.
    pub lease: Duration,
    /// Leases that may expire, beyond the first, before the process fails.
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

/// Puts events, given as JSON texts, into one attested job.
///
/// # Errors
/// When the events do not fit in one job, or the system gives no randomness.
pub fn seal(terms: &Terms, signer: &Signer, events: &[&str], now: Timestamp) -> Result<FunctionSpec, SealError> {
    let encoded = batch::encode(events)?;
    let claim = Claim {
        colony: &terms.colony,
        function: FUNCTION,
        encoding: encoded.encoding.as_str(),
        args: &[&encoded.text],
    };
    let attestation = signer.attest(claim, now).map_err(SealError::Randomness)?;
    let attestation = serde_json::to_value(attestation).map_err(SealError::Json)?;
    let mut kwargs = BTreeMap::from([(attestation::KWARG.to_owned(), attestation)]);
    match encoded.encoding {
        Encoding::Plain => {}
        Encoding::ZstdJson => {
            kwargs.insert(ENCODING_KWARG.to_owned(), Value::from(encoded.encoding.as_str()));
        }
    }
    Ok(FunctionSpec {
        funcname: FUNCTION.to_owned(),
        args: vec![Value::String(encoded.text)],
        kwargs,
        priority: terms.priority,
        // An expired wait would fail the process, and the server checks only some of them.
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

/// The job with its position in a trace, for whoever runs it to go on from. Changes nothing of what is attested.
#[must_use]
pub fn traced(mut spec: FunctionSpec, trace: Option<TraceContext>) -> FunctionSpec {
    if let Some(trace) = trace {
        spec.kwargs.insert(TRACE_KWARG.to_owned(), Value::String(trace.to_string()));
    }
    spec
}

/// The position in a trace that a process came with. Nobody vouches for it; whatever is not well-formed is none.
pub fn trace_of(process: &Process) -> Option<TraceContext> {
    process.spec.kwargs.get(TRACE_KWARG)?.as_str().and_then(TraceContext::parse)
}

/// Why events cannot be put into a job.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// They do not fit.
    #[error(transparent)]
    Batch(#[from] EncodeError),
    /// No nonce.
    #[error("the operating system gives no randomness")]
    Randomness(#[source] getrandom::Error),
    /// The attestation cannot be written as JSON, which does not happen.
    #[error("the attestation cannot be written")]
    Json(#[source] serde_json::Error),
}

/// What a believed job holds.
#[derive(Debug)]
pub struct Opened {
    /// The events, at least one, in their order.
    pub events: Vec<Box<RawValue>>,
    /// Who attested it, and when.
    pub attested: Verified,
}

/// Verifies a process that was assigned to a bee of `colony`, then decodes its events.
///
/// # Errors
/// See [`JobRejection`]. None is mended by trying again.
pub fn open(process: &Process, colony: &str, verifier: &Verifier, now: Timestamp) -> Result<Opened, JobRejection> {
    let spec = &process.spec;
    if spec.funcname != FUNCTION {
        return Err(JobRejection::OtherFunction);
    }
    let attestation = spec.kwargs.get(attestation::KWARG).ok_or(JobRejection::NotAttested)?;
    let attestation: Attestation =
        serde::Deserialize::deserialize(attestation).map_err(JobRejection::MalformedAttestation)?;
    let encoding = match spec.kwargs.get(ENCODING_KWARG) {
        None => Encoding::Plain,
        Some(Value::String(name)) => Encoding::from_name(name).ok_or(JobRejection::UnknownEncoding)?,
        Some(_) => return Err(JobRejection::UnknownEncoding),
    };
    let [Value::String(text)] = spec.args.as_slice() else { return Err(JobRejection::Arguments) };
    let claim = Claim { colony, function: FUNCTION, encoding: encoding.as_str(), args: &[text] };
    let attested = verifier.verify(&attestation, claim, &process.id(), now)?;
    Ok(Opened { events: batch::decode(text, encoding)?, attested })
}

/// Why a process is not run.
#[derive(Debug, thiserror::Error)]
pub enum JobRejection {
    /// Another function than the one that bees run.
    #[error("the function is not `{FUNCTION}`")]
    OtherFunction,
    /// Submitted by somebody else than a gateway, or by one without a key.
    #[error("the job carries no attestation")]
    NotAttested,
    /// The attestation lacks a field, or has one that is not text or not known.
    #[error("the job's attestation is malformed")]
    MalformedAttestation(#[source] serde_json::Error),
    /// The encoding is not known.
    #[error("the encoding of the job is not known")]
    UnknownEncoding,
    /// Not exactly one argument, or one that is not text.
    #[error("a job has exactly one argument, a text")]
    Arguments,
    /// The attestation is not believed.
    #[error(transparent)]
    Attestation(#[from] Rejection),
    /// Attested by a gateway, but no batch.
    #[error(transparent)]
    Batch(#[from] DecodeError),
}

impl JobRejection {
    /// Stable name for metrics and records.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OtherFunction => "other_function",
            Self::NotAttested => "not_attested",
            Self::MalformedAttestation(_) => "attestation_malformed",
            Self::UnknownEncoding => "unknown_encoding",
            Self::Arguments => "arguments",
            Self::Attestation(rejection) => rejection.code(),
            Self::Batch(_) => "batch",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::attestation::Trust;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_280_627);
    const EVENT: &str = "{ \"id\": \"evt_1\", \"amount\": 9007199254740993, \"note\": \"é <b>&\" }";

    struct Gateway {
        signer: Signer,
        verifier: Verifier,
    }

    fn gateway() -> Gateway {
        let signer = Signer::generate().unwrap();
        let verifier = Verifier::new(Trust::new(vec![signer.public().clone()])).unwrap();
        Gateway { signer, verifier }
    }

    impl Gateway {
        fn spec(&self, events: &[&str]) -> FunctionSpec {
            seal(&Terms::new("rec", "finance-worker"), &self.signer, events, NOW).expect("the events fit")
        }

        /// What a bee makes of a spec after its way over the server, which re-encodes it.
        fn open(&self, spec: &FunctionSpec) -> Result<Vec<String>, &'static str> {
            let spec = serde_json::from_str(&serde_json::to_string(spec).expect("a spec can be written"));
            let process =
                Process { processid: "p1".to_owned(), spec: spec.expect("a spec can be read"), ..Process::default() };
            let opened = open(&process, "rec", &self.verifier, NOW).map_err(|rejection| rejection.code())?;
            Ok(opened.events.iter().map(|event| event.get().to_owned()).collect())
        }
    }

    #[test]
    fn one_event_travels_as_the_only_argument_with_strings_around_it() {
        let gateway = gateway();
        let spec = gateway.spec(&[EVENT]);
        assert_eq!(spec.args, [Value::from(EVENT)]);
        let attestation = spec.kwargs["attestation"].as_object().unwrap();
        assert_eq!(attestation.keys().collect::<Vec<_>>(), ["alg", "iat", "kid", "nonce", "sig"]);
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
        let signer = Signer::generate().unwrap();
        assert_eq!(seal(&hasty, &signer, &[EVENT], NOW).unwrap().maxexectime, 1);
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
        for value in [Value::Null, Value::from("x"), serde_json::json!({"alg": "Ed25519"}), serde_json::json!([1])] {
            assert_eq!(changed(&one, &with_attestation(value)), "attestation_malformed");
        }
        assert_eq!(changed(&one, &with_attestation(two.kwargs["attestation"].clone())), "attestation_signature");
    }

    #[test]
    fn a_job_of_another_colony_is_rejected() {
        let gateway = gateway();
        let process = Process { spec: gateway.spec(&[EVENT]), ..Process::default() };
        let rejection = open(&process, "other", &gateway.verifier, NOW).unwrap_err();
        assert_eq!(rejection.code(), "attestation_signature");
    }

    #[test]
    fn an_attested_job_that_is_no_batch_is_rejected_after_its_attestation() {
        let gateway = gateway();
        let text = "AAAA";
        let claim = Claim { colony: "rec", function: FUNCTION, encoding: "zstd+json", args: &[text] };
        let attestation = gateway.signer.attest(claim, NOW).unwrap();
        let mut spec = gateway.spec(&[EVENT, EVENT]);
        spec.args = vec![Value::from(text)];
        assert_eq!(gateway.open(&spec), Err("attestation_signature"));
        spec.kwargs.insert("attestation".to_owned(), serde_json::to_value(attestation).unwrap());
        assert_eq!(gateway.open(&spec), Err("batch"));
    }
}
