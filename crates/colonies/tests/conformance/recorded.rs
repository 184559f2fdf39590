//! Replays the calls that were recorded on a real server against the embedded one, in their order, and compares
//! statuses, content types and replies up to generated ids and times.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use colonies::identity::{self, PrivateKey};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::{Target, World};

#[derive(Deserialize)]
struct Transcript {
    keys: BTreeMap<String, String>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    name: String,
    status: u16,
    content_type: String,
    request_body: Value,
    reply: Value,
    reply_error: bool,
    reply_payloadtype: String,
}

/// Long enough for the leases and waits of a second in the recording.
const OVER: Duration = Duration::from_secs(3);

const ZERO: &str = "0001-01-01T00:00:00Z";

#[tokio::test]
async fn recorded_calls_are_answered_as_the_real_server_answered_them() {
    let transcript: Transcript =
        serde_json::from_str(include_str!("../fixtures/transcript.json")).expect("the fixture is well formed");
    let keys: HashMap<String, PrivateKey> = transcript
        .keys
        .values()
        .map(|hex| PrivateKey::from_hex(hex).unwrap())
        .map(|key| (key.id().to_string(), key))
        .collect();
    // The colony that the world makes is a different one.
    let world = World::on(&Target::embedded().await).await;
    let mut ids = Ids::default();
    assert_eq!(transcript.steps.len(), 61);
    for step in &transcript.steps {
        if step.name.starts_with("get process after") {
            world.pass(OVER).await;
        }
        let reply = world.post(ids.translate(&step.request_body, &keys)).await;
        let name = &step.name;
        assert_eq!(reply.status, step.status, "{name}: {reply:?}");
        assert_eq!(reply.content_type, step.content_type, "{name}");
        assert_eq!((reply.error, &reply.payloadtype), (step.reply_error, &step.reply_payloadtype), "{name}");
        ids.compare(name, "reply", &step.reply, &reply.payload);
    }
}

/// Ids that servers generate: the recorded ones, and their counterparts here.
#[derive(Default)]
struct Ids(HashMap<String, String>);

impl Ids {
    /// The body to post. It is the recorded one, byte for byte, unless it names a generated id. Then the id is
    /// replaced and the key that had signed the payload signs it again.
    fn translate(&self, body: &Value, keys: &HashMap<String, PrivateKey>) -> String {
        let Some(payload) = body["payload"].as_str() else {
            return body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        };
        let mut text = String::from_utf8(STANDARD.decode(payload).unwrap()).unwrap();
        for (recorded, ours) in &self.0 {
            text = text.replace(recorded, ours);
        }
        let translated = STANDARD.encode(text);
        let mut body = body.clone();
        if translated != payload {
            let signer = identity::recover(payload, body["signature"].as_str().unwrap()).unwrap();
            body["signature"] = json!(keys[signer.as_str()].sign(&translated));
            body["payload"] = json!(translated);
        }
        body.to_string()
    }

    /// Compares two replies. Generated ids must correspond throughout; times must be set or unset alike.
    fn compare(&mut self, step: &str, at: &str, recorded: &Value, ours: &Value) {
        match (recorded, ours) {
            (Value::Object(recorded_fields), Value::Object(fields)) => {
                let names: Vec<_> = recorded_fields.keys().collect();
                assert_eq!(names, fields.keys().collect::<Vec<_>>(), "{step}: fields of {at}");
                for (field, value) in recorded_fields {
                    let at = format!("{at}.{field}");
                    match field.as_str() {
                        "processid" | "targetid" | "attributeid" | "functionid" => {
                            let (value, ours) = (value.as_str().unwrap(), fields[field].as_str().unwrap());
                            let known = self.0.entry(value.to_owned()).or_insert_with(|| ours.to_owned());
                            assert_eq!(known, ours, "{step}: {at}");
                        }
                        // Another test compares this with the time of submission.
                        "prioritytime" => assert!(fields[field].is_i64(), "{step}: {at}"),
                        field if field.ends_with("time") && value.is_string() => {
                            assert_eq!(value == ZERO, fields[field] == ZERO, "{step}: {at} is {}", fields[field]);
                        }
                        "execdeadline" | "waitdeadline" => {
                            assert_eq!(value == ZERO, fields[field] == ZERO, "{step}: {at} is {}", fields[field]);
                        }
                        _ => self.compare(step, &at, value, &fields[field]),
                    }
                }
            }
            (Value::Array(recorded), Value::Array(ours)) => {
                assert_eq!(recorded.len(), ours.len(), "{step}: length of {at}");
                for (number, (recorded, ours)) in recorded.iter().zip(ours).enumerate() {
                    self.compare(step, &format!("{at}[{number}]"), recorded, ours);
                }
            }
            (recorded, ours) => assert_eq!(recorded, ours, "{step}: {at}"),
        }
    }
}
