//! The keys with which bees open sealed jobs, read again from their files when a job is sealed to a key that is not known.
//!
//! So a rotation needs no restart: the next key beside the current one is found with the first job that is sealed to it,
//! and the one before stays until it is retired.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::files::{self, KeyFileError};
use super::rotate::next_path;
use super::rotate_sealing::before_path;
use crate::domain::secret::Secret;
use crate::job::key_text::KID_DIGITS;
use crate::job::sealing::{OpenError, OpeningKey, RECIPIENTS_MAX, Sealed, SealingKeyError};

/// Opens sealed jobs.
#[derive(Debug)]
pub struct Openers {
    /// The file from which keys are read again; `None` if they were given once.
    file: Option<PathBuf>,
    keys: Mutex<Vec<OpeningKey>>,
}

/// Why the keys of sealed jobs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableKeys {
    #[error(transparent)]
    File(#[from] KeyFileError),
    #[error("the key of sealed jobs in {} cannot be used", path.display())]
    Key {
        path: PathBuf,
        #[source]
        source: SealingKeyError,
    },
    #[error(transparent)]
    Given(#[from] SealingKeyError),
}

impl Openers {
    /// Keys given as text, with commas or white space between them.
    ///
    /// # Errors
    /// If one of them is not a key.
    pub fn given(text: &Secret) -> Result<Self, UnusableKeys> {
        let items = text.expose().split(|letter: char| letter == ',' || letter.is_whitespace());
        let keys = items.filter(|item| !item.is_empty()).map(|item| OpeningKey::parse(&Secret::new(item)));
        Ok(Self { file: None, keys: Mutex::new(keys.collect::<Result<_, _>>()?) })
    }

    /// The key of a file, and those that a rotation put beside it.
    ///
    /// # Errors
    /// If the file cannot be read, or one of them is not a key.
    pub fn of_file(path: &Path) -> Result<Self, UnusableKeys> {
        Ok(Self { keys: Mutex::new(read(path)?), file: Some(path.to_owned()) })
    }

    /// The keys that are known now.
    pub fn keys(&self) -> Vec<OpeningKey> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens the argument of a sealed job. If it is sealed to no known key, this reads the key files again.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&self, text: &str) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let sealed = Sealed::read(text)?;
        let mut keys = self.keys();
        if sealed.key_for(&keys).is_none()
            && let Some(found) = self.file.as_ref().and_then(|path| read(path).ok())
        {
            keys.clone_from(&found);
            *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = found;
        }
        if let Some((wrapped, key)) = sealed.key_for(&keys) {
            return sealed.open(wrapped, key);
        }
        let kids = sealed.keys.iter().take(RECIPIENTS_MAX).map(|key| short(&key.kid));
        let own = keys.iter().map(|key| key.public().kid());
        Err(OpenError::NotForUs {
            kids: kids.collect::<Vec<_>>().join(", "),
            own: if keys.is_empty() { "none".to_owned() } else { own.collect::<Vec<_>>().join(", ") },
        })
    }
}

/// A key's name, cut to the length of a genuine one.
fn short(kid: &str) -> &str {
    &kid[..kid.floor_char_boundary(KID_DIGITS)]
}

fn read(path: &Path) -> Result<Vec<OpeningKey>, UnusableKeys> {
    let mut keys = vec![key_of(path)?];
    for beside in [next_path(path), before_path(path)] {
        match key_of(&beside) {
            Ok(key) => keys.push(key),
            Err(UnusableKeys::File(KeyFileError::Read { source, .. })) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(keys)
}

fn key_of(path: &Path) -> Result<OpeningKey, UnusableKeys> {
    let file = files::read(path)?;
    OpeningKey::parse(&file.secret).map_err(|source| UnusableKeys::Key { path: path.to_owned(), source })
}
