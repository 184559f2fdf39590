//! Jobs that bees refused lately, which says something about a bee, a key or a database.

use std::collections::BTreeSet;
use std::time::Duration;

use colonies::client::{Member, Search};
use colonies::messages::{Process, ProcessState};

use super::Diagnosis;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::counted::counted;
use crate::job::completion;

/// Older refusals are history.
const LATELY: Duration = Duration::from_mins(15);

/// Most failed processes that are read, the newest first.
const LOOK_MAX: u32 = 50;

/// Most bees and codes named.
const NAMED_MAX: usize = 3;

/// Refused jobs that the server knows of; `None` if there are none lately, or it does not tell.
pub(super) async fn probe(member: &Member, kind: &str, clock: &Clock) -> Option<Diagnosis> {
    let search =
        Search { state: ProcessState::Failed, count: LOOK_MAX, executor_type: kind.to_owned(), ..Search::default() };
    judge(&member.processes(&search).await.ok()?, clock.now())
}

fn judge(failed: &[Process], now: Timestamp) -> Option<Diagnosis> {
    let is_late = |process: &&Process| {
        process.endtime.0.is_some_and(|end| now.since(Timestamp::from_millis(end.millis())) <= LATELY)
    };
    let mut said: BTreeSet<String> = BTreeSet::new();
    let mut count = 0_usize;
    for process in failed.iter().filter(is_late) {
        let (code, _) = completion::read_failure(&process.errors);
        // A lost lease is not a refusal.
        if code == completion::CODE_UNKNOWN {
            continue;
        }
        count += 1;
        let executor: String =
            process.assignedexecutorid.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        said.insert(format!("executor {executor}: {code}"));
    }
    if count == 0 {
        return None;
    }
    let named: Vec<String> = said.into_iter().take(NAMED_MAX).collect();
    let action = "other_ledger: give that bee the gateway's database; attestation_…: its public keys and its clock; \
                  sealed_…: its key of sealed jobs. Its log has the same line";
    let detail = format!(
        "bees refused {} within 15 min ({}); what was refused went the direct route",
        counted(count, "job", "jobs"),
        named.join(", ")
    );
    Some(Diagnosis::degraded("jobs", detail, action))
}

#[cfg(test)]
mod tests {
    use colonies::messages::WireTime;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_770_000_000);

    fn failed(error: &str, ago: Duration) -> Process {
        let end = colonies::Moment::from_millis(NOW.minus(ago).millis());
        Process {
            assignedexecutorid: "0af3".to_owned(),
            errors: vec![error.to_owned()],
            endtime: WireTime(Some(end)),
            ..Process::default()
        }
    }

    #[test]
    fn refusals_name_the_bee_and_what_is_old_or_a_lost_lease_says_nothing() {
        let lost = failed("Maximum execution time limit exceeded", Duration::ZERO);
        let old = failed("other_ledger: no", LATELY + Duration::from_secs(1));
        assert_eq!(judge(&[lost.clone(), old], NOW), None);
        let found = judge(&[lost, failed("other_ledger: no", LATELY)], NOW).unwrap();
        assert!(
            found.detail.contains("refused 1 job within") && found.detail.contains("0af3: other_ledger"),
            "{found:?}"
        );
    }
}
