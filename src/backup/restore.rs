//! From an archive back to files.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::age::Age;
use super::archive;
use super::keys::Identities;
use super::places::{Record, aside, beside, staged};
use super::{BackupError, INBOX, KEYS, LEDGER, Manifest, Target, files, stamp, swap};
use crate::domain::clock::Clock;
use crate::inbox::{self, OpenError};
use crate::ledger::sqlite;

/// What became of a file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFate {
    /// It was put into place.
    Placed,
    /// It was put into place, and the former file is kept here.
    Replaced(PathBuf),
    /// The existing file is the same.
    Same,
    /// The existing file differs and was kept.
    Kept,
    /// It is not used here.
    LeftOut,
}

/// A file of the archive, its place, and what became of it, or would.
#[derive(Clone, Debug)]
pub struct FileLine {
    /// Its name in the archive.
    pub name: String,
    /// Its place.
    pub path: PathBuf,
    /// What became of it.
    pub fate: FileFate,
}

/// What was restored, or would be.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The archive's own description.
    pub manifest: Manifest,
    /// One line per file.
    pub lines: Vec<FileLine>,
}

/// Checks the archive and puts its files into place. Blocks.
///
/// # Errors
/// If the archive is bad, a gateway runs on the directory, or files are in the way that may not be replaced (`force`). Then
/// nothing was changed.
pub fn restore(
    age: &Age,
    path: &Path,
    identities: &Identities,
    target: &Target,
    force: bool,
    clock: &Clock,
) -> Result<Restored, BackupError> {
    let data_dir = &target.data_dir;
    // Before anything else.
    std::fs::File::open(path).map_err(BackupError::file(path, "cannot be read"))?;
    private_directory(data_dir)?;
    let _claim = inbox::claim(data_dir).map_err(|error| match error {
        OpenError::Locked { .. } => BackupError::Running { path: data_dir.clone() },
        other => BackupError::Inbox(other),
    })?;
    swap::finish_claimed(target)?;
    let mut staging = Staged::default();
    let manifest = archive::extract(age, path, identities, |manifest| {
        inbox_is_known(path, manifest)?;
        manifest.files.iter().map(|note| staging.beside_its_place(target, &note.name)).collect()
    })?;
    staging.check(path)?;
    let stamp = stamp(clock.now());
    let (lines, files) = staging.plan(force, false, &stamp)?;
    let record = Record { files, stamp };
    // From here on the journal owns the files: those that it names must stay until they are moved.
    staging.hand_over(&record);
    swap::commit(target, &record, &mut || Ok(()))?;
    Ok(Restored { manifest, lines })
}

/// Checks the archive as [`restore`] does, and reports what that would do. It changes nothing and may run beside a gateway.
/// For the check, the databases are unpacked into a private directory below `scratch`, which is removed again. Blocks.
///
/// # Errors
/// Those of [`restore`], except for files that it does not touch.
pub fn rehearse(
    age: &Age,
    path: &Path,
    identities: &Identities,
    target: &Target,
    (force, scratch): (bool, &Path),
    clock: &Clock,
) -> Result<Restored, BackupError> {
    std::fs::File::open(path).map_err(BackupError::file(path, "cannot be read"))?;
    let scratch = Scratch::make(scratch)?;
    let mut staging = Staged::default();
    let manifest = archive::extract(age, path, identities, |manifest| {
        inbox_is_known(path, manifest)?;
        Ok(manifest
            .files
            .iter()
            .enumerate()
            .map(|(number, note)| staging.within(target, &note.name, &scratch, number))
            .collect())
    })?;
    staging.check(path)?;
    let (lines, _) = staging.plan(force, true, &stamp(clock.now()))?;
    Ok(Restored { manifest, lines })
}

/// A private directory. Dropping it removes it.
struct Scratch(PathBuf);

impl Scratch {
    fn make(within: &Path) -> Result<Self, BackupError> {
        let cannot = "cannot be created; TMPDIR names another place for what a dry run unpacks";
        let mut random = [0_u8; 8];
        let filled = getrandom::fill(&mut random).map_err(std::io::Error::other);
        let path = within.join(format!("colony-gateway-restore-{}", hex::encode(random)));
        filled.map_err(BackupError::file(&path, "cannot be named: the system gives no randomness"))?;
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(BackupError::file(&path, cannot))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Remaining files are private.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn inbox_is_known(path: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let known = inbox::FORMAT_KNOWN;
    if manifest.inbox_format > known {
        let found = manifest.inbox_format;
        return Err(BackupError::Newer { path: path.to_owned(), what: "inbox", found, known });
    }
    Ok(())
}

/// Files that wait beside their targets. Dropping this removes those that are still there.
#[derive(Default)]
struct Staged(Vec<Part>);

struct Part {
    name: String,
    target: PathBuf,
    /// `None` if it is left out.
    staged: Option<PathBuf>,
}

impl Staged {
    /// Where to write a file of the archive until it is moved: beside its place.
    fn beside_its_place(&mut self, target: &Target, name: &str) -> Result<Option<PathBuf>, BackupError> {
        let place = target.place(name);
        if let Some(parent) = place.as_ref().and_then(|place| place.parent()) {
            private_directory(parent)?;
            not_through_a_link(parent)?;
        }
        let staged = place.as_ref().map(|place| staged(place));
        self.note(name, place, staged.clone());
        Ok(staged)
    }

    /// Where to write a file of the archive that is only checked.
    fn within(&mut self, target: &Target, name: &str, scratch: &Scratch, number: usize) -> Option<PathBuf> {
        let place = target.place(name);
        let staged = place.as_ref().map(|_| scratch.0.join(number.to_string()));
        self.note(name, place, staged.clone());
        staged
    }

    fn note(&mut self, name: &str, place: Option<PathBuf>, staged: Option<PathBuf>) {
        let target = place.unwrap_or_else(|| PathBuf::from(name));
        self.0.push(Part { name: name.to_owned(), target, staged });
    }

    /// Whether the databases are undamaged and in known formats.
    fn check(&self, path: &Path) -> Result<(), BackupError> {
        for part in &self.0 {
            let Some(staged) = &part.staged else { continue };
            if part.name == INBOX {
                inbox::inspect(staged).map_err(|error| of_inbox(path, error))?;
            } else if part.name == LEDGER {
                sqlite::inspect(staged).map_err(BackupError::Ledger)?;
            }
        }
        Ok(())
    }

    /// Removes the files that will not be moved, and no longer owns the others.
    fn hand_over(&mut self, record: &Record) {
        let is_moved = |part: &Part| record.files.contains(&part.name);
        let (moved, unused): (Vec<Part>, Vec<Part>) = std::mem::take(&mut self.0).into_iter().partition(is_moved);
        drop(moved);
        drop(Self(unused));
    }

    /// Decides what to do with each file.
    fn plan(&self, force: bool, dry_run: bool, stamp: &str) -> Result<(Vec<FileLine>, Vec<String>), BackupError> {
        let (mut lines, mut moved) = (Vec::new(), Vec::new());
        for part in &self.0 {
            let is_key = part.name.starts_with(KEYS);
            let aside = aside(&part.target, stamp);
            let there = part.target.exists();
            let fate = match &part.staged {
                None => FileFate::LeftOut,
                Some(_) if !there => FileFate::Placed,
                Some(staged) if is_key && same(staged, &part.target)? => FileFate::Same,
                // If a key was rotated since the backup, the existing one is what the colony knows.
                Some(_) if is_key && !force => FileFate::Kept,
                Some(_) if !force && !dry_run => return Err(BackupError::InTheWay { path: part.target.clone() }),
                Some(_) => FileFate::Replaced(aside.clone()),
            };
            if matches!(fate, FileFate::Placed | FileFate::Replaced(_)) {
                moved.push(part.name.clone());
            }
            lines.push(FileLine { name: part.name.clone(), path: part.target.clone(), fate });
        }
        Ok((lines, moved))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for staged in self.0.iter().filter_map(|part| part.staged.as_ref()) {
            for path in [staged.clone(), beside(staged, "-wal"), beside(staged, "-shm"), beside(staged, "-journal")] {
                // Remaining files are private, and the next restore replaces them.
                let _ = files::remove(&path);
            }
        }
    }
}

fn same(one: &Path, other: &Path) -> Result<bool, BackupError> {
    Ok(files::note("", one)? == files::note("", other)?)
}

fn private_directory(path: &Path) -> Result<(), BackupError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(BackupError::file(path, "cannot be created"))
}

/// Refuses a directory that another user may have swapped: if the path is a link, the link must belong to this user.
fn not_through_a_link(path: &Path) -> Result<(), BackupError> {
    let look = |path: &Path| std::fs::symlink_metadata(path).map_err(BackupError::file(path, "cannot be looked at"));
    let found = look(path)?;
    let us = rustix::process::geteuid().as_raw();
    if found.is_symlink() && found.uid() != us {
        let why = format!("it is a link of user {}, and this is user {us}", found.uid());
        return Err(BackupError::Planted { path: path.to_owned(), why });
    }
    Ok(())
}

/// A fault of an archive's inbox, in words about the archive.
fn of_inbox(path: &Path, error: OpenError) -> BackupError {
    let path = path.to_owned();
    match error {
        OpenError::Damaged { detail, .. } => BackupError::Damaged { path, why: format!("its inbox: {detail}") },
        OpenError::Foreign { .. } => BackupError::Foreign { path, why: "its inbox is another database".to_owned() },
        OpenError::Newer { found, known, .. } => BackupError::Newer { path, what: "inbox", found, known },
        other => BackupError::Inbox(other),
    }
}
