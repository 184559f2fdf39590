//! How many files, connections among them, the process may have open at once.
//!
//! The system gives a process a small number at first, which it may raise by itself up to a hard limit. A small number is for programs
//! that use `select`, which this one does not.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The number to ask for where there is no hard limit; macOS takes no larger one.
const WITHOUT_LIMIT: u64 = 10_240;

/// Raises the number as far as the process may. Returns what it is then; `None` means that there is no limit.
pub fn allow_most_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (now, most) = (current?, maximum.unwrap_or(WITHOUT_LIMIT));
    let is_raised = now < most && setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum }).is_ok();
    Some(if is_raised { most } else { now })
}
