//! Asking about a process whose end may not be written as a whole yet.
//!
//! A Colonies server (1.9) marks a process as failed first, and writes why with a later statement. A gateway that asks in between
//! would take a lost lease for the refusal of a bee.

use std::time::Duration;

use colonies::client::ClientError;
use colonies::messages::{Process, ProcessState};

/// The time in which a server writes the reason.
const WRITTEN_WITHIN: Duration = Duration::from_millis(500);

/// Asks about a process, and asks once more if the process has failed and has no reason. The second answer has none either if the
/// bee gave none, or if the server died between the two statements.
pub(super) async fn with_reason<F>(ask: impl Fn() -> F) -> Result<Process, ClientError>
where
    F: Future<Output = Result<Process, ClientError>>,
{
    let answer = ask().await;
    let lacks_reason = |process: &Process| process.state == ProcessState::Failed && process.errors.is_empty();
    if !answer.as_ref().is_ok_and(lacks_reason) {
        return answer;
    }
    tokio::time::sleep(WRITTEN_WITHIN).await;
    // Without a second answer, the first one has nothing that could be believed.
    ask().await
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    async fn told(answers: &[(ProcessState, &[&str])]) -> (Vec<String>, usize) {
        let left = RefCell::new(answers.iter());
        let process = with_reason(|| async {
            let (state, errors) = left.borrow_mut().next().expect("it is asked no more often");
            Ok(Process {
                state: *state,
                errors: errors.iter().map(|&error| error.to_owned()).collect(),
                ..Process::default()
            })
        });
        let errors = process.await.unwrap().errors;
        let unasked = left.borrow().len();
        (errors, answers.len() - unasked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_process_without_a_reason_is_asked_about_once_more() {
        let (failed, lost) = (ProcessState::Failed, "Maximum execution time limit exceeded");
        assert_eq!(told(&[(failed, &[]), (failed, &[lost])]).await, (vec![lost.to_owned()], 2));
        assert_eq!(told(&[(failed, &[]), (failed, &[])]).await, (vec![], 2), "the bee gave no reason");
        assert_eq!(told(&[(failed, &[lost]), (failed, &[])]).await, (vec![lost.to_owned()], 1));
        assert_eq!(told(&[(ProcessState::Success, &[]), (failed, &[])]).await, (vec![], 1));
    }
}
