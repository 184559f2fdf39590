//! Where `dev` keeps its state when no directory is named.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::domain::clock::Clock;

/// A directory that goes when `dev` ends.
#[derive(Debug)]
pub(super) struct Temporary(pub(super) PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // The system clears its temporary directory in any case.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn temporary_directory(clock: &Clock) -> anyhow::Result<Temporary> {
    let name = format!("colony-gateway-{}-{}", std::process::id(), clock.now().millis());
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(Temporary(path))
}
