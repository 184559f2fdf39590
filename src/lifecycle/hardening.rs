//! Keeps what the process has in memory from being written down by the system when it crashes, or read by other programs of
//! the same user.

use std::io;

/// Forbids core dumps. On Linux it also keeps other programs of the same user from reading this process's memory and
/// environment (`PR_SET_DUMPABLE`). A core dump of a gateway contains its keys.
///
/// # Errors
/// If the system refuses; the process may go on.
pub fn forbid_core_dumps() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
