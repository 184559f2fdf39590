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
use crate::domain::secret::Secret;

/// An executor that asked for work this long ago at most is at work: longer than the longest poll.
const SEEN_MAX: Duration = Duration::from_mins(2);

/// Longest wait for Redis.
const REDIS_MAX: Duration = Duration::from_secs(2);

pub(super) async fn probe(config: &Config, clock: &Clock) -> Vec<Diagnosis> {
    let settings = &config.colony;
    if !settings.enabled && settings.servers.is_none() {
        let mut findings = vec![
            Diagnosis::none("colony", "USE_COLONY_OS is off: entries go the direct route"),
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
        Ok((colony, None)) => {
            (colony, Err(Diagnosis::none("bees", "no key here with which the colony could be asked")))
        }
        Err(colony) => (colony, Ok(None)),
    };
    let bees = bees.map(|bees| {
        bees.map(|mut bees| {
            bees.retain(|bee| bee.executortype == settings.executor_type);
            bees
        })
    });
    // Those that are gone, as after scaling down, have no heartbeat and need none.
    let at_work = bees.iter().flatten().flatten().filter(|bee| is_at_work(bee, clock));
    let names: Vec<String> = at_work.map(|bee| bee.executorname.clone()).collect();
    let bees = bees.map_or_else(|none| none, |bees| judge_bees(bees.as_deref(), &settings.executor_type, clock));
    let mut findings = vec![colony, bees, hearts(config, &names).await];
    findings.extend(refused);
    findings
}

/// The key that this machine has in the colony: a gateway's user, or the executor of bees alone.
fn own_key(settings: &ColonyConfig) -> Option<(&Secret, &'static str)> {
    let user = settings.user_key.as_ref().map(|key| (key, "COLONIES_USER_PRVKEY"));
    user.or(settings.executor_key.as_ref().map(|key| (key, "COLONIES_EXECUTOR_PRVKEY")))
}

/// The server, and who we are there.
async fn server(config: &Config) -> Result<(Diagnosis, Option<Member>), Diagnosis> {
    const NAME: &str = "colony";
    let settings = &config.colony;
    let misconfigured = |error: crate::config::ConfigError| {
        Diagnosis::down(NAME, error.to_string().replace('\n', " "), "complete the COLONIES_… settings")
    };
    let client = parts::client(settings).map_err(misconfigured)?;
    if let Err(error) = client.health().await {
        let action = "start or reach the Colonies server; entries go the direct route meanwhile";
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
            let detail = format!("version {version}, {colony}: member, {waiting} processes waiting, {running} running");
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

fn judge_bees(bees: Option<&[Executor]>, kind: &str, clock: &Clock) -> Diagnosis {
    const NAME: &str = "bees";
    let Some(bees) = bees else {
        return Diagnosis::down(NAME, "unknown while the colony cannot be asked", "mend the colony first");
    };
    let (awake, pending) = (bees.iter().filter(|bee| is_at_work(bee, clock)).count(), waiting(bees));
    let detail = format!("{} executors of type {kind}, {awake} seen within 2 min", bees.len());
    if let Some(name) = pending {
        let action = format!("approve {name}, or give the bees COLONIES_COLONY_PRVKEY");
        return Diagnosis::degraded(NAME, format!("{detail}; {name} waits for approval"), action);
    }
    if awake == 0 {
        return Diagnosis::down(NAME, detail, "start bees (`colony-gateway bee`, or BEE_COUNT in `serve`)");
    }
    Diagnosis::ok(NAME, detail)
}

/// Whether a bee is approved and asked for work not long ago.
fn is_at_work(bee: &Executor, clock: &Clock) -> bool {
    let now = clock.now();
    bee.state == ExecutorState::Approved
        && bee.lastheardfromtime.0.is_some_and(|heard| now.since(Timestamp::from_millis(heard.millis())) <= SEEN_MAX)
}

fn waiting(bees: &[Executor]) -> Option<&str> {
    bees.iter().find(|bee| bee.state == ExecutorState::Pending).map(|bee| bee.executorname.as_str())
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
            let oldest = found.iter().filter_map(|found| found.age).max().unwrap_or_default().as_secs();
            let detail = format!("Redis answers, {} heartbeats, the oldest {oldest} s old", found.len() - silent.len());
            if silent.is_empty() {
                Diagnosis::ok(NAME, detail)
            } else {
                let detail = format!("{detail}; none of {}", silent.join(", "));
                Diagnosis::degraded(NAME, detail, "look at these bees, and whether their REDIS_URL is the same")
            }
        }
    }
}
