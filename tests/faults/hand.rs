//! The hand of a clock. A test turns it, and processes that have it in their environment see a time of day that is off by as much.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::disk::{Control, Disk};

/// An hour, in milliseconds.
const HOUR: i64 = 3_600_000;

/// The hand of a clock.
pub(crate) struct Hand(Disk);

impl Hand {
    /// A clock that shows the right time. Its files are in `place`, which must exist.
    pub(crate) fn new(place: &Path) -> Self {
        let disk = Disk::new(place, &place.join("elsewhere"));
        let [library, control] = disk.files();
        fs::set_permissions(control, fs::Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(library, fs::Permissions::from_mode(0o755)).unwrap();
        Self(disk)
    }

    /// The variables that put a process under this clock.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let [library, control] = self.0.files().map(|path| path.display().to_string());
        vec![("LD_PRELOAD".to_owned(), library), ("FAULT_SHIM_CONTROL".to_owned(), control)]
    }

    /// From now on the clock is this many milliseconds ahead of the right time.
    pub(crate) fn turn(&self, ahead: i64) {
        self.0.set(Control::ClockOffset, ahead);
    }
}

/// Two jumps of an hour, in random order: one forward, one back.
pub(crate) fn jumps(random: &mut fastrand::Rng) -> [i64; 2] {
    if random.bool() { [HOUR, -HOUR] } else { [-HOUR, HOUR] }
}
