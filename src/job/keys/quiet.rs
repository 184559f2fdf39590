//! Rotates an executor's key while its bees rest.
//!
//! Colonies 1.9.12 dies of a nil pointer when an executor's id changes at the very moment in which it closes a process. So
//! the owner pauses the colony's assignments, the executors finish what they hold, their ids change, and assignments go on,
//! whatever came of it. Submitting goes on all the time.
//!
//! Does not: know whether the colony was paused before; it resumes assignments in any case. If the command is killed, the
//! colony stays paused until another run, or `resume`, ends the pause.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use colonies::client::{Client, ClientError, Member, Owner, Search};
use colonies::identity::PrivateKey;
use colonies::messages::{PROCESSES_COUNT_MAX, ProcessState};

use super::Role;
use super::files;
use super::rotate::{RotateError, Rotated, next_path, private_key, rotate_executor};

/// Time between two looks at what the executors hold.
const LOOK: Duration = Duration::from_millis(500);

/// Time between two attempts to resume assignments.
const RESUME_PAUSE: Duration = Duration::from_secs(1);

/// Most attempts to resume assignments.
const RESUME_ATTEMPTS_MAX: u32 = 10;

/// As [`rotate_executor`], with the colony's assignments paused. Waits at most `patience` for the executors to finish, and
/// gives up when `stop` resolves. In both cases nothing changes.
///
/// # Errors
/// Those of [`rotate_executor`]; [`RotateError::Busy`] if the executors still work after `patience`;
/// [`RotateError::StillPaused`] if assignments could not be resumed.
pub async fn rotate_executor_at_rest(
    client: &Client,
    owner: &Owner,
    path: &Path,
    patience: Duration,
    stop: impl Future<Output = ()>,
) -> Result<Rotated, RotateError> {
    if let Err(error) = owner.pause_assignments().await {
        // The pause may be in effect although its answer was lost.
        if error.may_have_acted() {
            resume(owner).await?;
        }
        return Err(error.into());
    }
    let rotated = tokio::select! {
        rotated = rotate_at_rest(client, owner.colony(), path, patience) => rotated,
        () = stop => Err(RotateError::Interrupted),
    };
    resume(owner).await?;
    rotated
}

async fn rotate_at_rest(
    client: &Client,
    colony: &str,
    path: &Path,
    patience: Duration,
) -> Result<Rotated, RotateError> {
    let current = private_key(&files::load(Role::Executor, path)?)?;
    let next = match files::load(Role::Executor, &next_path(path)) {
        Ok(pair) => Some(private_key(&pair)?),
        Err(_) => None,
    };
    let keys: Vec<PrivateKey> = std::iter::once(current).chain(next).collect();
    let rested = tokio::time::timeout(patience, async {
        while holds_work(client, colony, &keys).await? {
            tokio::time::sleep(LOOK).await;
        }
        Ok::<(), RotateError>(())
    });
    match rested.await {
        Ok(rested) => rested?,
        Err(_) => return Err(RotateError::Busy { patience }),
    }
    rotate_executor(client, colony, path).await
}

/// Whether an executor with one of these keys, or with one derived from them, holds a process.
async fn holds_work(client: &Client, colony: &str, keys: &[PrivateKey]) -> Result<bool, RotateError> {
    let search = Search { state: ProcessState::Running, count: PROCESSES_COUNT_MAX, ..Search::default() };
    let Some(member) = known(client, colony, keys).await? else { return Ok(false) };
    let executors = member.executors().await?;
    let ours = |id: &str| {
        let derived = executors.iter().filter(|executor| executor.executorid == id);
        keys.iter().any(|key| key.id().as_str() == id)
            || derived.into_iter().any(|executor| {
                keys.iter().any(|key| key.derive(&executor.executorname).id().as_str() == executor.executorid)
            })
    };
    let running = member.processes(&search).await?;
    // A full page may hide some of our processes behind those of others.
    let full = u32::try_from(running.len()).is_ok_and(|count| count >= PROCESSES_COUNT_MAX);
    Ok(full || running.iter().any(|process| ours(&process.assignedexecutorid)))
}

/// The member with the first key that the colony knows.
async fn known(client: &Client, colony: &str, keys: &[PrivateKey]) -> Result<Option<Member>, RotateError> {
    for key in keys {
        let member = client.member(colony, Arc::new(key.clone()));
        match member.statistics().await {
            Ok(_) => return Ok(Some(member)),
            Err(ClientError::NotMember { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // No executor holds a process under an unknown key. The rotation itself will say what to do.
    Ok(None)
}

async fn resume(owner: &Owner) -> Result<(), RotateError> {
    let mut attempts = 1;
    loop {
        match owner.resume_assignments().await {
            Ok(()) => return Ok(()),
            Err(source) if attempts >= RESUME_ATTEMPTS_MAX => {
                return Err(RotateError::StillPaused { colony: owner.colony().to_owned(), source });
            }
            Err(_) => {
                attempts += 1;
                tokio::time::sleep(RESUME_PAUSE).await;
            }
        }
    }
}
