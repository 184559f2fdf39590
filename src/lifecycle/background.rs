//! Threads for work that must not hold up answers.
//!
//! A task that computes for a while keeps the thread that it runs on, and with it every request whose turn would come there:
//! with one thread a core, two pumps that read 256 events each hold up all of them. So such work has a runtime of its own,
//! and the system shares the cores out between its threads and those that answer, with preference for the latter.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// Niceness of the threads beside those that answer: about a third of their share when there is not enough for all.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// The runtime, once something needs it. Dropping it waits for nothing: what is to be finished was waited for before.
#[derive(Debug, Default)]
pub(super) struct Background {
    runtime: Option<Runtime>,
}

impl Background {
    /// Where to start tasks. The runtime around when the system refuses threads, which costs promptness and nothing else.
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

/// Lowers the priority of this thread. Where that is not allowed, it has the same as all.
fn step_back() {
    // Elsewhere the call means the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(error = &error as &dyn std::error::Error, "the priority of background threads stays as it is");
    }
}
