//! Dispatch wired: the pumps, and with a colony the task that confirms and the bees.

use std::sync::Arc;

use super::options::pump_options;
use super::secrets::ColonyKeys;
use crate::admin::{Audit, Control, Desk, Operations, Operators};
use crate::bees::roster::Roster;
use crate::config::{Config, ConfigError};
use crate::dispatch::pause::Pause;
use crate::dispatch::{Context, Pump, Strays};
use crate::domain::breaker::Breaker;
use crate::job::attestation::Verifier;
use crate::ledger::Ledger;
use crate::ledger::report::StateOfRecord;
use crate::lifecycle::{Shutdown, Supervisor};
use crate::pipeline::Pipeline;
use crate::reconcile::{Handle, Refetcher};
use crate::revenue::validator::Validator;
use crate::stripe::api::StripeApi;
use crate::telemetry::instruments::Instruments;

/// The parts of dispatch that operators see and change.
pub(super) struct Started {
    pause: Pause,
    breakers: Vec<(&'static str, Breaker)>,
    bees: Roster,
    /// The keys of the colony route that can be renewed.
    pub(super) keys: Option<ColonyKeys>,
    pub(super) verifier: Option<Arc<Verifier>>,
}

impl Started {
    /// The parts that an operator with the token may see and change, with the task that carries out operations.
    pub(super) fn control(
        self,
        operators: Operators,
        context: &Context,
        (ledger, reconcile, stripe): (Arc<dyn StateOfRecord>, Option<Handle>, Option<Arc<StripeApi>>),
        desk: Desk,
        (supervisor, shutdown): (&mut Supervisor, &Shutdown),
    ) -> Control {
        let Self { pause, breakers, bees, .. } = self;
        let context = context.clone();
        let refetch = stripe.map(|api| Refetcher { api, inbox: context.inbox.clone() });
        let (operations, runner) = Operations::new(context.inbox.clock().clone());
        let (audit, keeper) = Audit::new(context.inbox.clone());
        supervisor.start("audit", keeper.run());
        let control =
            Control { operators, context, ledger, pause, breakers, bees, reconcile, refetch, operations, audit, desk };
        supervisor.start("operations", runner.run(control.clone(), shutdown.clone()));
        control
    }
}

/// Starts everything that brings entries to their end: pumps, and with a colony the task that confirms, and bees.
pub(super) fn start(
    config: &Config,
    context: Context,
    validator: Arc<Validator>,
    ledger: &Arc<dyn StateOfRecord>,
    supervisor: &mut Supervisor,
    shutdown: &Shutdown,
) -> Result<Started, ConfigError> {
    let Context { inbox, instruments, .. } = context.clone();
    let Instruments { metrics, board, clock, tracer } = instruments;
    super::shadow::start(config, &context, ledger, supervisor, shutdown);
    super::owner_keys::tell(config, super::route::has_bees(&config.colony), &board, &clock);
    let into_ledger = Arc::clone(ledger) as Arc<dyn Ledger>;
    let pipeline = Pipeline::new(validator, into_ledger, Arc::clone(&metrics), clock.clone());
    let pause = Pause::new(clock.clone());
    let mut started =
        Started { pause: pause.clone(), breakers: Vec::new(), bees: Roster::default(), keys: None, verifier: None };
    let mut pump =
        Pump::new(inbox.clone(), pipeline.clone(), pump_options(config), Arc::clone(&metrics), board, clock.clone())
            .with_pause(pause)
            .with_tracer(tracer);
    let with_colony = config.shadow.is_none_or(|shadow| shadow.colony);
    if let Some(wired) =
        if with_colony { super::route::wire(config, context, pipeline, Arc::clone(ledger))? } else { None }
    {
        started.breakers = wired.route.breakers().into();
        pump = pump.with_colony(wired.route);
        supervisor.start_in_background("confirm", wired.confirm.run(shutdown.token().clone()));
        started.keys = Some(wired.keys);
        if let Some(pool) = wired.bees {
            started.bees = pool.roster();
            started.verifier = Some(Arc::clone(pool.verifier()));
            super::bees::release(pool, config, &metrics, &clock, (&mut *supervisor, shutdown))?;
        }
    } else {
        supervisor.start_in_background("strays", Strays::new(inbox, metrics).run(shutdown.token().clone()));
    }
    for _ in 0..config.dispatch.workers {
        supervisor.start_in_background("pump", pump.clone().run(shutdown.token().clone()));
    }
    Ok(started)
}
