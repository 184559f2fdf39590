//! Reads the log in which a server records changes of its disk (see `tests/faults/server_shim.c`), and finds the possible contents after a
//! power cut.
//!
//! Each sector that was written since a file's last sync may or may not be there, as for the inbox file (see [`crate::disk`]). Changes
//! of file names last in their order, as in the journal of a file system: a sync of a file or directory makes all changes of names
//! last, up to its own latest one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::disk::{Luck, Pending, mixed};

/// Bytes of a record's head, before its names and contents.
const RECORD: usize = 56;

/// The bytes with which each record begins.
const MARK: [u8; 8] = 0x5ee7_a31d_b94c_0f68_i64.to_ne_bytes();

/// Kinds of records, as `server_shim.c` has them.
const CREATE: i64 = 1;
const WRITE: i64 = 2;
const TRUNCATE: i64 = 3;
const GROW: i64 = 4;
const SYNC: i64 = 5;
const DROP: i64 = 6;
const UNLINK: i64 = 7;
const RENAME: i64 = 8;
const LINK: i64 = 9;
const MAKE: i64 = 10;
const REMOVE: i64 = 11;

/// Files that PostgreSQL writes through stdio or in memory, and creates again at each start.
const NOT_FOLLOWED: [&str; 3] = ["pg_stat", "pg_dynshmem", "postmaster."];

/// A file or directory on the disk.
pub(crate) struct Node {
    name: String,
    inode: i64,
    /// `None` for a directory.
    bytes: Option<Vec<u8>>,
}

/// A file, or a directory.
struct Object {
    is_directory: bool,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

impl Object {
    /// The contents that the processes see.
    fn seen(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for change in &self.pending {
            change.apply(&mut bytes);
        }
        bytes
    }
}

/// One record.
fn record(kind: i64, inode: i64, offset: usize, name: &str, bytes: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| i64::try_from(bytes).unwrap();
    let numbers = [kind, inode, length(offset), length(name.len()), 0, length(bytes.len())];
    let head: Vec<u8> = MARK.into_iter().chain(numbers.iter().flat_map(|number| number.to_ne_bytes())).collect();
    [&head, name.as_bytes(), bytes].concat()
}

/// A change of names.
enum Change {
    Add(String, usize),
    Remove(String),
    Rename(String, String),
}

/// The possible contents of the disk after a power cut at the end of a log.
pub(crate) struct State {
    objects: Vec<Object>,
    by_inode: HashMap<i64, usize>,
    /// The names that the processes see.
    seen: BTreeMap<String, usize>,
    /// The names that survive a power cut.
    named: BTreeMap<String, usize>,
    changes: Vec<Change>,
}

/// Everything below a directory, except for the file of the running server's process id.
pub(crate) fn read(directory: &Path) -> Vec<Node> {
    let (mut nodes, mut open) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
            if name == "postmaster.pid" {
                continue;
            }
            let is_directory = path.is_dir();
            let bytes = (!is_directory).then(|| fs::read(&path).unwrap());
            let inode = fs::metadata(&path).unwrap().ino().cast_signed();
            nodes.push(Node { name, inode, bytes });
            if is_directory {
                open.push(path);
            }
        }
    }
    nodes
}

impl State {
    /// The state at the beginning of a log.
    pub(crate) fn of(base: &[Node]) -> Self {
        let mut state = Self {
            objects: Vec::new(),
            by_inode: HashMap::new(),
            seen: BTreeMap::new(),
            named: BTreeMap::new(),
            changes: Vec::new(),
        };
        for Node { name, inode, bytes } in base {
            let object = state.make(*inode, bytes.is_none());
            state.objects[object].durable = bytes.clone().unwrap_or_default();
            state.seen.insert(name.clone(), object);
            state.named.insert(name.clone(), object);
        }
        state
    }

    fn make(&mut self, inode: i64, is_directory: bool) -> usize {
        self.objects.push(Object { is_directory, durable: Vec::new(), pending: Vec::new() });
        self.by_inode.insert(inode, self.objects.len() - 1);
        self.objects.len() - 1
    }

    /// Reads a log. A killed process may have left a part of a record; no other process has seen that change.
    pub(crate) fn follow(&mut self, log: &[u8]) {
        let field = |at: usize| Some(i64::from_ne_bytes(log.get(at..at + 8)?.try_into().ok()?));
        let is_start = |at: usize| log.get(at..at + MARK.len()) == Some(&MARK);
        let mut at = 0;
        while at < log.len() {
            let fields = (1..7).map(|n| field(at + n * 8)).collect::<Option<Vec<i64>>>();
            let Some(fields) = fields.filter(|_| is_start(at)) else {
                at += 1;
                continue;
            };
            let length = |n: usize| usize::try_from(fields[n]).unwrap();
            let (first, second, bytes) = (at + RECORD, at + RECORD + length(3), at + RECORD + length(3) + length(4));
            let end = bytes + length(5);
            if end != log.len() && !is_start(end) {
                at += 1;
                continue;
            }
            let text = |range: std::ops::Range<usize>| std::str::from_utf8(&log[range]).unwrap();
            self.tell(fields[0], fields[1], length(2), text(first..second), text(second..bytes), &log[bytes..end]);
            at = end;
        }
    }

    fn tell(&mut self, kind: i64, inode: i64, offset: usize, first: &str, second: &str, written: &[u8]) {
        let known = self.by_inode.get(&inode).copied();
        match kind {
            // Processes that find a file log this too, because their record may come before that of the process that created it.
            CREATE | MAKE => {
                if known.is_none() || known != self.seen.get(first).copied() {
                    let object = self.make(inode, kind == MAKE);
                    self.add(first, object);
                }
            }
            WRITE | TRUNCATE | GROW | SYNC | DROP => {
                let Some(object) = known else { return };
                let pending = &mut self.objects[object].pending;
                match kind {
                    WRITE => pending.push(Pending::Write(offset, written.to_vec())),
                    TRUNCATE => pending.push(Pending::Truncate(offset)),
                    GROW => pending.push(Pending::Grow(offset)),
                    SYNC => self.sync(object),
                    _ => pending.clear(),
                }
            }
            UNLINK | REMOVE => {
                if self.seen.remove(first).is_some() {
                    self.changes.push(Change::Remove(first.to_owned()));
                }
            }
            RENAME => {
                if let Some(object) = self.seen.remove(first) {
                    self.seen.insert(second.to_owned(), object);
                    self.changes.push(Change::Rename(first.to_owned(), second.to_owned()));
                }
            }
            LINK => {
                if let Some(object) = self.seen.get(first).copied() {
                    self.add(second, object);
                }
            }
            kind => unreachable!("a record of kind {kind}"),
        }
    }

    fn add(&mut self, name: &str, object: usize) {
        self.seen.insert(name.to_owned(), object);
        self.changes.push(Change::Add(name.to_owned(), object));
    }

    /// Makes a file's contents, or a directory's names, last.
    fn sync(&mut self, object: usize) {
        let file = &mut self.objects[object];
        for change in std::mem::take(&mut file.pending) {
            change.apply(&mut file.durable);
        }
        let names: Vec<&str> =
            self.seen.iter().filter(|(_, known)| **known == object).map(|(name, _)| name.as_str()).collect();
        let is_directory = file.is_directory;
        let concerns = |name: &str| names.iter().any(|own| if is_directory { is_in(name, own) } else { name == *own });
        let last = self.changes.iter().rposition(|change| match change {
            Change::Add(name, _) | Change::Remove(name) => concerns(name),
            Change::Rename(from, to) => concerns(from) || concerns(to),
        });
        if let Some(last) = last {
            for change in self.changes.drain(..=last) {
                change.apply(&mut self.named);
            }
        }
    }

    /// Names of the files on the disk that differ from the log.
    pub(crate) fn differs(&self, there: &[Node]) -> Vec<String> {
        let is_followed = |name: &str| {
            !NOT_FOLLOWED.iter().any(|start| name.starts_with(start)) && !name.ends_with("pg_internal.init")
        };
        let differs = |node: &&Node| match (self.seen.get(&node.name), &node.bytes) {
            (None, _) => true,
            (Some(object), Some(bytes)) => self.objects[*object].seen() != *bytes,
            (Some(_), None) => false,
        };
        let followed = there.iter().filter(|node| is_followed(&node.name));
        followed.filter(differs).map(|node| node.name.clone()).collect()
    }

    /// Records for the changes on the disk that the log lacks.
    pub(crate) fn untold(&self, there: &[Node]) -> Vec<u8> {
        let mut log = Vec::new();
        let names: BTreeSet<&str> = there.iter().map(|node| node.name.as_str()).collect();
        for name in self.seen.keys().filter(|name| !names.contains(name.as_str())) {
            log.extend(record(UNLINK, 0, 0, name, &[]));
        }
        for Node { name, inode, bytes } in there {
            let known = self.seen.get(name).filter(|object| self.by_inode.get(inode) == Some(object));
            if known.is_none() {
                log.extend(record(if bytes.is_some() { CREATE } else { MAKE }, *inode, 0, name, &[]));
            }
            let Some(bytes) = bytes else { continue };
            if known.is_none_or(|object| self.objects[*object].seen() != *bytes) {
                log.extend(record(WRITE, *inode, 0, "", bytes));
                log.extend(record(TRUNCATE, *inode, bytes.len(), "", &[]));
            }
        }
        log
    }

    /// Writes the files that the power cut leaves.
    pub(crate) fn write(&self, directory: &Path, luck: Luck, random: &mut fastrand::Rng) {
        let mut named = self.named.clone();
        let changed = match luck {
            Luck::Nothing => 0,
            Luck::Everything => self.changes.len(),
            Luck::Prefix | Luck::Sectors(_) => random.usize(..=self.changes.len()),
        };
        for change in &self.changes[..changed] {
            change.apply(&mut named);
        }
        // In order of names, so that a directory comes before its files.
        for (name, object) in named {
            let (path, object) = (directory.join(&name), &self.objects[object]);
            if name == "postmaster.pid" {
                continue;
            }
            if object.is_directory {
                fs::create_dir(&path).unwrap();
            } else {
                fs::write(&path, mixed(&object.durable, &object.pending, luck, random)).unwrap();
            }
        }
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Add(name, object) => drop(names.insert(name.clone(), *object)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to) => {
                if let Some(object) = names.remove(from) {
                    names.insert(to.clone(), object);
                }
            }
        }
    }
}

/// Whether a file is directly in a directory. The server's own directory has the empty name.
fn is_in(name: &str, directory: &str) -> bool {
    name.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/')).is_some_and(|rest| !rest.contains('/'))
}
