//! From the bytes of a request to its answer: envelope, signature, message, method.

use std::time::Duration;

use super::answer::{Answer, seal};
use super::jobs::Assignment;
use super::refusal::Refusal;
use super::{Shared, other_clients, quirks};
use crate::identity::IdentityId;
use crate::messages::{
    AddColony, AddExecutor, AddFunction, AddLog, AddUser, ApproveExecutor, AssignProcess, CancelProcess,
    ChangeColonyId, ChangeExecutorId, ChangeUserId, CloseFailed, CloseSuccessful, Empty, ExecutorState,
    GetColonyStatistics, GetExecutors, GetFunctions, GetProcess, GetProcesses, GetVersion, List, Message, MessageType,
    OpenError, PauseAssignments, Process, RemoveExecutor, RequestEnvelope, ResumeAssignments, SubmitFunctionSpec,
    Version,
};

/// Answers a request.
pub(super) async fn answer(shared: &Shared, body: &[u8]) -> Result<Answer, Refusal> {
    let refused = || Refusal::bad(quirks::body_error(body));
    // Serde would also accept an array of the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(refused());
    }
    let envelope: RequestEnvelope = serde_json::from_slice(body).map_err(|_| refused())?;
    let kind = MessageType::from_name(&envelope.payloadtype);
    // The version needs no valid key.
    if kind == Some(MessageType::GetVersion) {
        open::<GetVersion>(&envelope)?;
        return reply::<GetVersion>(Version {
            msgtype: MessageType::GetVersion.as_str().to_owned(),
            ..Version::default()
        });
    }
    let signer =
        envelope.signer().map_err(|error| Refusal::forbidden(quirks::signature_error(error, &envelope.signature)))?;
    match kind {
        Some(MessageType::AssignProcess) => assign(shared, &signer, open(&envelope)?).await,
        Some(kind) => answer_at_once(shared, kind, &signer, &envelope),
        None => other_clients::answer(shared, &signer, &envelope),
    }
}

fn answer_at_once(
    shared: &Shared,
    kind: MessageType,
    by: &IdentityId,
    envelope: &RequestEnvelope,
) -> Result<Answer, Refusal> {
    let now = shared.clock.now();
    let bytes = envelope.payload.len();
    let state = || shared.state();
    let done = |()| Empty;
    match kind {
        // The caller answers both: one before it looks at the signature, the other after a wait.
        MessageType::GetVersion | MessageType::AssignProcess => Err(Refusal::unknown_type(kind.as_str())),
        MessageType::AddColony => call::<AddColony>(envelope, |it| state().add_colony(by, it)),
        MessageType::AddUser => call::<AddUser>(envelope, |it| state().add_user(by, it)),
        MessageType::AddExecutor => call::<AddExecutor>(envelope, |it| state().add_executor(by, it, now)),
        MessageType::ApproveExecutor => call::<ApproveExecutor>(envelope, |it| {
            state().judge_executor(by, &it.colonyname, &it.executorname, ExecutorState::Approved).map(done)
        }),
        MessageType::RemoveExecutor => call::<RemoveExecutor>(envelope, |it| {
            state().remove_executor(by, &it.colonyname, &it.executorname).map(done)
        }),
        MessageType::AddFunction => call::<AddFunction>(envelope, |it| state().add_function(by, it)),
        MessageType::SubmitFunctionSpec => call::<SubmitFunctionSpec>(envelope, |it| {
            let (process, offer) = state().submit(by, it, bytes, now)?;
            shared.waiters.offer(&offer);
            Ok(process.into())
        }),
        MessageType::CloseSuccessful => {
            call::<CloseSuccessful>(envelope, |it| state().close_successful(by, it, bytes, now).map(done))
        }
        MessageType::CloseFailed => {
            call::<CloseFailed>(envelope, |it| state().close_failed(by, it, bytes, now).map(done))
        }
        MessageType::GetProcess => {
            call::<GetProcess>(envelope, |it| state().get_process(by, &it.processid).map(Into::into))
        }
        MessageType::GetProcesses => call::<GetProcesses>(envelope, |it| {
            let found = state().get_processes(by, &it)?;
            Ok(List(found.into_iter().map(Process::from).collect()))
        }),
        MessageType::CancelProcess => {
            call::<CancelProcess>(envelope, |it| state().cancel(by, &it.processid, now).map(done))
        }
        MessageType::AddLog => call::<AddLog>(envelope, |it| state().add_log(by, it, now).map(done)),
        MessageType::GetColonyStatistics => {
            let request = open::<GetColonyStatistics>(envelope)?;
            let found = state().statistics(by, &request.colonyname)?;
            found.map_or(Ok(Answer::Nothing), reply::<GetColonyStatistics>)
        }
        MessageType::GetFunctions => {
            call::<GetFunctions>(envelope, |it| state().get_functions(by, &it.colonyname, &it.executorname))
        }
        MessageType::GetExecutors => call::<GetExecutors>(envelope, |it| state().get_executors(by, &it.colonyname)),
        MessageType::PauseAssignments => {
            call::<PauseAssignments>(envelope, |it| state().pause(by, &it.colonyname, true).map(done))
        }
        MessageType::ResumeAssignments => call::<ResumeAssignments>(envelope, |it| {
            state().pause(by, &it.colonyname, false)?;
            shared.waiters.resume(&it.colonyname);
            Ok(Empty)
        }),
        MessageType::ChangeUserId => call::<ChangeUserId>(envelope, |it| state().change_user_id(by, it)),
        MessageType::ChangeExecutorId => call::<ChangeExecutorId>(envelope, |it| state().change_executor_id(by, it)),
        MessageType::ChangeColonyId => call::<ChangeColonyId>(envelope, |it| state().change_colony_id(by, it)),
    }
}

/// Gives the signer a process, either at once or when one arrives within the wait. With a negative wait it does not
/// wait at all.
async fn assign(shared: &Shared, by: &IdentityId, request: AssignProcess) -> Result<Answer, Refusal> {
    let colony = &request.colonyname;
    let (kind, name) = shared.state().require_executor(by, colony, request.timeout)?;
    let attempt = || shared.state().assign(by, colony, &kind, &name, shared.clock.now());
    let Ok(seconds) = u64::try_from(request.timeout) else {
        return match attempt()? {
            Assignment::Taken(process) => reply::<AssignProcess>((*process).into()),
            Assignment::Nothing => Err(Refusal::new(404, "No process available for assignment")),
            Assignment::Paused => Err(Refusal::new(503, "No processes available: colony assignments are paused")),
        };
    };
    let waiter = shared.waiters.join(colony, &kind, &name)?;
    let mut paused = false;
    let wait = async {
        loop {
            let (anybody, named, resumed) =
                (waiter.anybody.notified(), waiter.named.notified(), waiter.resumed.notified());
            match attempt()? {
                Assignment::Taken(process) => return Ok(process),
                Assignment::Nothing => {
                    paused = false;
                    tokio::select! {
                        () = anybody => {}
                        () = named => {}
                    }
                }
                Assignment::Paused => {
                    paused = true;
                    resumed.await;
                }
            }
        }
    };
    let limit = Duration::from_secs(seconds).min(shared.bounds.work_wait_max);
    let ended = tokio::select! {
        ended = tokio::time::timeout(limit, wait) => ended,
        () = shared.stop.cancelled() => return Err(Refusal::new(503, "The embedded server is stopping")),
    };
    match ended {
        Ok(process) => reply::<AssignProcess>((*process?).into()),
        Err(_) if paused => Err(Refusal::new(408, "Assignment timeout: colony assignments are paused")),
        Err(_) => Err(Refusal::new(404, "No process available for assignment")),
    }
}

fn call<M: Message>(
    envelope: &RequestEnvelope,
    method: impl FnOnce(M) -> Result<M::Reply, Refusal>,
) -> Result<Answer, Refusal> {
    reply::<M>(method(open::<M>(envelope)?)?)
}

fn open<M: Message>(envelope: &RequestEnvelope) -> Result<M, Refusal> {
    envelope.open().map_err(|error| match error {
        OpenError::Base64(_) | OpenError::Json(_) => Refusal::invalid_json(M::TYPE),
        OpenError::OtherType { .. } => Refusal::other_type(M::TYPE),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "callers hand over what they just made")]
fn reply<M: Message>(answer: M::Reply) -> Result<Answer, Refusal> {
    seal(M::TYPE.as_str(), &answer)
}
