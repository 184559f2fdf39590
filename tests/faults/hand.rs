//! The hand of a clock: the time of day of the processes that have it in their environment, as far off as a test says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::disk::{Control, Disk};

/// An hour, in milliseconds.
const HOUR: i64 = 3_600_000;

/// A hand.
pub(crate) struct Hand(Disk);

impl Hand {
    /// A clock that is right; its files are kept in a directory that exists.
    pub(crate) fn new(place: &Path) -> Self {
        let disk = Disk::new(place, &place.join("elsewhere"));
        let [library, control] = disk.files();
        fs::set_permissions(control, fs::Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(library, fs::Permissions::from_mode(0o755)).unwrap();
        Self(disk)
    }

    /// What the processes have in their environment.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let [library, control] = self.0.files().map(|path| path.display().to_string());
        vec![("LD_PRELOAD".to_owned(), library), ("FAULT_SHIM_CONTROL".to_owned(), control)]
    }

    /// From now on the clock is so many milliseconds before the right time.
    pub(crate) fn turn(&self, ahead: i64) {
        self.0.set(Control::ClockOffset, ahead);
    }
}

/// Jumps of an hour, forward and back, or back and forward.
pub(crate) fn jumps(random: &mut fastrand::Rng) -> [i64; 2] {
    if random.bool() { [HOUR, -HOUR] } else { [-HOUR, HOUR] }
}
