//! The messages of the Colonies protocol: what is asked, what is answered, and the signed envelope around both.
//!
//! Client and embedded server use the same types, so both directions are serialised and parsed here and nowhere else.
//! Fields carry the names of the wire. Parsing follows the Go server: a field that is missing or null has its zero
//! value, and a field that is unknown is ignored, so that newer servers and other SDKs are understood.
//!
//! Does not: judge who may ask what, or what a missing value means. Source of the formats: the Go packages `rpc` and
//! `core` of Colonies 1.9.12, checked against recorded calls.

mod envelope;
mod objects;
mod process;
mod requests;
mod time;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

pub use envelope::{ErrorReply, OpenError, ReplyEnvelope, RequestEnvelope, SealedReply};
pub use objects::{
    Allocations, Capabilities, Colony, Empty, Executor, ExecutorState, Function, InvalidState, List, Statistics, User,
    Version,
};
pub use process::{Attribute, Conditions, Filesystem, FunctionSpec, Gpu, Process, ProcessState};
pub use requests::{
    AddColony, AddExecutor, AddFunction, AddLog, AddUser, ApproveExecutor, AssignProcess, CancelProcess,
    ChangeColonyId, ChangeExecutorId, ChangeUserId, CloseFailed, CloseSuccessful, Echo, GetColonyStatistics,
    GetExecutors, GetFunctions, GetProcess, GetProcesses, GetVersion, MessageType, PauseAssignments, RemoveExecutor,
    ResumeAssignments, SubmitFunctionSpec,
};
pub use time::WireTime;

/// Most processes that one `getprocessesmsg` may ask for.
pub const PROCESSES_COUNT_MAX: u32 = 100;

/// A request: its type on the wire, and the server's answer if it succeeds.
pub trait Message: Serialize + DeserializeOwned {
    /// Type of the message.
    const TYPE: MessageType;
    /// Payload of the answer.
    type Reply: Serialize + DeserializeOwned;
}

/// Reads null as the default value, as Go does.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Defines structs of the wire, in which every field may be missing or null.
macro_rules! wire {
    ($($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(default, deserialize_with = "crate::messages::null_as_default")]
                pub $field: $type,
            )*
        }
    )*};
}
use wire;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::Moment;

    fn envelope(message_type: &str, payload: &str) -> RequestEnvelope {
        RequestEnvelope {
            payloadtype: message_type.to_owned(),
            payload: STANDARD.encode(payload),
            signature: String::new(),
        }
    }

    #[test]
    fn what_is_missing_null_or_unknown_is_read_as_go_reads_it() {
        let payload = json!({
            "msgtype": "submitfuncspecmsg",
            "spec": {"funcname": "f", "args": null, "kwargs": null, "label": null, "new": {"field": [1]}},
        });
        let message: SubmitFunctionSpec = envelope("submitfuncspecmsg", &payload.to_string()).open().unwrap();
        let spec = FunctionSpec { funcname: "f".to_owned(), ..FunctionSpec::default() };
        assert_eq!(message.spec, spec);
    }

    #[test]
    fn a_message_must_repeat_its_own_type() {
        for (payload, found) in [(r#"{"processid":"p"}"#, ""), (r#"{"msgtype":null}"#, ""), (r#"{"msgtype":"x"}"#, "x")]
        {
            let refused = envelope("getprocessmsg", payload).open::<GetProcess>().unwrap_err();
            assert!(matches!(refused, OpenError::OtherType { found: ref name, .. } if name == found), "{refused:?}");
        }
    }

    #[test]
    fn types_and_their_names_are_one_to_one() {
        for message_type in MessageType::ALL {
            assert_eq!(MessageType::from_name(message_type.as_str()), Some(*message_type));
        }
        assert_eq!(MessageType::from_name("nosuchmsg"), None);
    }

    #[test]
    fn a_lease_ends_after_its_time_and_one_without_end_has_none() {
        let mut process = Process { starttime: Moment::from_seconds(100).into(), ..Process::default() };
        for endless in [-1, 0] {
            process.spec.maxexectime = endless;
            assert_eq!((process.lease(), process.lease_end()), (None, None));
        }
        process.spec.maxexectime = 30;
        assert_eq!(process.lease_end(), Some(Moment::from_seconds(130)));
        process.starttime = WireTime::default();
        assert_eq!(process.lease_end(), None);
    }

    #[test]
    fn a_number_that_is_no_state_is_refused() {
        for (number, is_process, is_executor) in [(0, true, true), (3, true, true), (4, true, false), (5, false, false)]
        {
            assert_eq!(ProcessState::try_from(number).is_ok(), is_process, "{number}");
            assert_eq!(ExecutorState::try_from(number).is_ok(), is_executor, "{number}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "\\PC{0,80}", json in "[\\[\\]{}:,\"a-z0-9 ]{0,60}") {
            for payload in [&text, &json, &STANDARD.encode(&text), &STANDARD.encode(&json)] {
                let request = RequestEnvelope { payload: payload.clone(), ..RequestEnvelope::default() };
                let _ = request.open::<SubmitFunctionSpec>();
                let _ = request.signer();
                for error in [false, true] {
                    let payloadtype = "assignprocessmsg".to_owned();
                    let reply = ReplyEnvelope { payloadtype, payload: payload.clone(), error };
                    let _ = reply.open::<AssignProcess>();
                }
                let _ = serde_json::from_str::<ReplyEnvelope>(payload);
            }
        }
    }
}
