//! Tells `--version` which commit a release was built from, and of which day.
//!
//! `COLONY_GATEWAY_COMMIT` and `COLONY_GATEWAY_DATE` say it where they are set, as releases and images do; otherwise git is asked,
//! and where there is no git, nothing is said. Builds for development are all called so: one that named its commit
//! would be compiled again after each.

use std::path::Path;
use std::process::Command;

const COMMIT: &str = "COLONY_GATEWAY_COMMIT";
const DATE: &str = "COLONY_GATEWAY_DATE";

/// Letters of a commit's name that are shown.
const COMMIT_LETTERS: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={COMMIT}");
    println!("cargo::rerun-if-env-changed={DATE}");
    let given = (variable(COMMIT), variable(DATE));
    let origin = match given {
        (Some(commit), date) => named(&commit, date.as_deref()),
        (None, _) if variable("PROFILE").as_deref() != Some("release") => "development build".to_owned(),
        (None, _) => asked().unwrap_or_else(|| "commit unknown".to_owned()),
    };
    let version = variable("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo::rustc-env=COLONY_GATEWAY_VERSION={version} ({origin})");
}

#[expect(clippy::disallowed_methods, reason = "a build script is told everything in its environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn named(commit: &str, date: Option<&str>) -> String {
    let commit = commit.get(..COMMIT_LETTERS).unwrap_or(commit);
    date.map_or_else(|| commit.to_owned(), |date| format!("{commit}, {date}"))
}

/// What git says of this checkout. It is asked again when another commit is checked out.
fn asked() -> Option<String> {
    let root = variable("CARGO_MANIFEST_DIR")?;
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&root).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    // Another repository above an unpacked archive says nothing about this source.
    if git(&["rev-parse", "--show-prefix"]).is_some() {
        return None;
    }
    let shown = git(&["show", "-s", "--format=%H %cs", "HEAD"])?;
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            let path = Path::new(&root).join(path);
            if path.exists() {
                println!("cargo::rerun-if-changed={}", path.display());
            }
        }
    }
    let (commit, date) = shown.split_once(' ')?;
    Some(named(commit, Some(date)))
}
