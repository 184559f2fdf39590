//! The command line: one file a subcommand. Arguments in, exit code out; the work is done elsewhere.

pub mod simulate;
pub mod traffic;
