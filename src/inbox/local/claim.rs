//! Who may change the files of a directory: one gateway, or a restore.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::inbox::error::OpenError;

/// The right to the inbox of a directory. While it exists, no gateway starts on that inbox.
#[derive(Debug)]
pub struct Claim {
    directory: PathBuf,
    lock: File,
}

impl Claim {
    /// Claims the directory again if the lock file was removed, as people do who take it for a left-over. Without its name, the lock
    /// keeps no other gateway out.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if another gateway was quicker. Then nothing may be written any more.
    pub fn keep(&mut self) -> Result<(), OpenError> {
        let identity = |found: Metadata| (found.dev(), found.ino());
        let held = self.lock.metadata().map(identity);
        let named = std::fs::metadata(self.directory.join(FILE_NAME)).map(identity);
        if held.is_err() || held.ok() == named.ok() {
            return Ok(());
        }
        match claim(&self.directory) {
            Ok(again) => {
                tracing::warn!("the lock file of the inbox was removed: made again");
                *self = again;
                Ok(())
            }
            Err(error @ OpenError::Locked { .. }) => Err(error),
            // Where no lock file can be made, no other gateway starts either.
            Err(_) => Ok(()),
        }
    }
}

const FILE_NAME: &str = "inbox.lock";

/// Claims a directory that exists.
///
/// # Errors
/// [`OpenError::Locked`] while a gateway runs on it.
pub fn claim(directory: &Path) -> Result<Claim, OpenError> {
    let path = directory.join(FILE_NAME);
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
        Ok(()) => Ok(Claim { directory: directory.to_owned(), lock: file }),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(cannot(source)),
    }
}

/// Record of a restore that has begun to move files. While it is there, no program opens the inbox.
pub fn restore_journal(directory: &Path) -> PathBuf {
    directory.join("restore.journal")
}
