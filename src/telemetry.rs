//! What the gateway tells about itself: metrics, logs, health, traces.

pub mod diagnosis;
pub mod health;
pub mod instruments;
pub(crate) mod json_line;
pub mod labelled;
pub mod log_queue;
pub mod logging;
pub mod metrics;
pub mod trace;
