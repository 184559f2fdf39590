//! One report of every component: what `check` shows. Changes nothing anywhere.
//!
//! All components are asked at once, each under a deadline, so that the report comes soon whatever is down.

mod colony;
mod gateway;
mod inbox;
pub(in crate::app) mod keys;
mod machine;
mod ready;
mod records;
mod refusals;
mod stripe;

use std::time::Duration;

use crate::config::Config;
use crate::domain::clock::Clock;

pub use ready::{NotReady, ready};

pub use crate::telemetry::diagnosis::{CheckReport, CheckStatus, Diagnosis};

/// Whether payers have access, reported by the process and by the ledger.
const ACCESS: &str = "access";

/// Longest wait for one component.
pub const PROBE_MAX: Duration = Duration::from_secs(8);

pub async fn run(config: &Config, clock: &Clock) -> CheckReport {
    let database = async { inbox::database(config, clock).await.into_iter().collect() };
    let (gateway, database, colony, ledger, stripe, clocks) = tokio::join!(
        within("gateway", gateway::probe(config, clock)),
        within("inbox database", database),
        within("colony", colony::probe(config, clock)),
        within("ledger", records::probe(config, clock)),
        within("stripe", stripe::probe(config, clock)),
        within("clock", machine::clock(config, clock)),
    );
    let mut components = gateway;
    for findings in [database, colony, ledger, stripe, clocks] {
        components.extend(findings);
    }
    one_word_on_access(&mut components);
    components.extend(inbox::spill(config));
    components.extend(inbox::former(config));
    components.push(keys::probe(config, clock));
    components.push(machine::disk(config));
    components.push(machine::files(config));
    components.push(settings(config));
    let status = overall(&components, !config.endpoints.is_empty());
    CheckReport { status, version: env!("CARGO_PKG_VERSION"), checked_at: clock.now().to_string(), components }
}

/// The worst of all. A gateway can do without a colony and its bees, because entries then go the direct route. So these
/// make the result degraded at most.
fn overall(components: &[Diagnosis], receives: bool) -> CheckStatus {
    let weight = |finding: &Diagnosis| match finding.component {
        "colony" | "bees" if receives => finding.status.min(CheckStatus::Degraded),
        _ => finding.status,
    };
    components.iter().map(weight).max().unwrap_or(CheckStatus::Ok).max(CheckStatus::Ok)
}

/// The ledger's own report about access replaces that of the process. But the settings of this command may name another
/// ledger than the process uses, or none.
fn one_word_on_access(components: &mut Vec<Diagnosis>) {
    let is_access = |one: &Diagnosis| one.component == ACCESS;
    if components.iter().filter(|one| is_access(one)).count() > 1
        && let Some(place) = components.iter().position(is_access)
    {
        components.remove(place);
    }
}

async fn within(component: &'static str, probe: impl Future<Output = Vec<Diagnosis>>) -> Vec<Diagnosis> {
    tokio::time::timeout(PROBE_MAX, probe).await.unwrap_or_else(|_| {
        let detail = format!("no answer within {} s", PROBE_MAX.as_secs());
        vec![Diagnosis::down(component, detail, "look at the network between this machine and it")]
    })
}

fn settings(config: &Config) -> Diagnosis {
    const NAME: &str = "configuration";
    if !config.unusable.is_empty() {
        let faults: Vec<String> = config.unusable.iter().map(ToString::to_string).collect();
        let detail = format!("{}. A gateway that runs keeps the old one; a start is refused", faults.join("; "));
        return Diagnosis::degraded(NAME, detail, "put the secret into the file; the gateway reads it by itself");
    }
    match config.warnings.as_slice() {
        [] => Diagnosis::ok(NAME, "no warnings"),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
            Diagnosis::degraded(NAME, format!("{first}{more}"), "see `colony-gateway config check`")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_component_decides_and_what_is_not_set_up_decides_nothing() {
        assert!(
            CheckStatus::NotConfigured < CheckStatus::Ok
                && CheckStatus::Ok < CheckStatus::Degraded
                && CheckStatus::Degraded < CheckStatus::Down
        );
        let codes = [CheckStatus::NotConfigured, CheckStatus::Ok, CheckStatus::Degraded, CheckStatus::Down]
            .map(CheckStatus::exit_code);
        assert_eq!(codes, [0, 0, 1, 2]);
    }

    #[test]
    fn a_colony_that_is_down_alone_degrades_a_gateway_and_downs_a_machine_of_bees() {
        let found = [Diagnosis::ok("ledger", ""), Diagnosis::down("colony", "", ""), Diagnosis::down("bees", "", "")];
        assert_eq!((overall(&found, true), overall(&found, false)), (CheckStatus::Degraded, CheckStatus::Down));
        let found = [Diagnosis::down("ledger", "", ""), Diagnosis::ok("colony", "")];
        assert_eq!(overall(&found, true), CheckStatus::Down);
    }

    #[test]
    fn what_the_ledger_says_of_access_stands_alone_and_what_the_process_says_stands_where_there_is_no_other() {
        let process = Diagnosis::degraded(ACCESS, "process", "");
        let mut found = vec![process.clone(), Diagnosis::ok("ledger", ""), Diagnosis::ok(ACCESS, "ledger")];
        one_word_on_access(&mut found);
        assert_eq!(found.iter().map(|one| &*one.detail).collect::<Vec<_>>(), ["", "ledger"]);
        let mut found = vec![process, Diagnosis::none("ledger", "")];
        one_word_on_access(&mut found);
        assert_eq!(found.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_component_that_never_answers_is_down_and_does_not_hold_the_report() {
        let findings = within("ledger", std::future::pending()).await;
        assert_eq!((findings[0].component, findings[0].status), ("ledger", CheckStatus::Down));
    }
}
