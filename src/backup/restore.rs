//! From an archive back to files.

use std::path::{Path, PathBuf};

use super::age::Age;
use super::archive;
use super::keys::Identities;
use super::swap::{self, Move, beside};
use super::{BackupError, INBOX, KEYS, KeyPlace, LEDGER, Manifest, files, stamp};
use crate::domain::clock::Clock;
use crate::inbox::{self, OpenError};
use crate::ledger::sqlite;

/// Behind the name of a file that is about to be put into place.
const STAGED: &str = ".restoring";

/// Where things go.
#[derive(Clone, Debug)]
pub struct Target {
    /// Directory of the inbox.
    pub data_dir: PathBuf,
    /// File of the embedded ledger, if that is the state of record.
    pub ledger: Option<PathBuf>,
    /// Where key files belong that the environment names. Others go to `keys/` in the data directory.
    pub keys: Vec<KeyPlace>,
}

/// What became of a file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFate {
    /// Put into place.
    Placed,
    /// Put into place; what was there is kept here.
    Replaced(PathBuf),
    /// What is there is the same.
    Same,
    /// What is there differs and was kept.
    Kept,
    /// Not used here.
    LeftOut,
}

/// A file of the archive, where it belongs, and what became of it, or would.
#[derive(Clone, Debug)]
pub struct FileLine {
    /// Its name in the archive.
    pub name: String,
    /// Where it belongs.
    pub path: PathBuf,
    /// What became of it.
    pub fate: FileFate,
}

/// What was restored, or would be.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the archive says of itself.
    pub manifest: Manifest,
    /// File by file.
    pub lines: Vec<FileLine>,
}

/// Checks the archive and puts its files into place. With `dry_run` it only checks. Blocks.
///
/// # Errors
/// When the archive is not good, a gateway runs on the directory, or files are in the way that are not to be replaced
/// (`force`). Nothing was changed then.
pub fn restore(
    age: &Age,
    path: &Path,
    identities: &Identities,
    target: &Target,
    (dry_run, force): (bool, bool),
    clock: &Clock,
) -> Result<Restored, BackupError> {
    let data_dir = &target.data_dir;
    std::fs::create_dir_all(data_dir).map_err(BackupError::file(data_dir, "cannot be created"))?;
    let _claim = inbox::claim(data_dir).map_err(BackupError::Inbox)?;
    swap::finish_claimed(data_dir)?;
    let mut staged = Staged::default();
    let manifest = archive::extract(age, path, identities, |manifest| {
        inbox_is_known(path, manifest)?;
        manifest.files.iter().map(|note| staged.place(target, &note.name)).collect()
    })?;
    staged.check(path)?;
    let (lines, moves) = staged.plan(force, dry_run, &stamp(clock.now()))?;
    if !dry_run {
        // From here on the files are the journal's: what it names must stay until it is moved.
        staged.hand_over(&moves);
        swap::commit(data_dir, &moves, &mut || Ok(()))?;
    }
    Ok(Restored { manifest, lines })
}

fn inbox_is_known(path: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let known = inbox::FORMAT_KNOWN;
    if manifest.inbox_format > known {
        let found = manifest.inbox_format;
        return Err(BackupError::Newer { path: path.to_owned(), what: "inbox", found, known });
    }
    Ok(())
}

/// Files that wait beside their targets. Those that are still there when this goes out of use are removed.
#[derive(Default)]
struct Staged(Vec<Part>);

struct Part {
    name: String,
    target: PathBuf,
    /// `None`: left out.
    staged: Option<PathBuf>,
}

impl Staged {
    /// Where a file of the archive is to be written.
    fn place(&mut self, target: &Target, name: &str) -> Result<Option<PathBuf>, BackupError> {
        let place = match (name, name.strip_prefix(KEYS)) {
            (INBOX, _) => Some(target.data_dir.join(INBOX)),
            (LEDGER, _) => target.ledger.clone(),
            (_, Some(key)) => {
                let named = target.keys.iter().find(|place| place.name == key).map(|place| place.path.clone());
                Some(named.unwrap_or_else(|| target.data_dir.join("keys").join(key)))
            }
            _ => None,
        };
        let staged = place.as_ref().map(|place| beside(place, STAGED));
        if let Some(parent) = place.as_ref().and_then(|place| place.parent()) {
            private_directory(parent)?;
        }
        let target = place.unwrap_or_else(|| PathBuf::from(name));
        self.0.push(Part { name: name.to_owned(), target, staged: staged.clone() });
        Ok(staged)
    }

    /// Whether the databases are whole and of formats that are known here.
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

    /// Removes what is not to be moved, and forgets the rest.
    fn hand_over(&mut self, moves: &[Move]) {
        let is_moved = |part: &Part| moves.iter().any(|one| Some(&one.staged) == part.staged.as_ref());
        let (moved, unused): (Vec<Part>, Vec<Part>) = std::mem::take(&mut self.0).into_iter().partition(is_moved);
        drop(moved);
        drop(Self(unused));
    }

    /// What to do with each file.
    fn plan(&self, force: bool, dry_run: bool, stamp: &str) -> Result<(Vec<FileLine>, Vec<Move>), BackupError> {
        let (mut lines, mut moves) = (Vec::new(), Vec::new());
        for part in &self.0 {
            let is_key = part.name.starts_with(KEYS);
            let aside = beside(&part.target, &format!(".before-restore-{stamp}"));
            let there = part.target.exists();
            let fate = match &part.staged {
                None => FileFate::LeftOut,
                Some(_) if !there => FileFate::Placed,
                Some(staged) if is_key && same(staged, &part.target)? => FileFate::Same,
                // A key that was rotated since the backup is the one that the colony knows.
                Some(_) if is_key && !force => FileFate::Kept,
                Some(_) if !force && !dry_run => return Err(BackupError::InTheWay { path: part.target.clone() }),
                Some(_) => FileFate::Replaced(aside.clone()),
            };
            if let (FileFate::Placed | FileFate::Replaced(_), Some(staged)) = (&fate, &part.staged) {
                let (staged, target) = (staged.clone(), part.target.clone());
                moves.push(Move { staged, target, aside, database: !is_key });
            }
            lines.push(FileLine { name: part.name.clone(), path: part.target.clone(), fate });
        }
        Ok((lines, moves))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for staged in self.0.iter().filter_map(|part| part.staged.as_ref()) {
            for path in [staged.clone(), beside(staged, "-wal"), beside(staged, "-shm"), beside(staged, "-journal")] {
                // What stays behind is private, and the next restore replaces it.
                let _ = files::remove(&path);
            }
        }
    }
}

fn same(one: &Path, other: &Path) -> Result<bool, BackupError> {
    Ok(files::note("", one)? == files::note("", other)?)
}

fn private_directory(path: &Path) -> Result<(), BackupError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path).map_err(BackupError::file(path, "cannot be created"))
}

/// What is wrong with the inbox of an archive, in words about the archive.
fn of_inbox(path: &Path, error: OpenError) -> BackupError {
    let path = path.to_owned();
    match error {
        OpenError::Damaged { detail, .. } => BackupError::Damaged { path, why: format!("its inbox: {detail}") },
        OpenError::Foreign { .. } => BackupError::Foreign { path, why: "its inbox is another database".to_owned() },
        OpenError::Newer { found, known, .. } => BackupError::Newer { path, what: "inbox", found, known },
        other => BackupError::Inbox(other),
    }
}
