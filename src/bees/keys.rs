//! Which keys a bee may be known by.
//!
//! The first bee of a pool uses the executor's key itself. Every other one uses a key that follows from it and the bee's
//! name ([`PrivateKey::derive`]), so that more bees need no more configuration than a name. The first bee does the same
//! where its key is at work under another name already: on a second machine that was given the same key.
//!
//! A key in a file is read again whenever the colony does not know the bee, and the next key of a rotation beside it is
//! tried too. So bees find their new keys by themselves.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use colonies::identity::{KeyError, PrivateKey};

use crate::job::keys::files::{self, KeyFileError};
use crate::job::keys::rotate;

/// Where the executor's key comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// Given once, from the environment.
    Given(Arc<PrivateKey>),
    /// In a file, which a rotation may replace.
    File(PathBuf),
}

/// Why the executor's key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableKey {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The text in it is not a key.
    #[error("the executor's key in {} cannot be used", path.display())]
    Key {
        path: PathBuf,
        #[source]
        source: KeyError,
    },
}

impl KeySource {
    /// The keys that the bee `name` may be known by, the likeliest first. If there is a key file, this reads it.
    pub(super) fn candidates(&self, name: &str, is_first: bool) -> Result<Vec<Arc<PrivateKey>>, UnusableKey> {
        let executor_keys = match self {
            Self::Given(key) => vec![Arc::clone(key)],
            Self::File(path) => {
                let mut keys = vec![read(path.clone())?];
                match read(rotate::next_path(path)) {
                    Ok(next) => keys.push(next),
                    Err(UnusableKey::File(KeyFileError::Read { source, .. }))
                        if source.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
                keys
            }
        };
        let derived = executor_keys.iter().map(|key| Arc::new(key.derive(name)));
        let own = if is_first { executor_keys.as_slice() } else { &[] };
        Ok(own.iter().cloned().chain(derived).collect())
    }
}

fn read(path: PathBuf) -> Result<Arc<PrivateKey>, UnusableKey> {
    let file = files::read(&path)?;
    match PrivateKey::from_hex(file.secret.expose()) {
        Ok(key) => Ok(Arc::new(key)),
        Err(source) => Err(UnusableKey::Key { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::Secret;
    use crate::job::keys::files::Access;

    fn ids(source: &KeySource, name: &str, is_first: bool) -> Vec<String> {
        source.candidates(name, is_first).unwrap().iter().map(|key| key.id().to_string()).collect()
    }

    #[test]
    fn the_first_bee_prefers_the_executors_key_and_the_others_have_keys_of_their_own() {
        let key = Arc::new(PrivateKey::generate().unwrap());
        let source = KeySource::Given(Arc::clone(&key));
        let first = ids(&source, "hive-1", true);
        assert_eq!(first, [key.id().to_string(), key.derive("hive-1").id().to_string()]);
        assert_eq!(ids(&source, "hive-2", false), [key.derive("hive-2").id().to_string()]);
    }

    #[test]
    fn during_a_rotation_the_next_key_is_tried_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("executor");
        let (now, next) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        files::write_new(&path, &Secret::new(now.to_hex().expose()), Access::Owner).unwrap();
        let source = KeySource::File(path.clone());
        assert_eq!(ids(&source, "hive-2", false), [now.derive("hive-2").id().to_string()]);
        files::write_new(&rotate::next_path(&path), &Secret::new(next.to_hex().expose()), Access::Owner).unwrap();
        let expected = [&now, &next].map(|key| key.derive("hive-2").id().to_string());
        assert_eq!(ids(&source, "hive-2", false), expected);
    }

    #[test]
    fn a_file_without_a_key_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("executor");
        let source = KeySource::File(path.clone());
        assert!(matches!(source.candidates("hive-1", true), Err(UnusableKey::File(_))));
        std::fs::write(&path, "queen").unwrap();
        let error = source.candidates("hive-1", true).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}
