//! What is found about the inbox: how long its entries wait, and about the database that it may be in, asked from here, beside a
//! gateway or without one. Changes nothing.

use std::time::Duration;

use super::Diagnosis;
use crate::app::former::{self, LeftSpill};
use crate::config::Config;
use crate::domain::causes::chain;
use crate::domain::clock::Clock;
use crate::domain::counted::{counted, lasting};
use crate::inbox::{Counts, DatabaseReport, FILE_NAME, Inbox, counts_in};

const NAME: &str = "inbox database";

const MEND: &str = "check the database of GATEWAY_INBOX_URL and the connection to it; until then webhooks get 503";

/// From this many unfinished entries on, the backlog needs attention.
const BACKLOG_MAX: u64 = 100;

/// From this age of the oldest entry on, it needs attention.
const AGE_MAX: Duration = Duration::from_mins(5);

/// The report of the database; `None` if the inbox is a file.
pub(super) async fn database(config: &Config, clock: &Clock) -> Option<Diagnosis> {
    asked(config, clock, async |inbox| match inbox.database().await {
        Ok(Some(report)) => tell(&report),
        Ok(None) => Diagnosis::none(NAME, "the inbox is a file"),
        Err(error) => Diagnosis::down(NAME, chain(&error), MEND),
    })
    .await
}

/// The entries, for a machine on which no gateway runs.
pub(super) async fn entries(config: &Config, clock: &Clock) -> Option<Diagnosis> {
    asked(config, clock, async |inbox| match inbox.counts().await {
        Ok(counts) => {
            let Counts { dead, quarantined, .. } = counts;
            let oldest = counts.oldest.map(|oldest| clock.now().since(oldest));
            let mut finding = judge(counts.backlog(), oldest, dead, quarantined);
            finding.detail.push_str(if counts.is_estimate {
                " (in the database, about)"
            } else {
                " (in the database)"
            });
            finding
        }
        Err(error) => Diagnosis::down("inbox", chain(&error), MEND),
    })
    .await
}

async fn asked(config: &Config, clock: &Clock, ask: impl AsyncFnOnce(&Inbox) -> Diagnosis) -> Option<Diagnosis> {
    config.inbox.url.as_ref()?;
    let (inbox, threads) = match crate::app::open_inbox(config, clock.clone()) {
        Ok(opened) => opened,
        Err(error) => {
            return Some(Diagnosis::down(
                NAME,
                chain(&error),
                "do what the message says, then start the gateway again",
            ));
        }
    };
    let finding = ask(&inbox).await;
    drop(inbox);
    let _ = tokio::task::spawn_blocking(move || threads.join()).await;
    Some(finding)
}

/// The deliveries in the file that takes webhooks while the database is away; `None` without such a file.
pub(super) fn spill(config: &Config) -> Option<Diagnosis> {
    const NAME: &str = "inbox spill";
    let directory = config.inbox.spill_dir.as_ref()?;
    if !directory.join(FILE_NAME).exists() {
        return Some(Diagnosis::ok(NAME, "a gateway makes the file when it starts"));
    }
    Some(match counts_in(directory) {
        Ok(counts) => match counts.backlog() + counts.dead + counts.quarantined {
            0 => Diagnosis::ok(NAME, "nothing stands in it"),
            standing => Diagnosis::degraded(
                NAME,
                format!(
                    "{} in it, acknowledged and not in the database yet",
                    counted(standing, "delivery stands", "deliveries stand")
                ),
                "make sure that the gateway runs and reaches the database of GATEWAY_INBOX_URL; keep this disk until \
                 then",
            ),
        },
        Err(error) => Diagnosis::down(NAME, chain(&error), "do what the message says, then start the gateway again"),
    })
}

/// What the settings leave behind of an inbox that a gateway used here before; `None` if there is nothing.
pub(super) fn former(config: &Config) -> Option<Diagnosis> {
    let mend = "do what the message says, then start the gateway again";
    match former::left_spill(config) {
        Ok(Some(LeftSpill { directory, left })) => {
            let detail = format!(
                "{} in {}, which inbox.spill_dir no longer names: acknowledged, and not in the inbox's database. A start is refused",
                counted(left, "delivery stands", "deliveries stand"),
                directory.display()
            );
            let action = "set inbox.spill_dir and GATEWAY_INBOX_URL as they were until nothing stands there; keep this disk until then";
            Some(Diagnosis::down(former::COMPONENT, detail, action))
        }
        Ok(None) => former::left_database(config).map(|left| {
            Diagnosis::degraded(
                former::COMPONENT,
                left,
                "do what the message says; nothing of it is lost until that database is",
            )
        }),
        Err(error) => Some(Diagnosis::down(former::COMPONENT, chain(&error), mend)),
    }
}

pub(super) fn judge(backlog: u64, oldest: Option<Duration>, dead: u64, quarantined: u64) -> Diagnosis {
    let age = oldest.map(|oldest| format!(", the oldest {} old", lasting(oldest))).unwrap_or_default();
    let detail = format!("{backlog} on their way{age}, {dead} dead, {quarantined} in quarantine");
    if dead + quarantined > 0 {
        let action = "`colony-gateway inbox problems` says why, and what to do";
        return Diagnosis::degraded("inbox", detail, action);
    }
    if backlog > BACKLOG_MAX || oldest.is_some_and(|oldest| oldest > AGE_MAX) {
        return Diagnosis::degraded("inbox", detail, "look at the ledger, the colony and the bees: nothing is lost");
    }
    Diagnosis::ok("inbox", detail)
}

fn tell(report: &DatabaseReport) -> Diagnosis {
    let DatabaseReport { version, is_writable, is_prepared, standbys } = report;
    if !is_writable {
        let detail = format!("PostgreSQL {version}, which takes no writes");
        return Diagnosis::down(
            NAME,
            detail,
            "name the primary in GATEWAY_INBOX_URL, or all hosts, separated by commas",
        );
    }
    let waits = match standbys {
        Some(names) => format!("a commit waits for standbys ({names})"),
        None => "no synchronous standby: if the server's disk is lost, so are the events of the last moments, which \
                 `reconcile` fetches from Stripe again"
            .to_owned(),
    };
    let tables = if *is_prepared { "" } else { "; a gateway makes the tables when it starts" };
    Diagnosis::ok(NAME, format!("PostgreSQL {version}, takes writes; {waits}{tables}"))
}

#[cfg(test)]
mod tests {
    use super::super::CheckStatus;
    use super::*;

    #[test]
    fn the_database_is_down_when_it_takes_no_writes_and_what_a_commit_waits_for_is_told() {
        let report = |is_writable, standbys: Option<&str>| DatabaseReport {
            version: "17.2".to_owned(),
            is_writable,
            is_prepared: true,
            standbys: standbys.map(str::to_owned),
        };
        assert_eq!(tell(&report(false, None)).status, CheckStatus::Down);
        let alone = tell(&report(true, None));
        assert!(alone.status == CheckStatus::Ok && alone.detail.contains("no synchronous standby"), "{alone:?}");
        let waits = tell(&report(true, Some("ANY 1 (a, b)")));
        assert!(waits.detail.contains("waits for standbys (ANY 1 (a, b))"), "{waits:?}");
    }
}
