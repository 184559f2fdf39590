//! The disk of a database server: the test's side of `tests/faults/server_shim.c`.
//!
//! The server's processes record every change in a log. What is on the disk after a power cut follows from this log (see [`crate::told`]).

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;

use testkit::solo::Solo;

use crate::disk::{Luck, build};
use crate::told::{Node, State, read};

/// The fields of `struct control`, in its order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Control {
    /// The error that writes fail with.
    WriteErrno,
    /// The error that syncs fail with.
    SyncErrno,
    /// How many syncs fail.
    SyncFailures,
    /// Operations that the shim made fail so far.
    Failures,
}

const FIELDS: u64 = 4;

/// The disk of a server.
pub(crate) struct Drive {
    pub(crate) solo: Solo,
    log: PathBuf,
    control: File,
    environment: Vec<(String, String)>,
    /// The files at the beginning of the log; any power cut would leave them.
    base: Vec<Node>,
}

impl Drive {
    /// The disk of a new server that does not run yet.
    pub(crate) fn new() -> Self {
        let solo = Solo::new();
        let place = solo.dir().to_owned();
        let (library, log, control) = (place.join("server_shim.so"), place.join("told"), place.join("control"));
        build("server_shim.c", &library);
        File::create(&log).unwrap();
        let control_file = File::options().create(true).truncate(true).read(true).write(true).open(&control).unwrap();
        control_file.set_len(FIELDS * 8).unwrap();
        let data = solo.data();
        for path in [&log, &control, &library] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        }
        let pairs = [
            ("LD_PRELOAD", &library),
            ("SERVER_SHIM_DIR", &data),
            ("SERVER_SHIM_LOG", &log),
            ("SERVER_SHIM_CONTROL", &control),
        ];
        let environment = pairs.map(|(name, path)| (name.to_owned(), path.display().to_string())).to_vec();
        let base = read(&data);
        Self { solo, log, control: control_file, environment, base }
    }

    /// Starts the server. If it does not come up, the error is the text of its log.
    pub(crate) fn start(&self, settings: &[&str]) -> Result<(), String> {
        self.solo.start(settings, &self.environment)
    }

    /// Starts the server again if it has given up. Call this repeatedly: the server may be about to give up.
    pub(crate) fn revive(&self, settings: &[&str]) {
        if !self.solo.is_up() {
            // The next call may succeed: the obstacle is gone by then.
            let _ = self.start(settings);
        }
    }

    /// Changes a field; this takes effect at once.
    pub(crate) fn set(&self, field: Control, value: i64) {
        self.control.write_all_at(&value.to_ne_bytes(), field as u64 * 8).unwrap();
    }

    /// Reads a field.
    pub(crate) fn get(&self, field: Control) -> i64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, field as u64 * 8).unwrap();
        i64::from_ne_bytes(bytes)
    }

    /// Length of the log so far, in bytes.
    pub(crate) fn told(&self) -> u64 {
        fs::metadata(&self.log).unwrap().len()
    }

    /// Fails unless the log agrees with the server's files: otherwise no conclusion from the log would mean anything. The server must have
    /// stopped cleanly, so that every change is in the log.
    pub(crate) fn verify(&self) {
        let wrong = self.state(self.told()).differs(&read(&self.solo.data()));
        assert!(wrong.is_empty(), "files that differ from the log: {wrong:?}");
    }

    /// Adds to the log the changes that killed processes made but did not log, because the next processes see them. Every process must
    /// have ended.
    pub(crate) fn catch_up(&self) {
        let untold = self.state(self.told()).untold(&read(&self.solo.data()));
        File::options().append(true).open(&self.log).unwrap().write_all(&untold).unwrap();
    }

    /// The possible disk contents if the power fails when the log has this length. Every process of the server must have ended.
    pub(crate) fn state(&self, told: u64) -> State {
        let mut state = State::of(&self.base);
        let log = fs::read(&self.log).unwrap();
        state.follow(&log[..usize::try_from(told).unwrap()]);
        state
    }

    /// Puts the files in place that the power cut leaves with this luck.
    pub(crate) fn restore(&mut self, state: &State, luck: Luck, random: &mut fastrand::Rng) {
        let data = self.solo.data();
        for entry in fs::read_dir(&data).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
        }
        state.write(&data, luck, random);
        self.solo.give(&data);
    }

    /// Begins a new log with the present files.
    pub(crate) fn begin(&mut self) {
        self.base = read(&self.solo.data());
        File::options().write(true).open(&self.log).unwrap().set_len(0).unwrap();
    }
}
