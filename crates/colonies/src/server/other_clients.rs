//! Messages that the client of this crate never sends, but that other clients of a Colonies server do.
//!
//! Only what a small executor or an operator's tool needs around jobs. Workflows, files, crons, generators, blueprints,
//! channels and subscriptions are not here: their messages are refused like unknown ones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::answer::{Answer, seal};
use super::refusal::Refusal;
use crate::identity::IdentityId;
use crate::messages::{Empty, ExecutorState, List, RequestEnvelope};

/// The fields of all these messages. Each message uses some of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    msgtype: String,
    colonyname: String,
    executorname: String,
    processid: String,
    name: String,
    count: i64,
    since: i64,
    latest: bool,
}

#[derive(Serialize)]
struct PauseStatus<'a> {
    msgtype: &'a str,
    colonyname: &'a str,
    ispaused: bool,
}

/// Answers one of these messages, or refuses its type.
pub(super) fn answer(shared: &Shared, by: &IdentityId, envelope: &RequestEnvelope) -> Result<Answer, Refusal> {
    let kind = envelope.payloadtype.as_str();
    let failed = match kind {
        "rejectexecutormsg" => "reject executor",
        "getexecutormsg" => "get executor",
        "getlogsmsg" => "get logs",
        "getpausestatusmsg" => "get pause status",
        "getcolonymsg" => "get colony",
        "removecolonymsg" => "remove colony",
        "getusersmsg" => "get users",
        "removeusermsg" => "remove user",
        _ => return Err(Refusal::unknown_type(kind)),
    };
    let json = STANDARD.decode(&envelope.payload).unwrap_or_default();
    let fields: Fields =
        serde_json::from_slice(&json).map_err(|_| Refusal::bad(format!("Failed to {failed}, invalid JSON")))?;
    if fields.msgtype != kind {
        return Err(Refusal::bad(format!("Failed to {failed}, msg.MsgType does not match payloadType")));
    }
    let (colony, executor) = (fields.colonyname.as_str(), fields.executorname.as_str());
    let mut state = shared.state();
    match kind {
        "rejectexecutormsg" => {
            state.judge_executor(by, colony, executor, ExecutorState::Rejected)?;
            seal(kind, &Empty)
        }
        "getexecutormsg" => seal(kind, &state.get_executor(by, colony, executor)?),
        "getlogsmsg" => {
            if !executor.is_empty() {
                return Err(Refusal::internal("The embedded server keeps logs by process only"));
            }
            seal(kind, &state.get_logs(by, &fields.processid, fields.count, fields.since, fields.latest)?)
        }
        "getpausestatusmsg" => {
            state.require_member(by, colony)?;
            let ispaused = state.paused.contains(colony);
            let kind = "pausestatusreplymsg";
            seal(kind, &PauseStatus { msgtype: kind, colonyname: colony, ispaused })
        }
        "getcolonymsg" => {
            state.require_approved_member(by, colony)?;
            seal(kind, &state.colonies.get(colony))
        }
        "removecolonymsg" => {
            state.remove_colony(by, colony)?;
            seal(kind, &Empty)
        }
        "getusersmsg" => {
            state.require_member(by, colony)?;
            seal(kind, &List(state.users_of(colony).collect::<Vec<_>>()))
        }
        "removeusermsg" => {
            state.remove_user(by, colony, &fields.name)?;
            seal(kind, &Empty)
        }
        _ => Err(Refusal::unknown_type(kind)),
    }
}
