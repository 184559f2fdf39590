//! Threads for work that must not hold up answers.
//!
//! A task that computes for a while keeps the thread that it runs on, and with it every request whose turn would come there:
//! with one thread a core, two pumps that read 256 events each hold up all of them. So such work has a runtime of its own,
//! and the system shares the cores out between its threads and those that answer, with preference for the latter.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// Niceness of the background threads: when the machine is busy, they get about a third of the share of the threads that
/// answer.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// The background runtime, started when first needed. Dropping it waits for nothing, because work to finish was waited for
/// before.
#[derive(Debug, Default)]
pub(super) struct Background {
    runtime: Option<Runtime>,
}

impl Background {
    /// Where to start tasks. If the system refuses threads, this is the main runtime, and answers are only less prompt.
    pub(super) fn handle(&mut self) -> Handle {
        if self.runtime.is_none() {
            match start() {
                Ok(runtime) => self.runtime = Some(runtime),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no threads for work in the background: it shares those of the listeners"
                ),
            }
        }
        self.runtime.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn start() -> io::Result<Runtime> {
    Builder::new_multi_thread().thread_name("background").enable_all().on_thread_start(step_back).build()
}

/// Lowers the priority of this thread. Where that is forbidden, the thread keeps its priority.
fn step_back() {
    // On other systems the call affects the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(error = &error as &dyn std::error::Error, "the priority of background threads stays as it is");
    }
}
