//! Replaces the key of sealed jobs, with an overlap: jobs are sealed to the current and to the next key until every bee
//! has the next one, and bees open what is sealed to the key before until it is retired.
//!
//! The next key waits in `<name>.next`, the one before in `<name>.before`; bees that read the key's file find both. Every
//! step can be interrupted; running it again goes on from there.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::files::{self, Access, KeyFileError};
use super::rotate::{RotateError, next_path};
use super::{KeyPair, Role};
use crate::domain::secret::Secret;
use crate::job::sealing::RecipientKey;

/// The keys during a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealingOverlap {
    pub current: RecipientKey,
    pub next: RecipientKey,
}

/// File of the previous key, beside that of the current one.
pub fn before_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(".before");
    PathBuf::from(name)
}

/// First step: makes the next key and adds it to the file of public keys. Every bee must have the next key before the
/// gateways get that file. Bees and gateways that read one file together need nothing.
///
/// # Errors
/// If a file cannot be read or written.
pub fn prepare_sealing(path: &Path, public: &Path) -> Result<SealingOverlap, RotateError> {
    let current = public_key(&files::load(Role::Sealing, path)?)?;
    let (next, _) = files::ensure(Role::Sealing, &next_path(path))?;
    let next = public_key(&next)?;
    let mut keys = read_public(public)?;
    let before = keys.len();
    for key in [&current, &next] {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    if keys.len() > before {
        write_public(public, &keys)?;
    }
    Ok(SealingOverlap { current, next })
}

/// Second step: makes the next key the current one, and keeps the former one for jobs that are sealed to it alone. Returns
/// the new current key.
///
/// # Errors
/// [`RotateError::NotPrepared`] if there is no next key or nothing is sealed to it yet.
pub fn switch_sealing(path: &Path, public: &Path) -> Result<RecipientKey, RotateError> {
    let next_path = next_path(path);
    let next = match files::load(Role::Sealing, &next_path) {
        Ok(next) => public_key(&next)?,
        Err(KeyFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(RotateError::NotPrepared { path: next_path });
        }
        Err(error) => return Err(error.into()),
    };
    if !read_public(public)?.contains(&next) {
        return Err(RotateError::NotPrepared { path: next_path });
    }
    // The current key gets its second name before it loses its own.
    files::replace(&before_path(path), &files::read(path)?.secret, Access::Owner)?;
    files::promote(&next_path, path)?;
    Ok(next)
}

/// Last step: seals only to the current key and the next one, if it is prepared, and removes the previous key. Returns the
/// removed public keys. Before that, wait until no job sealed to them alone can still be waiting.
///
/// # Errors
/// If a file cannot be read or written.
pub fn retire_sealing(path: &Path, public: &Path) -> Result<Vec<RecipientKey>, RotateError> {
    let mut needed = vec![public_key(&files::load(Role::Sealing, path)?)?];
    match files::load(Role::Sealing, &next_path(path)) {
        Ok(next) => needed.push(public_key(&next)?),
        Err(KeyFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let (kept, retired): (Vec<_>, Vec<_>) = read_public(public)?.into_iter().partition(|key| needed.contains(key));
    if !retired.is_empty() {
        write_public(public, &kept)?;
    }
    match std::fs::remove_file(before_path(path)) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(KeyFileError::Write { path: before_path(path), source }.into()),
    }
    Ok(retired)
}

fn public_key(pair: &KeyPair) -> Result<RecipientKey, RotateError> {
    RecipientKey::parse(&pair.public).map_err(RotateError::Sealing)
}

fn read_public(path: &Path) -> Result<Vec<RecipientKey>, RotateError> {
    match files::read(path) {
        Ok(file) => RecipientKey::parse_list(file.secret.expose()).map_err(RotateError::Sealing),
        Err(KeyFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn write_public(path: &Path, keys: &[RecipientKey]) -> Result<(), RotateError> {
    let lines: Vec<String> = keys.iter().map(RecipientKey::to_hex).collect();
    files::replace(path, &Secret::new(lines.join("\n")), Access::Everybody)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::keys::opening::Openers;
    use crate::job::sealing::Recipients;

    /// Whether bees with the key's file can open jobs sealed to the public keys that are in their file now.
    fn opens(bees: &Openers, public: &Path) -> bool {
        let recipients = Recipients::new(read_public(public).unwrap()).unwrap();
        bees.open(&recipients.seal(b"{}").unwrap()).is_ok()
    }

    #[test]
    fn keys_of_sealed_jobs_rotate_with_an_overlap_and_each_step_can_be_repeated() {
        let directory = tempfile::tempdir().unwrap();
        let (path, public) = (directory.path().join("key"), directory.path().join("public"));
        let (first, _) = files::ensure(Role::Sealing, &path).unwrap();
        std::fs::write(&public, &first.public).unwrap();
        let bees = Openers::of_file(&path).unwrap();
        let early = Recipients::new(read_public(&public).unwrap()).unwrap().seal(b"[]").unwrap();

        let overlap = prepare_sealing(&path, &public).unwrap();
        assert_eq!(prepare_sealing(&path, &public).unwrap(), overlap, "the next key is made once");
        assert_eq!(read_public(&public).unwrap(), [overlap.current.clone(), overlap.next.clone()]);
        assert!(opens(&bees, &public));

        assert_eq!(switch_sealing(&path, &public).unwrap(), overlap.next);
        assert!(matches!(switch_sealing(&path, &public), Err(RotateError::NotPrepared { .. })));
        let late = Openers::of_file(&path).unwrap();
        assert!(opens(&late, &public) && late.open(&early).is_ok(), "jobs of before are opened by bees that start now");

        assert_eq!(retire_sealing(&path, &public).unwrap(), [overlap.current]);
        assert_eq!(retire_sealing(&path, &public).unwrap(), []);
        assert!(opens(&bees, &public), "bees that started before everything have found the key by themselves");
        assert!(Openers::of_file(&path).unwrap().open(&early).is_err());
    }

    #[test]
    fn a_key_to_which_nothing_is_sealed_does_not_become_the_current_one() {
        let directory = tempfile::tempdir().unwrap();
        let (path, public) = (directory.path().join("key"), directory.path().join("public"));
        files::ensure(Role::Sealing, &path).unwrap();
        files::ensure(Role::Sealing, &next_path(&path)).unwrap();
        assert!(matches!(switch_sealing(&path, &public), Err(RotateError::NotPrepared { .. })));
        prepare_sealing(&path, &public).unwrap();
        assert!(switch_sealing(&path, &public).is_ok());
    }
}
