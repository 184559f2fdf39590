//! Files of a backup: private, written whole or not at all, flushed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{BackupError, FileNote};

/// Largest key file, in bytes.
pub const KEY_BYTES_MAX: u64 = 64 * 1024;

/// Name of the directory for copies, in the data directory.
const SCRATCH: &str = ".backup";

/// Creates an empty file that only its owner can read. The file must not exist.
pub(super) fn create_private(path: &Path) -> Result<File, BackupError> {
    open_private(path, OpenOptions::new().write(true).create_new(true))
}

/// Creates a file that only its owner can read, in place of one that was left behind.
pub(super) fn replace_private(path: &Path) -> Result<File, BackupError> {
    remove(path)?;
    create_private(path)
}

fn open_private(path: &Path, options: &mut OpenOptions) -> Result<File, BackupError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path).map_err(BackupError::file(path, "cannot be created; check its directory and the disk"))
}

/// Removes a file if it exists.
pub(super) fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BackupError::file(path, "cannot be removed")(error))
        }
        _ => Ok(()),
    }
}

/// Makes new names in a file's directory survive a crash of the machine.
pub(super) fn flush_directory_of(path: &Path) -> Result<(), BackupError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flushed = File::open(directory).and_then(|directory| directory.sync_all());
    flushed.map_err(BackupError::file(directory, "cannot be flushed to the disk"))
}

/// A directory for copies beside the inbox, as private as the inbox. Dropping it removes it. If the program is killed, the
/// next backup removes it. Only one backup runs at a time.
pub(super) struct Scratch {
    directory: PathBuf,
    _lock: File,
}

impl Scratch {
    pub(super) fn make(data_dir: &Path) -> Result<Self, BackupError> {
        let directory = data_dir.join(SCRATCH);
        let lock_path = data_dir.join("backup.lock");
        let cannot = "cannot be written; run the backup as the gateway's user";
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(BackupError::file(&lock_path, cannot))?;
        lock.try_lock().map_err(|error| {
            BackupError::file(&lock_path, "is held: another backup is being made")(io::Error::other(error))
        })?;
        if directory.exists() {
            fs::remove_dir_all(&directory).map_err(BackupError::file(&directory, "cannot be removed"))?;
        }
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt as _;
            builder.mode(0o700);
        }
        builder.create(&directory).map_err(BackupError::file(&directory, cannot))?;
        Ok(Self { directory, _lock: lock })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Remaining files are private, and the next backup removes them.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Copies a key file.
pub(super) fn copy_key(from: &Path, to: &Path) -> Result<(), BackupError> {
    let cannot = "is a key file and cannot be read";
    let file = File::open(from).map_err(BackupError::file(from, cannot))?;
    let mut content = Vec::new();
    file.take(KEY_BYTES_MAX + 1).read_to_end(&mut content).map_err(BackupError::file(from, cannot))?;
    if content.len() as u64 > KEY_BYTES_MAX {
        let source = io::Error::from(io::ErrorKind::FileTooLarge);
        return Err(BackupError::file(from, "is longer than any key file")(source));
    }
    let mut copy = create_private(to)?;
    copy.write_all(&content).map_err(BackupError::file(to, "cannot be written"))
}

/// Size and digest of a file.
pub(super) fn note(name: &str, path: &Path) -> Result<FileNote, BackupError> {
    let cannot = "cannot be read";
    let mut file = File::open(path).map_err(BackupError::file(path, cannot))?;
    let mut digest = Digest::new(io::sink());
    io::copy(&mut file, &mut digest).map_err(BackupError::file(path, cannot))?;
    Ok(digest.note(name).0)
}

/// Counts and hashes the bytes that are written through it.
pub(super) struct Digest<W> {
    inner: W,
    bytes: u64,
    hash: Sha256,
}

impl<W: io::Write> Digest<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, bytes: 0, hash: Sha256::new() }
    }

    pub(super) fn note(self, name: &str) -> (FileNote, W) {
        let sha256 = hex::encode(self.hash.finalize());
        (FileNote { name: name.to_owned(), bytes: self.bytes, sha256 }, self.inner)
    }
}

impl<W: io::Write> io::Write for Digest<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        let taken = buffer.get(..written).unwrap_or(buffer);
        self.hash.update(taken);
        self.bytes += taken.len() as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A file that gets its name only when it is complete.
pub(super) struct NewFile {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl NewFile {
    pub(super) fn create(path: &Path) -> Result<Self, BackupError> {
        let Some(name) = path.file_name() else {
            let source = io::Error::from(io::ErrorKind::InvalidFilename);
            return Err(BackupError::file(path, "is no name of a file")(source));
        };
        let mut suffix = [0_u8; 8];
        let random = getrandom::fill(&mut suffix).map_err(io::Error::other);
        random.map_err(BackupError::file(path, "cannot be written: the system gives no randomness"))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", hex::encode(suffix)));
        let temporary = path.with_file_name(hidden);
        let file = create_private(&temporary)?;
        Ok(Self { path: path.to_owned(), temporary, file })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Flushes the file and gives it its name. Replaces an existing file only if told to. Returns its size.
    pub(super) fn publish(self, replace: bool) -> Result<u64, BackupError> {
        let failed = |path: &Path| BackupError::file(path, "cannot be written; is the disk full?");
        self.file.sync_all().map_err(failed(&self.path))?;
        let bytes = self.file.metadata().map_err(failed(&self.path))?.len();
        if replace {
            fs::rename(&self.temporary, &self.path).map_err(failed(&self.path))?;
        } else {
            // A link never replaces an existing file, as a rename would.
            match fs::hard_link(&self.temporary, &self.path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(BackupError::Exists { path: self.path.clone() });
                }
                // This is for file systems without links, such as some network shares.
                Err(_) if !self.path.exists() => {
                    fs::rename(&self.temporary, &self.path).map_err(failed(&self.path))?;
                }
                result => result.map_err(failed(&self.path))?,
            }
        }
        flush_directory_of(&self.path)?;
        Ok(bytes)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After a rename it is already gone.
        let _ = fs::remove_file(&self.temporary);
    }
}
