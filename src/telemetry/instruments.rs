//! What a part of the process tells the time by, and tells the world how it is.

use std::sync::Arc;

use super::health::Board;
use super::metrics::Metrics;
use super::trace::Tracer;
use crate::domain::clock::Clock;

/// One set for a process, handed to all of its parts. Clones share it.
#[derive(Clone, Debug)]
pub struct Instruments {
    pub metrics: Arc<Metrics>,
    pub board: Board,
    pub clock: Clock,
    /// Off unless traces are exported.
    pub tracer: Tracer,
}
