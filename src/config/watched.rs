//! Files that secrets and rules came from, and how a change of one is noticed without reading it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::domain::clock::Timestamp;

/// Keys should be rotated every quarter at the latest.
pub const KEY_AGE_MAX: Duration = Duration::from_hours(24 * 92);

/// A file that holds a secret or rules, to be read again when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedFile {
    /// Name of the setting, such as `STRIPE_WEBHOOK_SECRET`.
    pub setting: &'static str,
    pub path: PathBuf,
    /// Its mark just before it was read, so that no change falls between reading and watching.
    pub mark: Option<FileMark>,
}

impl WatchedFile {
    pub(super) fn new(setting: &'static str, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { setting, mark: FileMark::of(&path), path }
    }
}

/// Tells one content of a file from another. Replacing a file changes its number, writing into it its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMark {
    number: u64,
    bytes: u64,
    modified: (i64, i64),
    pub written: Option<Timestamp>,
}

impl FileMark {
    /// The mark of a file; `None` if it does not exist. Blocks.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let written = metadata.modified().ok().and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
        let written = written.and_then(|since| i64::try_from(since.as_millis()).ok()).map(Timestamp::from_millis);
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Some(Self { number: metadata.ino(), bytes: metadata.len(), modified, written })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_or_written_has_another_mark() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        assert_eq!(FileMark::of(&path), None);
        std::fs::write(&path, "one").unwrap();
        let first = FileMark::of(&path).unwrap();
        assert_eq!(FileMark::of(&path), Some(first));
        std::fs::write(&path, "three").unwrap();
        assert_ne!(FileMark::of(&path), Some(first));
        let next = directory.path().join("next");
        std::fs::write(&next, "one").unwrap();
        std::fs::rename(next, &path).unwrap();
        assert_ne!(FileMark::of(&path), Some(first));
    }
}
