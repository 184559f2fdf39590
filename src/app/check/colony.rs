//! The Colonies server, our place in the colony, its bees, and their heartbeats.

use std::sync::Arc;
use std::time::Duration;

use colonies::client::{ClientError, Member};
use colonies::messages::{Executor, ExecutorState};

use super::Diagnosis;
use crate::app::colony as parts;
use crate::bees::heartbeat;
use crate::config::{ColonyConfig, Config};
use crate::domain::causes::chain;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::counted::{counted, lasting};
use crate::domain::secret::Secret;

/// An executor that asked for work within this time is at work. It is longer than the longest poll.
const SEEN_MAX: Duration = Duration::from_mins(2);

/// A bee that was silent for longer is gone, such as after scaling down, and is not missed.
const GONE_AFTER: Duration = Duration::from_hours(1);

/// How long new bees have, after they were added, to be at work.
const START_MAX: Duration = Duration::from_mins(1);

/// Time between two looks at the processes. If some wait at both and none runs, they are stuck.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// Longest wait for Redis.
const REDIS_MAX: Duration = Duration::from_secs(2);

pub(super) async fn probe(config: &Config, clock: &Clock) -> Vec<Diagnosis> {
    let settings = &config.colony;
    if !settings.enabled && settings.servers.is_none() {
        let mut findings = vec![
            Diagnosis::none("colony", "USE_COLONY_OS is off: entries take the direct route"),
            Diagnosis::none("bees", "no colony"),
        ];
        findings.push(hearts(config, &[]).await);
        return findings;
    }
    let mut refused = None;
    let (colony, bees) = match server(config).await {
        Ok((colony, Some(member))) => {
            refused = super::refusals::probe(&member, &settings.executor_type, clock).await;
            (colony, Ok(member.executors().await.ok()))
        }
        Ok((colony, None)) => (colony, Err(Diagnosis::none("bees", "there is no key here to ask the colony with"))),
        Err(colony) => (colony, Ok(None)),
    };
    let bees = bees.map(|bees| {
        bees.map(|mut bees| {
            bees.retain(|bee| is_ours(bee, &settings.executor_type));
            bees
        })
    });
    // Bees that are gone, such as after scaling down, have no heartbeat and need none.
    let at_work = bees.iter().flatten().flatten().filter(|bee| is_at_work(bee, clock));
    let names: Vec<String> = at_work.map(|bee| bee.executorname.clone()).collect();
    let bees = bees.map_or_else(|none| none, |bees| judge_bees(bees.as_deref(), &settings.executor_type, clock));
    let mut findings = vec![colony, bees, hearts(config, &names).await];
    findings.extend(refused);
    findings
}

/// This machine's key in the colony: that of a gateway's user, or of the executor of separate bees.
fn own_key(settings: &ColonyConfig) -> Option<(&Secret, &'static str)> {
    let user = settings.user_key.as_ref().map(|key| (key, "COLONIES_USER_PRVKEY"));
    user.or(settings.executor_key.as_ref().map(|key| (key, "COLONIES_EXECUTOR_PRVKEY")))
}

/// The server, and this machine's member there.
async fn server(config: &Config) -> Result<(Diagnosis, Option<Member>), Diagnosis> {
    const NAME: &str = "colony";
    let settings = &config.colony;
    let misconfigured = |error: crate::config::ConfigError| {
        Diagnosis::down(NAME, error.to_string().replace('\n', " "), "complete the COLONIES_… settings")
    };
    let client = parts::client(settings).map_err(misconfigured)?;
    if let Err(error) = client.health().await {
        let action = "start the Colonies server or repair the connection to it; until then entries take the direct \
                      route";
        return Err(Diagnosis::down(NAME, chain(&error), action));
    }
    let version = client.version().await.map(|version| version.buildversion).unwrap_or_default();
    let (Some(colony), Some((key, variable))) = (&settings.colony, own_key(settings)) else {
        return Ok((Diagnosis::ok(NAME, format!("the server answers, version {version}")), None));
    };
    let key = parts::key(Some(key), variable, "").map_err(misconfigured)?;
    let id = key.id().clone();
    let member = client.member(colony.clone(), Arc::clone(&key));
    match member.statistics().await {
        Ok(statistics) => {
            let (waiting, running) = (statistics.waitingprocesses, statistics.runningprocesses);
            let detail = format!(
                "version {version}, {colony}: member, {} waiting, {running} running",
                counted(waiting, "process", "processes")
            );
            if waiting > 0 && running == 0 && is_stuck(&member).await {
                let action =
                    "look at the bees: does one take jobs, with this colony's type and a key that it believes?";
                let detail = format!("{detail}; no bee takes them");
                return Ok((Diagnosis::degraded(NAME, detail, action), Some(member)));
            }
            Ok((Diagnosis::ok(NAME, detail), Some(member)))
        }
        Err(ClientError::NotMember { .. } | ClientError::NotApproved { .. } | ClientError::UnknownColony { .. }) => {
            let detail = format!("the server knows no member {id} of a colony {colony}");
            let action = if variable == "COLONIES_USER_PRVKEY" {
                "run `colony-gateway colony setup`, or check COLONIES_COLONY_NAME and the key"
            } else {
                "start the bees, which say who has to approve them, or check COLONIES_COLONY_NAME and the key"
            };
            Err(Diagnosis::down(NAME, detail, action))
        }
        Err(error) => Err(Diagnosis::down(NAME, chain(&error), "see the log of the Colonies server")),
    }
}

/// Whether an executor is one of the bees, and was neither removed nor rejected.
fn is_ours(bee: &Executor, kind: &str) -> bool {
    bee.executortype == kind && !matches!(bee.state, ExecutorState::Unregistered | ExecutorState::Rejected)
}

/// Whether a little later processes still wait and none runs.
async fn is_stuck(member: &Member) -> bool {
    tokio::time::sleep(SECOND_LOOK).await;
    let again = member.statistics().await;
    again.is_ok_and(|statistics| statistics.waitingprocesses > 0 && statistics.runningprocesses == 0)
}

fn judge_bees(bees: Option<&[Executor]>, kind: &str, clock: &Clock) -> Diagnosis {
    const NAME: &str = "bees";
    let Some(bees) = bees else {
        return Diagnosis::down(NAME, "unknown, because the colony cannot be asked", "mend the colony first");
    };
    let (awake, pending) = (bees.iter().filter(|bee| is_at_work(bee, clock)).count(), waiting(bees));
    let detail = format!("{} of type {kind}, {awake} seen within 2 min", counted(bees.len(), "executor", "executors"));
    if let Some((name, id)) = pending {
        let action =
            format!("run `colony-gateway colony setup --executor {name}={id}` where COLONIES_COLONY_PRVKEY is");
        return Diagnosis::degraded(NAME, format!("{detail}; {name} waits for approval"), action);
    }
    let silent = silent(bees, clock);
    if awake == 0 {
        // Bees register first, and then ask for work.
        if silent.is_empty() && bees.iter().any(|bee| is_starting(bee, clock)) {
            return Diagnosis::ok(NAME, format!("{detail}; they are starting"));
        }
        return Diagnosis::down(NAME, detail, "start bees (`colony-gateway bee`, or BEE_COUNT in `serve`)");
    }
    if !silent.is_empty() {
        let action = "look at its log; when it was stopped for good, `check` forgets it after an hour";
        return Diagnosis::degraded(NAME, format!("{detail}; silent for minutes: {}", silent.join(", ")), action);
    }
    Diagnosis::ok(NAME, detail)
}

/// Bees that were at work within the hour and have now been silent for minutes.
fn silent<'a>(bees: &'a [Executor], clock: &Clock) -> Vec<&'a str> {
    let is_silent = |bee: &&Executor| {
        let silence = heard(bee).map(|heard| clock.now().since(heard));
        bee.state == ExecutorState::Approved
            && silence.is_some_and(|silence| silence > SEEN_MAX && silence <= GONE_AFTER)
    };
    bees.iter().filter(is_silent).map(|bee| bee.executorname.as_str()).collect()
}

/// Whether a bee was added so recently that it need not have asked for work.
fn is_starting(bee: &Executor, clock: &Clock) -> bool {
    let known = bee.commissiontime.0.map(|moment| Timestamp::from_millis(moment.millis()));
    bee.state == ExecutorState::Approved && known.is_some_and(|known| clock.now().since(known) <= START_MAX)
}

fn heard(bee: &Executor) -> Option<Timestamp> {
    bee.lastheardfromtime.0.map(|heard| Timestamp::from_millis(heard.millis()))
}

/// Whether a bee is approved and has asked for work recently.
fn is_at_work(bee: &Executor, clock: &Clock) -> bool {
    bee.state == ExecutorState::Approved && heard(bee).is_some_and(|heard| clock.now().since(heard) <= SEEN_MAX)
}

/// Name and id of a bee that the owner has not approved.
fn waiting(bees: &[Executor]) -> Option<(&str, &str)> {
    let pending = bees.iter().find(|bee| bee.state == ExecutorState::Pending);
    pending.map(|bee| (bee.executorname.as_str(), bee.executorid.as_str()))
}

async fn hearts(config: &Config, names: &[String]) -> Diagnosis {
    const NAME: &str = "heartbeat";
    let Some(url) = &config.heartbeat else {
        return Diagnosis::none(NAME, "REDIS_URL is not set");
    };
    match heartbeat::find(url, names, REDIS_MAX).await {
        Err(error) => {
            Diagnosis::degraded(NAME, chain(&error), "start Redis or check REDIS_URL; only heartbeats need it")
        }
        Ok(found) => {
            let silent: Vec<&str> =
                found.iter().filter(|found| found.age.is_none()).map(|found| found.executor.as_str()).collect();
            let oldest = found.iter().filter_map(|found| found.age).max().unwrap_or_default();
            let (beats, oldest) = (found.len() - silent.len(), lasting(oldest));
            let detail = format!("Redis answers, {beats} heartbeats, the oldest {oldest} old");
            if silent.is_empty() {
                Diagnosis::ok(NAME, detail)
            } else {
                let detail = format!("{detail}; none of {}", silent.join(", "));
                Diagnosis::degraded(NAME, detail, "look at these bees, and whether their REDIS_URL is the same")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::check::CheckStatus;

    fn bee(name: &str, state: ExecutorState, known: u64, heard: Option<u64>, clock: &Clock) -> Executor {
        let ago = |seconds| colonies::Moment::from_millis(clock.now().minus(Duration::from_secs(seconds)).millis());
        Executor {
            executorname: name.to_owned(),
            executortype: "bee".to_owned(),
            state,
            commissiontime: ago(known).into(),
            lastheardfromtime: heard.map(ago).map(Into::into).unwrap_or_default(),
            ..Executor::default()
        }
    }

    #[test]
    fn bees_are_judged_by_when_they_last_asked_for_work() {
        let clock = Clock::manual(Timestamp::from_seconds(1_800_000_000));
        let judged = |bees: &[Executor]| {
            let found = judge_bees(Some(bees), "bee", &clock);
            (found.status, found.detail)
        };
        let approved = |name, known, heard| bee(name, ExecutorState::Approved, known, heard, &clock);
        let (status, detail) = judged(&[approved("new", 10, None)]);
        assert!(status == CheckStatus::Ok && detail.contains("starting"), "{detail}");
        assert_eq!(judged(&[approved("late", 90, None)]).0, CheckStatus::Down);
        let (status, detail) = judged(&[approved("busy", 9000, Some(5)), approved("mute", 9000, Some(300))]);
        assert!(status == CheckStatus::Degraded && detail.contains("silent for minutes: mute"), "{detail}");
        let scaled_down = [approved("busy", 9000, Some(5)), approved("gone", 9000, Some(7200))];
        assert_eq!(judged(&scaled_down).0, CheckStatus::Ok);
        assert_eq!(judged(&[approved("mute", 30, Some(300))]).0, CheckStatus::Down);
    }

    #[test]
    fn executors_that_were_removed_are_not_counted() {
        let clock = Clock::manual(Timestamp::from_seconds(1_800_000_000));
        let ours = |state| is_ours(&bee("b", state, 9, Some(9), &clock), "bee");
        assert!(ours(ExecutorState::Approved) && ours(ExecutorState::Pending));
        assert!(!ours(ExecutorState::Unregistered) && !ours(ExecutorState::Rejected));
        assert!(!is_ours(&bee("b", ExecutorState::Approved, 9, Some(9), &clock), "another type"));
    }
}
