//! The disk of a database server: the test's side of `tests/faults/server_shim.c`.
//!
//! The server's processes tell of every change; what is there after a power cut follows from the log of them (see [`crate::told`]).

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
    /// What writes fail with.
    WriteErrno,
    /// What syncs fail with.
    SyncErrno,
    /// How many syncs fail.
    SyncFailures,
    /// Operations that were made to fail so far.
    Failures,
}

const FIELDS: u64 = 4;

/// The disk of a server.
pub(crate) struct Drive {
    pub(crate) solo: Solo,
    log: PathBuf,
    control: File,
    environment: Vec<(String, String)>,
    /// What was there, and would be after any power cut, when the log began.
    base: Vec<Node>,
}

impl Drive {
    /// The disk of a new server, which is down.
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

    /// Starts the server; what its log says when it does not come up.
    pub(crate) fn start(&self, settings: &[&str]) -> Result<(), String> {
        self.solo.start(settings, &self.environment)
    }

    /// Starts the server again if it has given up. To be asked again: it may be about to.
    pub(crate) fn revive(&self, settings: &[&str]) {
        if !self.solo.is_up() {
            // What is in its way for the moment is not the next time.
            let _ = self.start(settings);
        }
    }

    /// Changes a field, at once.
    pub(crate) fn set(&self, field: Control, value: i64) {
        self.control.write_all_at(&value.to_ne_bytes(), field as u64 * 8).unwrap();
    }

    /// Reads a field.
    pub(crate) fn get(&self, field: Control) -> i64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, field as u64 * 8).unwrap();
        i64::from_ne_bytes(bytes)
    }

    /// How much the server has told of so far.
    pub(crate) fn told(&self) -> u64 {
        fs::metadata(&self.log).unwrap().len()
    }

    /// Fails unless all that the server told of is what its files have: else nothing that follows from it would mean anything. It must
    /// have ended in order, so that nothing was done and not told.
    pub(crate) fn verify(&self) {
        let wrong = self.state(self.told()).differs(&read(&self.solo.data()));
        assert!(wrong.is_empty(), "not as it was told: {wrong:?}");
    }

    /// Has the log tell of what killed processes did and did not tell any more: the next ones see it. Every process must have ended.
    pub(crate) fn catch_up(&self) {
        let untold = self.state(self.told()).untold(&read(&self.solo.data()));
        File::options().append(true).open(&self.log).unwrap().write_all(&untold).unwrap();
    }

    /// What may be there if the power fails when the server has told of this much. Every process of it must have ended.
    pub(crate) fn state(&self, told: u64) -> State {
        let mut state = State::of(&self.base);
        let log = fs::read(&self.log).unwrap();
        state.follow(&log[..usize::try_from(told).unwrap()]);
        state
    }

    /// The power comes back on what is there with this luck.
    pub(crate) fn restore(&mut self, state: &State, luck: Luck, random: &mut fastrand::Rng) {
        let data = self.solo.data();
        for entry in fs::read_dir(&data).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
        }
        state.write(&data, luck, random);
        self.solo.give(&data);
    }

    /// The log begins anew, with what is there now.
    pub(crate) fn begin(&mut self) {
        self.base = read(&self.solo.data());
        File::options().write(true).open(&self.log).unwrap().set_len(0).unwrap();
    }
}
