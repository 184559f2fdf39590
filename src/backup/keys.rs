//! Whom archives are encrypted for, and what opens them.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::{BackupError, KEY_BYTES_MAX};
use crate::domain::secret::Secret;

/// The recipients of an archive; at least one.
#[derive(Clone, Debug)]
pub struct Recipients(Vec<String>);

impl Recipients {
    /// From texts as `age-keygen` prints them. `age` itself decides whether each is a key.
    ///
    /// # Errors
    /// If there are no texts, or if one of them is not a recipient.
    pub fn parse<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Self, BackupError> {
        let read = |text: &str| {
            let is_one = text.starts_with("age1") && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            if is_one { Ok(text.to_owned()) } else { Err(BackupError::Recipient { text: text.to_owned() }) }
        };
        let recipients: Vec<_> = texts.map(read).collect::<Result<_, _>>()?;
        if recipients.is_empty() { Err(BackupError::NoRecipient) } else { Ok(Self(recipients)) }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Always false.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// The identities that open archives: the text of a key file.
#[derive(Debug)]
pub struct Identities(Secret);

impl Identities {
    /// From a file as `age-keygen -o` writes it.
    ///
    /// # Errors
    /// If it cannot be read or does not hold an identity.
    pub fn read(path: &Path) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(BackupError::file(path, "cannot be read"))?;
        let mut text = String::new();
        file.take(KEY_BYTES_MAX).read_to_string(&mut text).map_err(BackupError::file(path, "cannot be read"))?;
        if text.lines().any(|line| line.starts_with("AGE-")) {
            Ok(Self(Secret::new(text)))
        } else {
            Err(BackupError::Identity { path: path.to_owned() })
        }
    }

    pub(super) fn text(&self) -> &str {
        self.0.expose()
    }
}
