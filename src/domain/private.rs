//! Files and directories that their owner alone can read, whatever the umask says.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Mode bits that let others read, write or enter.
const OTHERS: u32 = 0o077;

/// Makes a directory and its parents, unless it exists.
///
/// # Errors
/// The system's error.
pub fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes an empty file, unless it exists.
///
/// # Errors
/// The system's error.
pub fn file(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Makes a file with this content, which is on disk when this returns. An existing file is never touched.
///
/// # Errors
/// The system's error; `AlreadyExists` if the name is taken.
pub fn new_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// A file that will replace another one as a whole. It is made before there is any content: if that works, the content can
/// be saved too, unless the disk fills up.
#[derive(Debug)]
pub struct Replacement {
    path: PathBuf,
    next: PathBuf,
    /// `None` once it has taken the file's name.
    file: Option<File>,
}

impl Replacement {
    /// Makes an empty file beside the one to replace. Removes an earlier one that a crash left.
    ///
    /// # Errors
    /// The system's error.
    pub fn prepare(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        name.push(".next");
        let next = path.with_file_name(name);
        match std::fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
        Ok(Self { path, next, file: Some(file) })
    }

    /// Replaces the old content. When this returns, the new content is on disk under the file's name.
    ///
    /// # Errors
    /// The system's error. Then the old content stays.
    pub fn finish(mut self, content: &[u8]) -> io::Result<()> {
        let mut file = self.file.take().ok_or(io::ErrorKind::InvalidInput)?;
        let written = file.write_all(content).and_then(|()| file.sync_all());
        let renamed = written.and_then(|()| std::fs::rename(&self.next, &self.path));
        if renamed.is_err() {
            self.file = Some(file);
        }
        renamed?;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if self.file.is_some() {
            // It has no content that was saved, and the next attempt also removes it.
            let _ = std::fs::remove_file(&self.next);
        }
    }
}

/// The file mode if others can read it, else `None`.
fn exposed(found: &Metadata) -> Option<u32> {
    let mode = found.mode() & 0o777;
    (mode & OTHERS != 0).then_some(mode)
}

/// The mode of the file being written to, if it is a file that others can read. Pipes and terminals do not count.
pub fn exposed_file(open: impl AsFd) -> Option<u32> {
    let found = File::from(open.as_fd().try_clone_to_owned().ok()?).metadata().ok()?;
    if found.is_file() { exposed(&found) } else { None }
}

/// Files of a directory that others can read, with their modes, if others can enter it. A directory that everyone may write
/// to is included.
///
/// # Errors
/// The system's error.
pub fn exposed_files(directory: &Path) -> io::Result<Vec<(PathBuf, u32)>> {
    let mode = std::fs::metadata(directory)?.mode() & 0o777;
    let mut found = Vec::new();
    if mode & 0o002 != 0 {
        found.push((directory.to_owned(), mode));
    }
    if mode & 0o011 == 0 {
        return Ok(found);
    }
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file()
            && let Some(mode) = exposed(&metadata)
        {
            found.push((entry.path(), mode));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_made_is_private_and_what_is_there_stays() {
        let temporary = tempfile::tempdir().unwrap();
        let nested = temporary.path().join("a/b");
        directory(&nested).unwrap();
        let path = nested.join("inbox.db");
        file(&path).unwrap();
        for (path, expected) in [(&nested, 0o700), (&path, 0o600)] {
            assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, expected, "{}", path.display());
        }
        std::fs::write(&path, "content").unwrap();
        file(&path).unwrap();
        assert_eq!(new_file(&path, b"other").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"content");
        let made = nested.join("gateway.toml");
        new_file(&made, b"new").unwrap();
        assert_eq!(
            (std::fs::read(&made).unwrap().as_slice(), std::fs::metadata(&made).unwrap().mode() & 0o777),
            (&b"new"[..], 0o600)
        );
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_or_stays() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("secret");
        let names = || std::fs::read_dir(temporary.path()).unwrap().count();
        drop(Replacement::prepare(&path).unwrap());
        assert_eq!(names(), 0);
        for content in ["one", "two"] {
            Replacement::prepare(&path).unwrap().finish(content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!((names(), std::fs::metadata(&path).unwrap().mode() & 0o777), (1, 0o600));
        assert!(Replacement::prepare(&temporary.path().join("nowhere/secret")).is_err());
    }

    #[test]
    fn files_are_exposed_when_others_can_enter_and_read() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("inbox.db");
        file(&path).unwrap();
        mode(temporary.path(), 0o755);
        assert_eq!(exposed_files(temporary.path()).unwrap(), []);
        mode(&path, 0o644);
        assert_eq!(exposed_files(temporary.path()).unwrap(), [(path.clone(), 0o644)]);
        assert_eq!(exposed_file(File::open(&path).unwrap()), Some(0o644));
        mode(temporary.path(), 0o700);
        assert_eq!(exposed_files(temporary.path()).unwrap(), []);
        mode(&path, 0o600);
        mode(temporary.path(), 0o777);
        assert_eq!(exposed_files(temporary.path()).unwrap(), [(temporary.path().to_owned(), 0o777)]);
        assert_eq!(exposed_file(File::open(&path).unwrap()), None);
    }
}
