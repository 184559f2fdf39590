//! What this process uses of the machine, under the names that Prometheus' own libraries give it, so that ready-made
//! dashboards find it.
//!
//! Read from the system at each scrape. What a system does not tell, because it is not Linux or hides `/proc`, has no value;
//! the metric is declared all the same. Written as text, since counters of the registry have no fractions.

use std::fmt::Write as _;
use std::fs;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::telemetry::logging::lines_lost;

/// Ticks per second in `/proc`: `USER_HZ`, which is 100 for programs, however the kernel was built.
#[cfg(target_os = "linux")]
const TICKS: f64 = 100.0;

/// The resources that the process uses. `None` where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Usage {
    /// Resident memory, in bytes.
    resident_bytes: Option<f64>,
    /// Processor time, user and system, in seconds.
    cpu_seconds: Option<f64>,
    open_fds: Option<f64>,
    /// Most open file descriptors.
    max_fds: Option<f64>,
    /// Start, in seconds since the Unix epoch.
    started: Option<f64>,
}

impl Usage {
    fn now() -> Self {
        Self {
            resident_bytes: fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes),
            cpu_seconds: Some(seconds(ClockId::ProcessCPUTime)),
            open_fds: open_fds(),
            max_fds: getrlimit(Resource::Nofile).current.map(double),
            started: started(),
        }
    }
}

/// The metrics in Prometheus' text format.
pub(super) fn render() -> String {
    let Usage { resident_bytes, cpu_seconds, open_fds, max_fds, started } = Usage::now();
    let mut text = String::new();
    for (name, kind, help, value) in [
        ("process_resident_memory_bytes", "gauge", "Memory that the process holds, in bytes.", resident_bytes),
        ("process_cpu_seconds_total", "counter", "Time of processors that it has used, in seconds.", cpu_seconds),
        ("process_open_fds", "gauge", "File descriptors that are open.", open_fds),
        ("process_max_fds", "gauge", "Most file descriptors that may be open.", max_fds),
        ("process_start_time_seconds", "gauge", "When it was started, in seconds since the Unix epoch.", started),
    ] {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        if let Some(value) = value {
            let _ = writeln!(text, "{name} {value}");
        }
        text.push('\n');
    }
    let lost = "colony_gateway_log_lines_lost_total";
    let help = "Log lines that were lost because the reader of standard error was too slow.";
    let _ = writeln!(text, "# HELP {lost} {help}\n# TYPE {lost} counter\n{lost} {}\n", lines_lost());
    text
}

/// From `/proc/self/status`, which gives kibibytes.
fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(double(kibibytes) * 1024.0)
}

/// Without the descriptor that is open for counting.
fn open_fds() -> Option<f64> {
    let directory = fs::read_dir("/proc/self/fd").or_else(|_| fs::read_dir("/dev/fd")).ok()?;
    Some(double(directory.count().saturating_sub(1) as u64))
}

#[cfg(target_os = "linux")]
fn started() -> Option<f64> {
    use std::sync::OnceLock;
    // Measured once, so that a later change of the clock does not look like a restart.
    static STARTED: OnceLock<Option<f64>> = OnceLock::new();
    *STARTED.get_or_init(|| {
        let ticks = started_ticks(&fs::read_to_string("/proc/self/stat").ok()?)?;
        Some(seconds(ClockId::Realtime) - (seconds(ClockId::Boottime) - double(ticks) / TICKS))
    })
}

#[cfg(not(target_os = "linux"))]
fn started() -> Option<f64> {
    None
}

/// From `/proc/self/stat`: ticks from the start of the machine to that of the process. The program's name, in parentheses,
/// may contain anything.
#[cfg(target_os = "linux")]
fn started_ticks(stat: &str) -> Option<u64> {
    // The 22nd field. The state, after the name, is the third.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "seconds of this age of the world stay far below 2^53")]
fn seconds(clock: ClockId) -> f64 {
    let now = clock_gettime(clock);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "gauges are doubles; what is counted stays far below 2^53")]
fn double(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a metric.
    #[cfg(target_os = "linux")]
    fn value(text: &str, name: &str) -> f64 {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_figures_are_those_of_this_process() {
        let before = value(&render(), "process_open_fds");
        let files: Vec<_> = (0..10).map(|_| fs::File::open("/proc/self/status").unwrap()).collect();
        let text = render();
        // Other tests may run in this process.
        assert!(value(&text, "process_open_fds") >= 10.0 && before >= 0.0, "{text}");
        drop(files);
        assert!(value(&text, "process_max_fds") >= value(&text, "process_open_fds"), "{text}");
        assert!(value(&text, "process_resident_memory_bytes") > 1e5, "{text}");
        assert!(value(&text, "process_cpu_seconds_total") > 0.0, "{text}");
        let started = value(&text, "process_start_time_seconds");
        let now = crate::domain::clock::Clock::system().now().as_seconds();
        assert!((now - 86_400.0..=now).contains(&started), "{started} is not before {now}");
        assert!((value(&render(), "process_start_time_seconds") - started).abs() < f64::EPSILON, "it stays");
    }

    #[test]
    fn what_the_system_says_is_read_as_it_is_written() {
        assert_eq!(resident_bytes("VmSize:\t  99 kB\nVmRSS:\t   12345 kB\nThreads:\t3\n"), Some(12_641_280.0));
        assert_eq!(resident_bytes("Threads:\t3\n"), None);
        assert_eq!(resident_bytes("VmRSS:\tmuch\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_may_be_called_anything() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 7 8 0 0 20 0 3 0 123456 1000 20 18446744073709551615";
        assert_eq!(started_ticks(stat), Some(123_456));
        assert_eq!(started_ticks("42 (short) S 1"), None);
        assert_eq!(started_ticks(""), None);
    }
}
