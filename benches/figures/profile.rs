//! Which of Cargo's profiles a program was built with: Cargo calls its directory so, and tells it in no other way.

use std::path::Path;

/// The profile of a program below `target/`: `release` (also for `cargo bench` without `--profile`), `dist`, `debug`. For a
/// program that lies elsewhere it is the name of its directory.
pub(crate) fn of(program: &Path) -> String {
    let directory = program.ancestors().skip(1).find(|directory| !directory.ends_with("deps"));
    directory.and_then(Path::file_name).map_or_else(|| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}
