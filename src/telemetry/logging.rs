//! Structured logs on standard error: JSON for machines, aligned text for people.
//!
//! One line a request (target `request`), with the fields `endpoint`, `status`, `code`, `event_id`, `event_type`,
//! `entry`, `duration_ms`, and with tracing on `trace_id`. Lines of refused requests have `reason` and `peer`, and are few on
//! the public listener (`left_out` counts the others). Bodies, signatures, keys and customer data are never logged.
//!
//! On a terminal, lines are written as they come; elsewhere they go through a [`LogQueue`].

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use rustix::fs::{Advice, fadvise};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use super::json_line::JsonLine;
use super::log_queue::{AUDIT, LogQueue};

/// The queue of this process, once there is one.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

/// How many log lines were lost since the start, because the reader of standard error was too slow.
pub fn lines_lost() -> u64 {
    QUEUE.get().map_or(0, LogQueue::lost)
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
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

/// Where lines are written. If the queue has no thread, they are written at once.
fn writer(terminal: bool) -> BoxMakeWriter {
    if terminal {
        return BoxMakeWriter::new(std::io::stderr);
    }
    match LogQueue::start(Unhurried { unwritten: 0 }) {
        Ok(queue) => BoxMakeWriter::new(QUEUE.get_or_init(|| queue).clone()),
        Err(_) => BoxMakeWriter::new(std::io::stderr),
    }
}

/// Bytes of a log file that may wait in memory for the disk.
const UNWRITTEN_MAX: usize = 1024 * 1024;

/// Standard error, which may be a file. The kernel would write that to disk only after half a minute, all at once, and
/// commits of the inbox on the same disk would wait for it. So the pages are written bit by bit, and leave the page cache.
struct Unhurried {
    unwritten: usize,
}

impl Write for Unhurried {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let written = io::stderr().write(lines)?;
        self.unwritten += written;
        if self.unwritten >= UNWRITTEN_MAX {
            self.unwritten = 0;
            // On Linux this starts writing dirty pages to disk, and waits for nothing (posix_fadvise(2)). It fails for
            // anything but a file.
            fadvise(io::stderr(), 0, None, Advice::DontNeed).ok();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Waits for lines that are not written yet. Call this before the process ends, and before writing anything else to
/// standard error.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush();
    }
}

/// Adds the audit target to the filter, so that people's orders are always logged: a directive for a target takes
/// precedence over general ones, and replaces one for the same target.
fn audited(filter: EnvFilter) -> Result<EnvFilter, ParseError> {
    Ok(filter.add_directive(format!("{AUDIT}=info").parse()?))
}

/// Installs the subscriber for the whole process. Does nothing if one is already installed.
pub fn install(format: LogFormat, filter: &str) -> Result<(), ParseError> {
    let filter = audited(EnvFilter::try_new(filter)?)?;
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer(terminal));
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !terminal,
    };
    let installed =
        if json { builder.event_format(JsonLine).try_init() } else { builder.with_ansi(terminal).try_init() };
    // Only tests install a second one in the same process; the first one stays.
    drop(installed);
    Ok(())
}
