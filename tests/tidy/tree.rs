//! The files of the repository that a person wrote.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A text file; the path is relative to the repository and has slashes.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Folders that no person wrote, where git is not there to tell.
const SKIPPED: [&str; 2] = ["target", ".git"];

/// Every text file of the repository but the lock file, in the order of paths. Ignored files do not belong to it.
pub(crate) fn repository() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = tracked(root).unwrap_or_else(|| {
        let mut paths = Vec::new();
        walk(root, "", &mut paths);
        paths
    });
    paths.retain(|path| path != "Cargo.lock");
    paths.sort();
    // What is not text, or not there any more, is not looked at.
    let read = |path: String| fs::read_to_string(root.join(&path)).ok().map(|text| SourceFile { path, text });
    let files: Vec<SourceFile> = paths.into_iter().filter_map(read).collect();
    assert!(files.iter().any(|file| file.path == "src/lib.rs"), "the repository was not found");
    files
}

/// Only Rust files, below `folder`.
pub(crate) fn rust_files(folder: &str) -> Vec<SourceFile> {
    let is_rust = |path: &Path| path.starts_with(folder) && path.extension().is_some_and(|extension| extension == "rs");
    repository().into_iter().filter(|file| is_rust(Path::new(&file.path))).collect()
}

/// What git knows of, and what it would be asked to add; nothing outside of a clone.
fn tracked(root: &Path) -> Option<Vec<String>> {
    let args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").arg("-C").arg(root).args(args).output().ok().filter(|out| out.status.success())?;
    let paths: Vec<String> =
        String::from_utf8_lossy(&output.stdout).split_terminator('\0').map(str::to_owned).collect();
    (!paths.is_empty()).then_some(paths)
}

fn walk(dir: &Path, prefix: &str, paths: &mut Vec<String>) {
    for entry in fs::read_dir(dir).expect("the repository can be listed") {
        let entry = entry.expect("the repository can be listed");
        let name = entry.file_name().into_string().expect("file names are UTF-8");
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                walk(&entry.path(), &format!("{path}/"), paths);
            }
        } else {
            paths.push(path);
        }
    }
}
