//! The colony route wired: who submits, the task that confirms, and the bees beside them.

use std::sync::Arc;

use super::secrets::ColonyKeys;
use super::{bees, colony};
use crate::bees::Pool;
use crate::config::{ColonyConfig, Config, ConfigError};
use crate::dispatch::{ColonyOptions, ColonyRoute, Confirm, Context, FallbackOptions, Submitter};
use crate::domain::backoff::Backoff;
use crate::job::Terms;
use crate::job::completion;
use crate::job::sealing::Recipients;
use crate::ledger::report::StateOfRecord;
use crate::ledger::witness::Witness;
use crate::pipeline::Pipeline;

/// The parts of the colony route.
pub(super) struct Wired {
    pub(super) route: ColonyRoute,
    pub(super) confirm: Confirm,
    pub(super) bees: Option<Pool>,
    pub(super) keys: ColonyKeys,
}

/// Wires the route if the colony is in use, or if it is switched off but complete, so that it can be switched on without a
/// restart.
pub(super) fn wire(
    config: &Config,
    context: Context,
    pipeline: Pipeline,
    ledger: Arc<dyn StateOfRecord>,
) -> Result<Option<Wired>, ConfigError> {
    let settings = &config.colony;
    if !settings.enabled && !is_complete(settings) {
        return Ok(None);
    }
    let client = colony::client(settings)?;
    let user = colony::key(settings.user_key.as_ref(), "COLONIES_USER_PRVKEY", "the key of the user that submits")?;
    let name = colony::name(settings)?;
    let submitter = Submitter {
        member: client.member(name.clone(), user).into(),
        signer: colony::signer(settings)?.into(),
        recipients: recipients(settings)?.into(),
        terms: Terms {
            lease: settings.lease,
            retries: u32::try_from(settings.retries).unwrap_or(u32::MAX),
            ..Terms::new(name, settings.executor_type.clone())
        },
    };
    let keys = ColonyKeys {
        member: submitter.member.clone(),
        signer: submitter.signer.clone(),
        recipients: submitter.recipients.clone(),
    };
    let has_bees = has_bees(settings);
    let (completions, completed) = completion::channel();
    let bees = if has_bees {
        let (with, instruments) = ((client, pipeline), context.instruments.clone());
        Some(bees::pool(config, settings.bees, with, Arc::clone(&ledger), Some(completions), instruments)?)
    } else {
        None
    };
    let completed = has_bees.then_some(completed);
    let (route, confirm) =
        ColonyRoute::new(submitter, options(settings), context, ledger as Arc<dyn Witness>, completed);
    Ok(Some(Wired { route, confirm, bees, keys }))
}

/// The bees to which jobs are sealed. A server keeps unsealed jobs in the clear, which deserves a warning unless the
/// operator chose it.
fn recipients(settings: &ColonyConfig) -> Result<Option<Recipients>, ConfigError> {
    let recipients = colony::recipients(settings)?;
    if recipients.is_none() && settings.enabled && settings.seals_jobs.is_none() {
        tracing::warn!(
            "jobs are not sealed: the Colonies server keeps Stripe's events, with customers' data, in its database, where \
             `erase` does not reach. Make a key with `keys generate sealing`, or set GATEWAY_COLONY_SEAL_JOBS=false"
        );
    }
    Ok(recipients)
}

/// Checks for everything that [`wire`] would refuse.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let settings = &config.colony;
    if !config.shadow.is_none_or(|shadow| shadow.colony) || (!settings.enabled && !is_complete(settings)) {
        return Ok(());
    }
    colony::client(settings)?;
    colony::key(settings.user_key.as_ref(), "COLONIES_USER_PRVKEY", "the key of the user that submits")?;
    colony::name(settings)?;
    colony::signer(settings)?;
    colony::recipients(settings)?;
    if has_bees(settings) { bees::check(settings) } else { Ok(()) }
}

/// Whether bees run beside the gateway.
pub(super) fn has_bees(settings: &ColonyConfig) -> bool {
    settings.bees > 0 && (settings.enabled || settings.executor_key.is_some() || settings.colony_key.is_some())
}

fn is_complete(settings: &ColonyConfig) -> bool {
    settings.servers.is_some()
        && settings.colony.is_some()
        && settings.user_key.is_some()
        && settings.attestation_key.is_some()
}

fn options(settings: &ColonyConfig) -> ColonyOptions {
    ColonyOptions {
        processes_max: settings.processes_max,
        resubmissions_max: u32::try_from(settings.resubmissions_max).unwrap_or(u32::MAX),
        status: Backoff { first: settings.status_first, max: settings.status_max },
        fallback: FallbackOptions::new(settings.fallback_after),
    }
}
