//! Traces wired: on where there is a collector, ended after everything that begins spans.

use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use crate::config::Config;
use crate::lifecycle::Ending;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::{self, Exporting, FLUSH_MAX, Tracer};

/// Least part of a shutdown's time that is left for work in hand.
const WORK_PART: u32 = 2;

/// Exports the traces of this process, if a collector is set.
#[derive(Debug)]
pub(super) struct Traces(Option<Exporting>);

impl Traces {
    /// Starts exporting if there is a collector.
    pub(super) fn start(config: &Config, service: &str, metrics: &Arc<Metrics>) -> Result<(Tracer, Self), StartError> {
        let Some(settings) = &config.traces else { return Ok((Tracer::default(), Self(None))) };
        let (tracer, exporting) = trace::start(settings, service, Arc::clone(metrics)).map_err(StartError::Traces)?;
        tracing::info!(collector = %settings.url, "traces are exported");
        Ok((tracer, Self(Some(exporting))))
    }

    /// How much of a shutdown's time the work in hand may take, so that both fit.
    pub(super) fn rest_of(&self, deadline: Duration) -> Duration {
        match &self.0 {
            Some(_) => deadline.saturating_sub(FLUSH_MAX.min(deadline / WORK_PART)),
            None => deadline,
        }
    }

    /// Exports the remaining spans, unless the process was told to hurry.
    pub(super) async fn finish(self, ending: Ending, deadline: Duration) {
        let Some(exporting) = self.0 else { return };
        match ending {
            Ending::Clean | Ending::Failed => exporting.finish(FLUSH_MAX.min(deadline / WORK_PART)).await,
            Ending::CutShort => drop(exporting),
        }
    }
}
