//! Key files: private to their owner (mode 0600), written whole or not at all, never overwritten by accident.
//!
//! A file is written under another name, flushed to the disk and then given its own, so that a crash at any point
//! leaves either no file or the whole one. All calls block.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::{KeyPair, KeyPairError, Role};
use crate::domain::clock::Timestamp;
use crate::domain::secret::Secret;

/// Most bytes of a key file.
pub const KEY_FILE_BYTES_MAX: usize = 4096;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only its owner.
    Owner,
    /// Everyone, because it holds public keys.
    Everybody,
}

/// A key file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// Its text.
    pub secret: Secret,
    /// When it was written, if the file system tells.
    pub modified: Option<Timestamp>,
    /// Whether others than its owner may read it.
    pub exposed: bool,
}

impl KeyFile {
    /// How long ago the key was written, if the file system tells.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.modified.map(|modified| now.since(modified))
    }
}

/// Writes a file that must not exist yet.
///
/// # Errors
/// [`KeyFileError::Exists`] if it does; [`KeyFileError::Write`] if the disk refuses.
pub fn write_new(path: &Path, text: &Secret, access: Access) -> Result<(), KeyFileError> {
    let temporary = Temporary::write(path, text, access)?;
    // A link never replaces an existing file, as a rename would.
    match fs::hard_link(&temporary.0, path) {
        Ok(()) => flush_directory(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(KeyFileError::Exists { path: path.to_owned() })
        }
        Err(source) => Err(KeyFileError::Write { path: path.to_owned(), source }),
    }
}

/// Writes a file, and replaces an existing one.
///
/// # Errors
/// If the disk refuses. The old file is then still there.
pub fn replace(path: &Path, text: &Secret, access: Access) -> Result<(), KeyFileError> {
    let temporary = Temporary::write(path, text, access)?;
    promote(&temporary.0, path)
}

/// Renames the file `from` to `to`, and replaces an existing one.
///
/// # Errors
/// If the disk refuses. Both files are then still there.
pub fn promote(from: &Path, to: &Path) -> Result<(), KeyFileError> {
    fs::rename(from, to).map_err(|source| KeyFileError::Write { path: to.to_owned(), source })?;
    flush_directory(to)
}

/// Reads a key file.
///
/// # Errors
/// If it cannot be read or is too long for a key.
pub fn read(path: &Path) -> Result<KeyFile, KeyFileError> {
    let failed = |source| KeyFileError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mut text = String::new();
    let bound = u64::try_from(KEY_FILE_BYTES_MAX).unwrap_or(u64::MAX);
    file.take(bound + 1).read_to_string(&mut text).map_err(failed)?;
    let secret = Secret::new(text);
    if secret.expose().len() > KEY_FILE_BYTES_MAX {
        return Err(KeyFileError::TooLong { path: path.to_owned() });
    }
    let modified = metadata.modified().ok().and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
    let modified = modified.and_then(|since| i64::try_from(since.as_millis()).ok()).map(Timestamp::from_millis);
    Ok(KeyFile { secret, modified, exposed: is_exposed(&metadata) })
}

/// Reads the key of a file, or makes and writes one if there is no file. The second field tells whether it was made. May be
/// interrupted and repeated.
///
/// # Errors
/// If the file cannot be read or written, or its text is not a key of that role.
pub fn ensure(role: Role, path: &Path) -> Result<(KeyPair, bool), KeyFileError> {
    match load(role, path) {
        Err(KeyFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        result => return result.map(|pair| (pair, false)),
    }
    let pair = KeyPair::generate(role).map_err(KeyFileError::Randomness)?;
    match write_new(path, &pair.secret, Access::Owner) {
        Ok(()) => Ok((pair, true)),
        // Another process was faster, so its key is the right one.
        Err(KeyFileError::Exists { .. }) => load(role, path).map(|pair| (pair, false)),
        Err(error) => Err(error),
    }
}

/// As [`ensure`], for the role's usual file name in a directory, which is made if it is missing.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_in(directory: &Path, role: Role) -> Result<(KeyPair, PathBuf, bool), KeyFileError> {
    private_directory(directory).map_err(|source| KeyFileError::Write { path: directory.to_owned(), source })?;
    let path = directory.join(role.file_name());
    ensure(role, &path).map(|(pair, made)| (pair, path, made))
}

/// Reads the key of a file.
///
/// # Errors
/// If the file cannot be read, or its text is not a key of that role.
pub fn load(role: Role, path: &Path) -> Result<KeyPair, KeyFileError> {
    KeyPair::read(role, &read(path)?.secret).map_err(|source| KeyFileError::Key { path: path.to_owned(), source })
}

/// A file with a name that no program looks for, removed after use.
struct Temporary(PathBuf);

impl Temporary {
    fn write(path: &Path, text: &Secret, access: Access) -> Result<Self, KeyFileError> {
        let failed = |source| KeyFileError::Write { path: path.to_owned(), source };
        let mut suffix = [0_u8; 8];
        getrandom::fill(&mut suffix).map_err(KeyFileError::Randomness)?;
        let mut name = OsString::from(".");
        name.push(path.file_name().ok_or_else(|| failed(io::Error::from(io::ErrorKind::InvalidFilename)))?);
        name.push(format!(".{}.tmp", hex::encode(suffix)));
        let temporary = path.with_file_name(name);
        let mut file = create_new(&temporary, access).map_err(failed)?;
        let written = Self(temporary);
        file.write_all(text.expose().trim_end().as_bytes()).map_err(failed)?;
        file.write_all(b"\n").map_err(failed)?;
        file.sync_all().map_err(failed)?;
        Ok(written)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename it is already gone. A file that stays behind is private and does no harm.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(unix)]
fn create_new(path: &Path, access: Access) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mode = match access {
        Access::Owner => 0o600,
        Access::Everybody => 0o644,
    };
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

#[cfg(not(unix))]
fn create_new(path: &Path, _access: Access) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Makes a directory that only its owner may enter, unless it exists.
///
/// # Errors
/// The system's own.
#[cfg(unix)]
pub fn private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a directory, unless it exists.
///
/// # Errors
/// The system's own.
#[cfg(not(unix))]
pub fn private_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(unix)]
fn is_exposed(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn is_exposed(_metadata: &fs::Metadata) -> bool {
    false
}

/// Makes a new name in a directory survive a crash of the machine.
fn flush_directory(path: &Path) -> Result<(), KeyFileError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| KeyFileError::Write { path: path.to_owned(), source })
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("the key file {} cannot be read", path.display())]
    Read {
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be written.
    #[error("the key file {} cannot be written", path.display())]
    Write {
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It exists.
    #[error("the key file {} exists; a key is never overwritten, move it away if it is not needed", path.display())]
    Exists { path: PathBuf },
    /// It is too long for a key.
    #[error("the file {} is longer than any key file ({KEY_FILE_BYTES_MAX} bytes)", path.display())]
    TooLong { path: PathBuf },
    /// It does not hold such a key.
    #[error("the key file {} cannot be used", path.display())]
    Key {
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyPairError,
    },
    /// No randomness.
    #[error("the operating system gives no randomness")]
    Randomness(#[source] getrandom::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("the directory is there");
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_key_file_is_private_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        write_new(&path, &Secret::new("secret"), Access::Owner).unwrap();
        let file = read(&path).unwrap();
        assert_eq!((file.secret.expose(), file.exposed), ("secret\n", false));
        assert_eq!(file.age(file.modified.unwrap().plus(Duration::from_secs(5))), Some(Duration::from_secs(5)));
        assert_eq!(names(directory.path()), ["key"]);
        replace(&path, &Secret::new("public"), Access::Everybody).unwrap();
        assert_eq!(read(&path).unwrap().secret.expose(), "public\n");
        assert_eq!(names(directory.path()), ["key"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_told() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        write_new(&path, &Secret::new("secret"), Access::Owner).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&path).unwrap().exposed);
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        write_new(&path, &Secret::new("first"), Access::Owner).unwrap();
        let refused = write_new(&path, &Secret::new("second"), Access::Owner);
        assert!(matches!(refused, Err(KeyFileError::Exists { .. })));
        assert_eq!(read(&path).unwrap().secret.expose(), "first\n");
        assert_eq!(names(directory.path()), ["key"]);
    }

    #[test]
    fn ensuring_keys_twice_makes_them_once() {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("new/keys");
        for role in Role::ALL {
            let (pair, path, made) = ensure_in(&keys, role).unwrap();
            assert!(made);
            assert_eq!(ensure_in(&keys, role).unwrap(), (pair, path, false));
        }
        assert_eq!(names(&keys).len(), Role::ALL.len());
    }

    #[test]
    fn a_file_without_a_key_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, "not a key").unwrap();
        assert!(matches!(ensure(Role::User, &path), Err(KeyFileError::Key { .. })));
        fs::write(&path, "0".repeat(KEY_FILE_BYTES_MAX + 1)).unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::TooLong { .. })));
        fs::write(&path, "0".repeat(KEY_FILE_BYTES_MAX)).unwrap();
        assert!(read(&path).is_ok());
        assert!(matches!(read(&directory.path().join("none")), Err(KeyFileError::Read { .. })));
        let nowhere = directory.path().join("no/such/directory/key");
        assert!(matches!(ensure(Role::User, &nowhere), Err(KeyFileError::Write { .. })));
    }
}
