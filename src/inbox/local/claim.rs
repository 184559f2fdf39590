//! Who may change the files of a directory: one gateway, or a restore.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::inbox::error::OpenError;

/// The right to the inbox of a directory. While it exists, no gateway starts on that inbox.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "held for its lock")] File);

/// Claims a directory that exists.
///
/// # Errors
/// [`OpenError::Locked`] while a gateway runs on it.
pub fn claim(directory: &Path) -> Result<Claim, OpenError> {
    let path = directory.join("inbox.lock");
    let cannot = |source| OpenError::Path {
        path: path.clone(),
        message: "the lock file cannot be written; check the directory's owner and that the disk is not read-only",
        source,
    };
    // Never through a link that another user put there.
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600).custom_flags(flags);
    let file = options.open(&path).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(Claim(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(cannot(source)),
    }
}

/// Record of a restore that has begun to move files. While it is there, no program opens the inbox.
pub fn restore_journal(directory: &Path) -> PathBuf {
    directory.join("restore.journal")
}
