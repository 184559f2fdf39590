//! Replays calls recorded on a real Colonies server: ids, signatures byte for byte, and every message and reply.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use colonies::identity::{self, PrivateKey};
use colonies::messages::{
    AddColony, AddExecutor, AddFunction, AddLog, AddUser, ApproveExecutor, AssignProcess, CancelProcess,
    ChangeColonyId, ChangeExecutorId, ChangeUserId, CloseFailed, CloseSuccessful, GetColonyStatistics, GetExecutors,
    GetFunctions, GetProcess, GetProcesses, GetVersion, Message, MessageType, PauseAssignments, RemoveExecutor,
    ReplyEnvelope, RequestEnvelope, ResumeAssignments, SubmitFunctionSpec,
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Transcript {
    ids: BTreeMap<String, String>,
    keys: BTreeMap<String, String>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    name: String,
    signed_by: String,
    status: u16,
    request_body: Value,
    request_payload: Value,
    reply: Value,
    reply_error: bool,
    reply_payloadtype: String,
}

impl Step {
    /// The request; `None` if the step posted something else.
    fn request(&self) -> Option<RequestEnvelope> {
        serde_json::from_value(self.request_body.clone()).ok()
    }

    fn reply(&self) -> ReplyEnvelope {
        ReplyEnvelope {
            payloadtype: self.reply_payloadtype.clone(),
            payload: STANDARD.encode(self.reply.to_string()),
            error: self.reply_error,
        }
    }
}

fn transcript() -> Transcript {
    serde_json::from_str(include_str!("../fixtures/transcript.json")).expect("the fixture is well formed")
}

/// Calls `$do::<M>` with the message type that a name stands for.
macro_rules! with_message {
    ($type:expr, $do:ident($($argument:expr),*)) => {
        match $type {
            MessageType::GetVersion => $do::<GetVersion>($($argument),*),
            MessageType::AddColony => $do::<AddColony>($($argument),*),
            MessageType::AddUser => $do::<AddUser>($($argument),*),
            MessageType::AddExecutor => $do::<AddExecutor>($($argument),*),
            MessageType::ApproveExecutor => $do::<ApproveExecutor>($($argument),*),
            MessageType::RemoveExecutor => $do::<RemoveExecutor>($($argument),*),
            MessageType::AddFunction => $do::<AddFunction>($($argument),*),
            MessageType::SubmitFunctionSpec => $do::<SubmitFunctionSpec>($($argument),*),
            MessageType::AssignProcess => $do::<AssignProcess>($($argument),*),
            MessageType::CloseSuccessful => $do::<CloseSuccessful>($($argument),*),
            MessageType::CloseFailed => $do::<CloseFailed>($($argument),*),
            MessageType::GetProcess => $do::<GetProcess>($($argument),*),
            MessageType::GetProcesses => $do::<GetProcesses>($($argument),*),
            MessageType::CancelProcess => $do::<CancelProcess>($($argument),*),
            MessageType::AddLog => $do::<AddLog>($($argument),*),
            MessageType::GetColonyStatistics => $do::<GetColonyStatistics>($($argument),*),
            MessageType::GetExecutors => $do::<GetExecutors>($($argument),*),
            MessageType::GetFunctions => $do::<GetFunctions>($($argument),*),
            MessageType::PauseAssignments => $do::<PauseAssignments>($($argument),*),
            MessageType::ResumeAssignments => $do::<ResumeAssignments>($($argument),*),
            MessageType::ChangeUserId => $do::<ChangeUserId>($($argument),*),
            MessageType::ChangeExecutorId => $do::<ChangeExecutorId>($($argument),*),
            MessageType::ChangeColonyId => $do::<ChangeColonyId>($($argument),*),
        }
    };
}

#[test]
fn every_recorded_key_has_its_recorded_id() {
    let transcript = transcript();
    for (name, key) in &transcript.keys {
        assert_eq!(PrivateKey::from_hex(key).unwrap().id().as_str(), transcript.ids[name], "{name}");
    }
}

#[test]
fn every_recorded_signature_is_made_again_byte_for_byte_and_names_its_signer() {
    let transcript = transcript();
    let mut replayed = 0;
    for step in &transcript.steps {
        let (Some(request), Some(key)) = (step.request(), transcript.keys.get(&step.signed_by)) else { continue };
        if step.name == "short signature" || step.name == "signature not hex" {
            assert!(identity::recover(&request.payload, &request.signature).is_err(), "{}", step.name);
            continue;
        }
        let key = PrivateKey::from_hex(key).unwrap();
        assert_eq!(key.sign(&request.payload), request.signature, "{}", step.name);
        assert_eq!(request.signer().unwrap(), *key.id(), "{}", step.name);
        replayed += 1;
    }
    assert_eq!(replayed, transcript.steps.len() - 4, "all but: signed by nobody, two bad signatures, no JSON");
}

/// Whether `whole` contains everything in `part`. Null and the default value count as equal.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|other| contains(other, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
        }
        (Value::String(whole), Value::String(part)) => {
            // Times lose fractions of a millisecond.
            whole == part || (whole.ends_with('Z') && part.ends_with('Z') && whole[..19] == part[..19])
        }
        (whole, part) => whole == part,
    }
}

fn decoded(payload: &str) -> Value {
    let json = STANDARD.decode(payload).expect("a payload is base64");
    serde_json::from_slice(&json).expect("a payload is JSON")
}

fn sealed_again<M: Message>(step: &Step, request: &RequestEnvelope, key: &PrivateKey) {
    let message: M = request.open().expect("the recorded request is understood");
    let again = RequestEnvelope::seal(key, &message).expect("what was read can be written");
    assert_eq!(again.payloadtype, request.payloadtype, "{}", step.name);
    let payload = decoded(&again.payload);
    assert!(contains(&payload, &step.request_payload), "{}: {payload}", step.name);
}

#[test]
fn every_recorded_request_is_understood_and_loses_nothing_when_it_is_sent_again() {
    let key = PrivateKey::generate().unwrap();
    let mut seen = 0;
    for step in transcript().steps {
        let Some(request) = step.request() else { continue };
        let Some(message_type) = MessageType::from_name(&request.payloadtype) else {
            assert_eq!(request.payloadtype, "nosuchmsg");
            continue;
        };
        if step.name == "submit msgtype mismatch" {
            let refused = request.open::<SubmitFunctionSpec>().unwrap_err();
            assert_eq!(refused.to_string(), "the payload is of type `other` where `submitfuncspecmsg` was expected");
            continue;
        }
        with_message!(message_type, sealed_again(&step, &request, &key));
        seen += 1;
    }
    assert_eq!(seen, 58);
}

fn answered_again<M: Message>(step: &Step) {
    match step.reply().open::<M>().expect("the recorded reply is understood") {
        Ok(answer) => {
            assert_eq!(step.status, 200, "{}", step.name);
            let again = ReplyEnvelope::success::<M>(&answer).expect("what was read can be written");
            assert_eq!(again.envelope.payloadtype, step.reply_payloadtype, "{}", step.name);
            let payload = decoded(&again.envelope.payload);
            assert!(contains(&payload, &step.reply), "{}: {payload}\n{}", step.name, step.reply);
        }
        Err(refusal) => {
            assert_eq!(refusal.status, step.status, "{}", step.name);
            let again = ReplyEnvelope::failure(refusal.status, refusal.message).expect("what was read can be written");
            assert_eq!((again.status, again.envelope.error), (step.status, true), "{}", step.name);
            let payload = decoded(&again.envelope.payload);
            assert_eq!(payload, step.reply, "{}", step.name);
        }
    }
}

#[test]
fn every_recorded_reply_is_understood_and_loses_nothing_when_it_is_sent_again() {
    for step in transcript().steps {
        let message_type = step.request().and_then(|request| MessageType::from_name(&request.payloadtype));
        let message_type = message_type.unwrap_or(MessageType::GetVersion);
        with_message!(message_type, answered_again(&step));
    }
}
