//! `bee`: bees alone, on any machine that reaches the colony and the ledger.

use std::process::ExitCode;

use anyhow::Context as _;

use super::serve::say_ending;
use crate::app::{self, bees};
use crate::config::{Config, Sources};
use crate::domain::clock::Clock;
use crate::lifecycle::{Hangups, Notifier, Signals};
use crate::telemetry::logging;

pub const SETTINGS: &str = "Settings that bees need:
  COLONIES_SERVER_HOST, COLONIES_COLONY_NAME   the colony
  COLONIES_EXECUTOR_PRVKEY                     the bees' key, from which the keys of all bees follow. Bees wait until
                                               `colony setup` has approved them, and print the command
  ATTESTATION_PUBKEYS                          the gateways whose jobs they accept
  BEE_COUNT                                    the number of bees
  EXECUTOR_NAME                                their name, a different one for each process. The default differs already:
                                               bees-<host>-<digits of the key>
  GATEWAY_ADMIN_LISTEN                         metrics and health; by default 127.0.0.1:9092
Not needed, and better kept elsewhere:
  COLONIES_COLONY_PRVKEY                       with it, bees approve themselves, also after ten minutes of silence
Also the settings of the ledger and of the revenue rules, as for `serve`: bees with another ledger than the gateway refuse its
jobs. Exit codes are those of `serve`.";

/// Starts the bees and runs until a signal.
pub async fn run(sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    let config = Config::for_bees(sources)?;
    logging::install(config.log.format, &config.log.filter).context("log.filter")?;
    for warning in &config.warnings {
        tracing::warn!(setting = warning.setting, "{}", warning.message);
    }
    for note in &config.unencrypted {
        tracing::info!(setting = note.setting, "{}", note.message);
    }
    let signals = Signals::listen().context("cannot listen for signals")?;
    let manager = Notifier::new(&sources.environment).context("cannot tell the service manager anything")?;
    let hangups = Hangups::listen().context("cannot listen for SIGHUP")?;
    // Before a file is made that is not wanted.
    bees::require_a_ledger(&config)?;
    let ledger = app::make_ledger(&config, &clock).await?;
    let ledger_name = ledger.name();
    let mut house = bees::start(&config, ledger, clock).await?;
    house.reload_at(hangups, sources.clone(), manager.clone());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        admin = house.admin.map(|address| address.to_string()),
        bees = config.colony.bees.max(1),
        ledger = ledger_name,
        colony = config.colony.colony,
        "ready"
    );
    house.tell(manager);
    let ending = house.run(signals, config.shutdown_deadline).await;
    say_ending(ending);
    Ok(ExitCode::from(ending.code()))
}
