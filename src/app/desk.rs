//! What operators see of the set-up, wired: settings, rules, executors, and the report of `check`.

use std::sync::Arc;

use super::check;
use super::secrets::Renewables;
use crate::admin::{Checks, Desk, Executors, Turn};
use crate::domain::clock::Clock;
use crate::revenue::validator::Validator;

pub(super) fn lay_out(renewables: &Renewables, validator: Arc<Validator>, clock: &Clock) -> Desk {
    let settings = renewables.settings.clone();
    let paths = renewables.endpoints.iter().flat_map(|endpoint| endpoint.paths.clone()).collect();
    let (asked, time) = (settings.clone(), clock.clone());
    let run = move || {
        let (config, clock) = (asked.latest(), time.clone());
        Box::pin(async move { Box::pin(check::run(&config, &clock)).await }) as _
    };
    let colony = renewables.colony.as_ref();
    Desk {
        since: clock.now(),
        settings,
        validator,
        checks: Checks::new(Arc::new(run), renewables.stripe.clone(), paths),
        trials: Turn::default(),
        exports: Turn::default(),
        executors: colony.map(|keys| Executors::new(keys.member.clone(), clock.clone())),
    }
}
