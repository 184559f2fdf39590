//! Structured logs on standard error: JSON for machines, aligned text for people.
//!
//! One line a request (target `request`), with the fields `endpoint`, `status`, `code`, `event_id`, `event_type`,
//! `entry`, `duration_ms`, and with tracing on `trace_id`. Bodies, signatures, keys and customer data are never logged.
//!
//! On a terminal, lines are written as they come; elsewhere they go through a [`LogQueue`].

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use super::json_line::JsonLine;
use super::log_queue::LogQueue;

/// The queue of this process, once there is one.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
}

impl std::str::FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "pretty" => Ok(Self::Pretty),
            "auto" => Ok(Self::Auto),
            _ => Err("must be json, pretty or auto"),
        }
    }
}

/// Checks a filter such as `info,colony_gateway::inbox=debug` without installing it.
pub fn check_filter(filter: &str) -> Result<(), ParseError> {
    EnvFilter::try_new(filter).map(|_| ())
}

/// Where lines go. Without a thread for the queue they are written as they come.
fn writer(terminal: bool) -> BoxMakeWriter {
    if terminal {
        return BoxMakeWriter::new(std::io::stderr);
    }
    match LogQueue::start(std::io::stderr()) {
        Ok(queue) => BoxMakeWriter::new(QUEUE.get_or_init(|| queue).clone()),
        Err(_) => BoxMakeWriter::new(std::io::stderr),
    }
}

/// Waits for the lines that are not written yet. To be called before the process ends, and before anything else is
/// written to standard error.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush();
    }
}

/// Installs the subscriber for the whole process. Does nothing when one is installed already.
pub fn install(format: LogFormat, filter: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(filter)?;
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer(terminal));
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !terminal,
    };
    let installed =
        if json { builder.event_format(JsonLine).try_init() } else { builder.with_ansi(terminal).try_init() };
    // A second installation in one process happens in tests only; the first one stays.
    drop(installed);
    Ok(())
}
