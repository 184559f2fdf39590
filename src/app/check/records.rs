//! The state of record: reachable, and with all migrations.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use super::Diagnosis;
use crate::app::attention::{NAMED_MAX, tell};
use crate::app::pipeline;
use crate::config::{Config, LedgerConfig};
use crate::domain::causes::chain;
use crate::domain::clock::Clock;
use crate::domain::counted::counted;
use crate::inbox;
use crate::ledger::desk::UnmappedLine;
use crate::ledger::postgres::PostgresConfig;
use crate::ledger::report::{LeftToBuild, RecurringLine, StateOfRecord};
use crate::ledger::{LedgerError, LedgerErrorKind};
use crate::postgres::Address;
use crate::telemetry::health::Level;

const NAME: &str = "ledger";

/// Whether every subscription that entitles gives a user access and is shown, and whether users can do too much.
async fn access(ledger: &dyn StateOfRecord) -> Vec<Diagnosis> {
    const NAME: &str = "access";
    let attention = match ledger.attention(NAMED_MAX).await {
        Ok(attention) => attention,
        Err(error) => {
            return vec![Diagnosis::degraded(NAME, chain(&error), "check the database and the connection to it")];
        }
    };
    let mut diagnoses = vec![match tell(&attention) {
        (Level::Ok, detail) => Diagnosis::ok(NAME, detail),
        (_, detail) => Diagnosis::degraded(NAME, detail, "`colony-gateway inbox problems` says what to do for each"),
    }];
    if !attention.policies.is_empty() {
        let named: Vec<String> = attention.policies.iter().map(ToString::to_string).collect();
        let action =
            "run these statements, or others to the same end; docs/runbook.md, \"Policies of the public tables\"";
        diagnoses.push(Diagnosis::degraded("policies", named.join(" | "), action));
    }
    diagnoses.extend(left(&attention.left));
    diagnoses
}

/// Reports that a large public table lacks its indexes.
fn left(left: &[LeftToBuild]) -> Option<Diagnosis> {
    let named: Vec<&str> = left.iter().map(|left| left.what.as_str()).collect();
    (!named.is_empty()).then(|| {
        let detail = format!(
            "public.subscriptions lacks {}: it is searched whole for each user who is shown",
            named.join(", ")
        );
        let action = "`colony-gateway migrate` builds it beside the table's writers; by other means: docs/runbook.md, \"Indexes \
                      of a large table\"";
        Diagnosis::degraded("indexes", detail, action)
    })
}

/// Whether the role may do more than run the gateway. `None` if that is unknown.
async fn role(ledger: &dyn StateOfRecord) -> Option<Diagnosis> {
    const NAME: &str = "database role";
    let caller = ledger.caller().await.ok()??;
    let role = &caller.role;
    Some(match caller.excess() {
        None => Diagnosis::ok(NAME, format!("{role} may call the gateway's functions and write to no table directly")),
        Some(excess) => {
            let action = "make a role that runs the gateway and name it to `colony-gateway migrate --runtime-role`; \
                          docs/runbook.md, \"Two roles of the database\"";
            Diagnosis::degraded(
                NAME,
                format!("{role} {excess}, and so could an attacker who takes over the gateway"),
                action,
            )
        }
    })
}

/// Reports that test mode subscriptions give access beside live ones, because anyone can pay for those with a test card.
fn modes(recurring: &[RecurringLine]) -> Option<Diagnosis> {
    let entitle = |livemode: bool| {
        let of_mode = recurring.iter().filter(|line| line.livemode == livemode && line.account.is_none());
        of_mode.map(|line| line.subscriptions).sum::<u64>()
    };
    let (live, test) = (entitle(true), entitle(false));
    (live > 0 && test > 0).then(|| {
        let detail = format!(
            "{} access beside {live} of live mode, to users without a live subscription: a test card pays for that",
            counted(test, "subscription of test mode gives", "subscriptions of test mode give")
        );
        let action = "set GATEWAY_STRIPE_MODE=live (or `mode` of the endpoint), and give test mode a gateway and a database of its own";
        Diagnosis::degraded("modes", detail, action)
    })
}

/// Subscriptions that are stored without a tier although the settings now name their price: the tier is worked out when an
/// event is applied.
async fn tiers(config: &Config, ledger: &dyn StateOfRecord) -> Option<Diagnosis> {
    let unmapped = ledger.business(1).await.ok()?.unmapped;
    mapped_later(&config.revenue.tiers, &unmapped)
}

fn mapped_later(prices: &[(String, &str)], unmapped: &[UnmappedLine]) -> Option<Diagnosis> {
    let is_named = |line: &&UnmappedLine| prices.iter().any(|(price, _)| line.price.as_deref() == Some(price));
    let stored: Vec<&UnmappedLine> = unmapped.iter().filter(is_named).collect();
    let subscriptions: u64 = stored.iter().map(|line| line.subscriptions).sum();
    (subscriptions > 0).then(|| {
        let prices: BTreeSet<&str> = stored.iter().filter_map(|line| line.price.as_deref()).collect();
        let prices: Vec<&str> = prices.into_iter().collect();
        let detail = format!(
            "{} without a tier, and the settings now name one for {}",
            counted(subscriptions, "subscription is stored", "subscriptions are stored"),
            prices.join(", ")
        );
        let action = "make sure that the gateway and its bees run with these settings, then run `colony-gateway reconcile \
                      counts` (`--dry-run` shows what it would change); else each subscription gets its tier with Stripe's next event";
        Diagnosis::degraded("tiers", detail, action)
    })
}

/// Whether the machine is there but nothing listens.
fn is_refused(error: &LedgerError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) == Some(ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Unfinished entries in the inbox of this machine; `None` if it has none.
async fn waiting(config: &Config) -> Option<u64> {
    let directory = config.inbox.data_dir.clone();
    if !directory.join(inbox::FILE_NAME).exists() {
        return None;
    }
    let counts = tokio::task::spawn_blocking(move || inbox::counts_in(&directory)).await.ok()?.ok()?;
    Some(counts.backlog())
}

/// Describes a database whose machine is there but where nothing listens.
async fn stopped(config: &Config, error: &LedgerError) -> Option<Diagnosis> {
    let place = config.ledger.database().and_then(|url| Address::read(url.expose()).ok()?.place());
    let place = place.filter(|_| error.kind == LedgerErrorKind::Unavailable && is_refused(error))?;
    let waiting = match waiting(config).await {
        Some(count) if count > 0 => {
            format!("; {}", counted(count, "entry waits and goes on by itself", "entries wait and go on by themselves"))
        }
        Some(_) | None => String::new(),
    };
    let detail = format!("{place} refuses connections: the database is not running{waiting}");
    Some(Diagnosis::down(NAME, detail, "start the database, or correct host and port in DATABASE_URL"))
}

pub(super) async fn probe(config: &Config, clock: &Clock) -> Vec<Diagnosis> {
    if let LedgerConfig::Sqlite { path } = &config.ledger
        && !path.exists()
    {
        return vec![Diagnosis::none(
            NAME,
            format!("embedded; the gateway makes it at its first start in {}", path.display()),
        )];
    }
    let ledger = match pipeline::ledger(config, clock) {
        Ok(ledger) => ledger,
        Err(error) => {
            return vec![Diagnosis::down(NAME, chain(&error), "check DATABASE_URL or SUPABASE_URL and its key")];
        }
    };
    let name = ledger.name();
    let answer = match config.ledger.database().filter(|_| matches!(config.ledger, LedgerConfig::Postgres { .. })) {
        Some(url) => PostgresConfig::new(url.clone()).knock().await,
        None => Ok(()),
    };
    let answer = match answer {
        Ok(()) => ledger.check().await,
        Err(error) => Err(error),
    };
    vec![match answer {
        Ok(()) => {
            let id = ledger.witness(&[]).await.map_or_else(|_| "unknown".to_owned(), |said| said.ledger.to_string());
            let stay = config.keep_payloads.map_or_else(
                || "for ever".to_owned(),
                |keep| {
                    format!("{}, those that are still needed longer", counted(keep.as_secs() / 86_400, "day", "days"))
                },
            );
            let detail = format!("{name} {id}, reachable, all migrations are in; payloads of events stay {stay}");
            let reachable = Diagnosis::ok(NAME, detail);
            let mut diagnoses = vec![reachable];
            diagnoses.extend(role(&*ledger).await);
            diagnoses.extend(access(&*ledger).await);
            if let Ok(summary) = ledger.summary(1).await {
                diagnoses.extend(modes(&summary.recurring));
            }
            diagnoses.extend(tiers(config, &*ledger).await);
            return diagnoses;
        }
        Err(error) => {
            if let Some(stopped) = stopped(config, &error).await {
                return vec![stopped];
            }
            let action = match error.kind {
                LedgerErrorKind::Schema if error.message.contains("no such database") => {
                    "make the database, or correct its name in DATABASE_URL; then run `colony-gateway migrate`"
                }
                LedgerErrorKind::OtherLedger => "correct the address of the ledger, or GATEWAY_LEDGER_ID",
                LedgerErrorKind::Schema => "run `colony-gateway migrate`, as the role that owns the schema",
                LedgerErrorKind::Auth => "check the password or key of the ledger, and the rights of its role",
                LedgerErrorKind::Storage => "mend the disk of the database",
                LedgerErrorKind::Unavailable
                | LedgerErrorKind::Overload
                | LedgerErrorKind::TimedOut
                | LedgerErrorKind::Conflict
                | LedgerErrorKind::Rejected
                | LedgerErrorKind::Unknown => "check the database and the connection to it; entries wait in the inbox",
            };
            Diagnosis::down(NAME, chain(&error), action)
        }
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_that_was_named_after_its_subscriptions_came_is_told() {
        let line = |price: Option<&str>, livemode, subscriptions| UnmappedLine {
            livemode,
            account: None,
            currency: Some("cad".to_owned()),
            price: price.map(str::to_owned),
            subscriptions,
            mrr_minor: 0,
            prices: 3,
        };
        let prices = [("price_1".to_owned(), "gold"), ("price_2".to_owned(), "gold")];
        let unmapped = [
            line(Some("price_1"), true, 3),
            line(Some("price_1"), false, 1),
            line(Some("price_9"), true, 7),
            line(None, true, 2),
        ];
        let told = mapped_later(&prices, &unmapped).unwrap();
        assert!(told.detail.starts_with("4 subscriptions are stored without a tier"), "{}", told.detail);
        assert!(told.detail.ends_with("for price_1"), "{}", told.detail);
        assert!(told.action.is_some_and(|action| action.contains("reconcile counts")));
        assert!(mapped_later(&prices, &unmapped[2..]).is_none());
    }

    #[test]
    fn access_by_test_mode_beside_live_mode_is_told() {
        let line = |livemode, account: Option<&str>, subscriptions| RecurringLine {
            livemode,
            account: account.map(str::to_owned),
            tier: None,
            currency: None,
            subscriptions,
            mrr_minor: 0,
        };
        let told = modes(&[line(true, None, 2), line(true, None, 1), line(false, None, 4)]).unwrap();
        assert!(told.detail.starts_with("4 subscriptions of test mode give access beside 3"), "{}", told.detail);
        for alone in [line(false, None, 4), line(true, None, 4), line(false, None, 0)] {
            assert!(modes(&[alone, line(true, None, 0)]).is_none());
        }
        assert!(
            modes(&[line(true, None, 1), line(false, Some("acct_1"), 4)]).is_none(),
            "accounts of others give nothing"
        );
    }
}
