//! Room on a disk.

use std::io;
use std::path::Path;

/// Room on the file system that holds a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that a program without privileges may still write.
    pub free: u64,
    /// All bytes.
    pub total: u64,
}

/// Asks the file system that holds `path`, which must exist. Blocks.
///
/// # Errors
/// The system's error.
pub fn room(path: &Path) -> io::Result<Room> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(Room { free: disk.f_bavail.saturating_mul(disk.f_frsize), total: disk.f_blocks.saturating_mul(disk.f_frsize) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_no_more_room_than_it_is_large() {
        let directory = tempfile::tempdir().unwrap();
        let room = room(directory.path()).unwrap();
        assert!(room.total > 0 && room.free <= room.total, "{room:?}");
        assert!(super::room(&directory.path().join("none")).is_err());
    }
}
