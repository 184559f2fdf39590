//! `serve`: the gateway, from the first webhook to the last.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::app;
use crate::config::{Config, Sources};
use crate::domain::clock::Clock;
use crate::lifecycle::{Ending, Hangups, Inherited, Notifier, Signals};
use crate::telemetry::logging;

pub const EXIT_CODES: &str = "Exit codes:
  0  stopped, with all work finished
  1  could not start, or a part that the gateway needs failed
  2  the configuration is refused
  3  stopped with unfinished work, after the shutdown deadline or a second signal; nothing is lost, it resumes at the next start";

/// Starts the gateway and runs until a signal.
pub async fn run(sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    let config = Config::for_serve(sources)?;
    logging::install(config.log.format, &config.log.filter).context("log.filter")?;
    for warning in &config.warnings {
        tracing::warn!(setting = warning.setting, "{}", warning.message);
    }
    for note in &config.unencrypted {
        tracing::info!(setting = note.setting, "{}", note.message);
    }
    let signals = Signals::listen().context("cannot listen for signals")?;
    let manager = Notifier::new(&sources.environment).context("cannot tell the service manager anything")?;
    let inherited = Inherited::take(&sources.environment)?;
    let ledger = app::prepare_ledger(&config, &clock)?;
    let ledger_name = ledger.name();
    let hangups = Hangups::listen().context("cannot listen for SIGHUP")?;
    let mut gateway = app::start_on(&config, ledger, clock, inherited).await?;
    gateway.reload_at(hangups, (Box::new(Config::for_serve), sources.clone()), manager.clone());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        webhooks = %gateway.webhooks,
        admin = %gateway.admin,
        ledger = ledger_name,
        endpoints = config.endpoints.len(),
        "ready"
    );
    gateway.tell(manager);
    let ending = gateway.run(signals, config.shutdown_deadline).await;
    say_ending(ending);
    Ok(ExitCode::from(ending.code()))
}

/// The last line of the log.
pub(super) fn say_ending(ending: Ending) {
    match ending {
        Ending::Clean => tracing::info!("stopped: everything in hand was finished"),
        Ending::CutShort => tracing::warn!("stopped with work in hand; it resumes at the next start"),
        Ending::Failed => tracing::error!("stopped because a part failed"),
    }
}
