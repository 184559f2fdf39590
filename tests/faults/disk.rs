//! A disk that loses what was not synced, and a clock that jumps: the test's side of `tests/faults/fault_shim.c`.
//!
//! The model of a power cut is the harshest that SQLite promises to survive: of the writes since a file's last sync each
//! sector is there or not, in any combination; a file whose directory entry was not synced may be gone, and a removed one
//! may be back. Shared memory and locks are never there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::gateway::Options;

/// Bytes that a disk writes as one.
const SECTOR: usize = 512;

/// Bytes of a record before its data: kind, offset, length.
const RECORD: usize = 24;

/// The fields of `struct control`, in its order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Control {
    /// Added to the time of day, in milliseconds.
    ClockOffset,
    /// Operations left until the process kills itself; negative: never.
    CutAfter,
    /// What writes fail with.
    WriteErrno,
    /// What syncs fail with.
    SyncErrno,
    /// How many syncs fail.
    SyncFailures,
    /// Writes, syncs, truncations and removals so far.
    Operations,
    /// Operations that were made to fail so far.
    Failures,
}

/// Fields of the control file.
const FIELDS: u64 = 7;

/// The files below a directory, by name.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

/// The disk under a data directory.
pub(crate) struct Disk {
    directory: PathBuf,
    shadow: PathBuf,
    control_path: PathBuf,
    control: File,
    library: PathBuf,
}

/// A write, or a change of the file's length, that was not synced.
pub(crate) enum Pending {
    Write(usize, Vec<u8>),
    Truncate(usize),
    /// At least so long.
    Grow(usize),
}

impl Pending {
    /// Has it last.
    pub(crate) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, written) => {
                let end = offset + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(written);
            }
            Self::Truncate(length) => bytes.resize(*length, 0),
            Self::Grow(length) => bytes.resize(bytes.len().max(*length), 0),
        }
    }
}

/// How much of what was not synced is there after a power cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Luck {
    /// None of it.
    Nothing,
    /// All of it.
    Everything,
    /// The writes came in order, and the last one is torn.
    Prefix,
    /// Each sector with this chance.
    Sectors(f64),
}

/// Builds a library of this folder that is loaded before the C library.
pub(crate) fn build(source: &str, library: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults").join(source);
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(library).arg(source).arg("-ldl");
    let built = compiler.output().expect("a C compiler named cc");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

impl Luck {
    /// Any of them.
    pub(crate) fn draw(random: &mut fastrand::Rng) -> Self {
        match random.u8(..8) {
            0 | 1 => Self::Nothing,
            2 => Self::Everything,
            3 | 4 => Self::Prefix,
            _ => Self::Sectors(random.f64()),
        }
    }
}

impl Disk {
    /// The disk of a data directory, which it makes; its own files are kept below `place`.
    pub(crate) fn new(place: &Path, data: &Path) -> Self {
        fs::create_dir_all(data).unwrap();
        let shadow = place.join("shadow");
        fs::create_dir(&shadow).unwrap();
        let (library, control_path) = (place.join("fault_shim.so"), place.join("control"));
        build("fault_shim.c", &library);
        let control = File::options().create(true).truncate(true).read(true).write(true).open(&control_path).unwrap();
        control.set_len(FIELDS * 8).unwrap();
        let disk = Self { directory: data.canonicalize().unwrap(), shadow, control_path, control, library };
        disk.set(Control::CutAfter, -1);
        disk
    }

    /// The library, and the file by which it is told what to do.
    pub(crate) fn files(&self) -> [&Path; 2] {
        [&self.library, &self.control_path]
    }

    /// With these, a process has its files here and its time from here.
    pub(crate) fn settings(&self, options: Options) -> Options {
        options
            .with("LD_PRELOAD", self.library.display())
            .with("FAULT_SHIM_DIR", self.directory.display())
            .with("FAULT_SHIM_SHADOW", self.shadow.display())
            .with("FAULT_SHIM_CONTROL", self.control_path.display())
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

    /// What may be there after a power cut now. The process must have ended.
    pub(crate) fn image(&self, random: &mut fastrand::Rng) -> Image {
        self.image_of(Luck::draw(random), random)
    }

    /// What is there after a power cut with this luck.
    pub(crate) fn image_of(&self, luck: Luck, random: &mut fastrand::Rng) -> Image {
        let names = self.names(luck, random);
        names.into_iter().map(|name| (name.clone(), self.contents(&name, luck, random))).collect()
    }

    /// The power comes back on this image.
    pub(crate) fn restore(&self, image: &Image) {
        for directory in [&self.directory, &self.shadow] {
            fs::remove_dir_all(directory).unwrap();
            fs::create_dir(directory).unwrap();
            write(directory, image);
        }
        for name in image.keys() {
            fs::write(self.shadow.join(format!("{name}.named")), "").unwrap();
        }
    }

    fn names(&self, luck: Luck, random: &mut fastrand::Rng) -> BTreeSet<String> {
        let files = fs::read_dir(&self.shadow).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: BTreeSet<String> =
            files.filter_map(|name| name.strip_suffix(".named").map(str::to_owned)).collect();
        let changes = fs::read_to_string(self.shadow.join(".names")).unwrap_or_default();
        for change in changes.lines() {
            let happened = match luck {
                Luck::Nothing => false,
                Luck::Everything => true,
                Luck::Prefix | Luck::Sectors(_) => random.bool(),
            };
            let (kind, name) = change.split_at(1);
            match (happened, kind) {
                (true, "+") => drop(names.insert(name.to_owned())),
                (true, _) => drop(names.remove(name)),
                (false, _) => {}
            }
        }
        names
    }

    fn contents(&self, name: &str, luck: Luck, random: &mut fastrand::Rng) -> Vec<u8> {
        let bytes = fs::read(self.shadow.join(name)).unwrap_or_default();
        let pending = records(&fs::read(self.shadow.join(format!("{name}.pending"))).unwrap_or_default());
        mixed(&bytes, &pending, luck, random)
    }
}

/// What is there of a file after a power cut: what lasts, and some of what was not synced.
pub(crate) fn mixed(durable: &[u8], pending: &[Pending], luck: Luck, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = durable.to_vec();
    let whole = match luck {
        Luck::Nothing => 0,
        Luck::Everything | Luck::Sectors(_) => pending.len(),
        Luck::Prefix => random.usize(..=pending.len()),
    };
    let chance = if let Luck::Sectors(chance) = luck { chance } else { 1.0 };
    for (number, change) in pending.iter().enumerate() {
        let torn = matches!(luck, Luck::Prefix) && number == whole;
        if number > whole || number == whole && !torn {
            break;
        }
        match change {
            Pending::Truncate(length) if !torn && random.f64() < chance => bytes.resize(*length, 0),
            Pending::Grow(length) if !torn && random.f64() < chance => bytes.resize(bytes.len().max(*length), 0),
            Pending::Truncate(_) | Pending::Grow(_) => {}
            Pending::Write(offset, written) => {
                let end = if torn { random.usize(..=written.len()) } else { written.len() };
                sectors(&mut bytes, *offset, &written[..end], chance, random);
            }
        }
    }
    bytes
}

/// Writes the sectors of one write that reached the disk.
fn sectors(bytes: &mut Vec<u8>, offset: usize, written: &[u8], chance: f64, random: &mut fastrand::Rng) {
    let mut at = 0;
    while at < written.len() {
        let end = (SECTOR - (offset + at) % SECTOR + at).min(written.len());
        if random.f64() < chance {
            let needed = offset + end;
            if bytes.len() < needed {
                bytes.resize(needed, 0);
            }
            bytes[offset + at..needed].copy_from_slice(&written[at..end]);
        }
        at = end;
    }
}

/// The records of a log; the last one may have been cut off by the end of the process.
fn records(log: &[u8]) -> Vec<Pending> {
    let field = |at: usize| {
        let bytes = log.get(at..at + 8)?;
        usize::try_from(i64::from_ne_bytes(bytes.try_into().ok()?)).ok()
    };
    let mut records = Vec::new();
    let mut at = 0;
    while let (Some(kind), Some(offset), Some(length)) = (field(at), field(at + 8), field(at + 16)) {
        let Some(bytes) = log.get(at + RECORD..at + RECORD + length) else { break };
        records.push(if kind == 1 { Pending::Truncate(offset) } else { Pending::Write(offset, bytes.to_vec()) });
        at += RECORD + length;
    }
    records
}

/// Writes an image into a directory.
pub(crate) fn write(directory: &Path, image: &Image) {
    for (name, bytes) in image {
        fs::write(directory.join(name), bytes).unwrap();
    }
}
