//! Whether files that are held open still have their names.
//!
//! A program that holds a file open writes on into it after the file was removed or another one took its name. No error tells it so,
//! and all that it wrote is gone when it ends.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Files as they were when they were opened.
#[derive(Debug, Default)]
pub struct HeldFiles(Vec<(PathBuf, Identity)>);

/// Tells a file from every other that exists at the same time: device and number.
type Identity = (u64, u64);

fn identity(path: &Path) -> std::io::Result<Identity> {
    std::fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

impl HeldFiles {
    /// Takes note of files that were just opened. One that is not there is not watched.
    pub fn opened(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let noted = |path: PathBuf| {
            let held = identity(&path).ok()?;
            Some((path, held))
        };
        Self(paths.into_iter().filter_map(noted).collect())
    }

    /// The first file that was removed, or whose name another file has. What cannot be found out is not held against a file.
    pub fn displaced(&self) -> Option<&Path> {
        let is_displaced = |path: &Path, held: Identity| match identity(path) {
            Ok(found) => found != held,
            Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        };
        self.0.iter().find(|(path, held)| is_displaced(path, *held)).map(|(path, _)| path.as_path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_displaced_while_its_name_is_gone_or_another_ones() {
        let directory = tempfile::tempdir().unwrap();
        let [path, aside, absent] = ["held", "aside", "absent"].map(|name| directory.path().join(name));
        std::fs::write(&path, "a").unwrap();
        let held = HeldFiles::opened([path.clone(), absent.clone()]);
        std::fs::write(&path, "other content").unwrap();
        std::fs::write(&absent, "is not watched").unwrap();
        assert_eq!(held.displaced(), None);
        std::fs::rename(&path, &aside).unwrap();
        assert_eq!(held.displaced(), Some(&*path), "removed");
        std::fs::copy(&aside, &path).unwrap();
        assert_eq!(held.displaced(), Some(&*path), "a copy is another file");
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(held.displaced(), None, "it was put back");
        std::fs::remove_dir_all(directory.path()).unwrap();
        assert_eq!(held.displaced(), Some(&*path));
    }
}
