//! Where the files of an archive belong, by their names.
//!
//! A record of moves names files and never paths: a record, even a forged one, can reach only the files of this configuration.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{BackupError, INBOX, KEYS, KeyPlace, LEDGER};

/// Suffix of a file that will be moved into place.
const STAGED: &str = ".restoring";

/// Longest name of a key file, and longest stamp, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// The places of restored files.
#[derive(Clone, Debug)]
pub struct Target {
    /// Directory of the inbox.
    pub data_dir: PathBuf,
    /// File of the embedded ledger, if that is the state of record.
    pub ledger: Option<PathBuf>,
    /// The places of key files that the environment names. Others go to `keys/` in the data directory.
    pub keys: Vec<KeyPlace>,
}

impl Target {
    /// The place of a file of the archive; `None` if it has none here.
    pub(super) fn place(&self, name: &str) -> Option<PathBuf> {
        match (name, name.strip_prefix(KEYS)) {
            (INBOX, _) => Some(self.data_dir.join(INBOX)),
            (LEDGER, _) => self.ledger.clone(),
            (_, Some(key)) if is_plain(key) => {
                let named = self.keys.iter().find(|place| place.name == key).map(|place| place.path.clone());
                Some(named.unwrap_or_else(|| self.data_dir.join("keys").join(key)))
            }
            _ => None,
        }
    }
}

/// A name that does not lead out of its directory.
fn is_plain(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// The path with something appended to its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The path of the new file until it is moved into place.
pub(super) fn staged(place: &Path) -> PathBuf {
    beside(place, STAGED)
}

/// What a restore will move: names of an archive's files, and the moment, which names the files that are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) files: Vec<String>,
    pub(super) stamp: String,
}

/// A file to move into place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Move {
    /// Its present path.
    pub(super) staged: PathBuf,
    /// Its final path.
    pub(super) target: PathBuf,
    /// The path for the file that it replaces.
    pub(super) aside: PathBuf,
    /// Whether it is a database, which may have a log beside it.
    pub(super) database: bool,
}

impl Record {
    /// The moves in this configuration, keys first, because perhaps only another user may move them.
    ///
    /// # Errors
    /// If the record names anything but files of an archive.
    pub(super) fn moves(&self, target: &Target, journal: &Path) -> Result<Vec<Move>, BackupError> {
        let refuse = |why: String| BackupError::Planted { path: journal.to_owned(), why };
        if !is_plain(&self.stamp) {
            return Err(refuse("its time is not valid".to_owned()));
        }
        let mut names: Vec<&String> = self.files.iter().collect();
        names.sort_by_key(|name| !name.starts_with(KEYS));
        let one = |name: &String| {
            let place = target.place(name);
            let target =
                place.ok_or_else(|| refuse(format!("it names {name:?}, which has no place in this configuration")))?;
            Ok(Move {
                staged: staged(&target),
                aside: aside(&target, &self.stamp),
                database: !name.starts_with(KEYS),
                target,
            })
        };
        names.into_iter().map(one).collect()
    }
}

/// Where a replaced file is kept.
pub(super) fn aside(place: &Path, stamp: &str) -> PathBuf {
    beside(place, &format!(".before-restore-{stamp}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reaches_the_files_of_this_configuration_and_nothing_else() {
        let data_dir = PathBuf::from("/data");
        let keys = vec![KeyPlace { name: "attestation_prvkey".to_owned(), path: "/keys/attestation".into() }];
        let target = Target { data_dir, ledger: Some("/data/ledger.db".into()), keys };
        let cases = [
            ("inbox.db", Some("/data/inbox.db")),
            ("ledger.db", Some("/data/ledger.db")),
            ("keys/attestation_prvkey", Some("/keys/attestation")),
            ("keys/colonies_user_prvkey.next", Some("/data/keys/colonies_user_prvkey.next")),
            ("keys/../../etc/shadow", None),
            ("keys/..", None),
            ("keys/.ssh", None),
            ("keys/", None),
            ("keys/a/b", None),
            ("/etc/shadow", None),
            ("other", None),
        ];
        for (name, place) in cases {
            assert_eq!(target.place(name).as_deref(), place.map(Path::new), "{name}");
            let record = Record { files: vec![name.to_owned()], stamp: "20260102T030405".to_owned() };
            assert_eq!(record.moves(&target, Path::new("journal")).is_ok(), place.is_some(), "{name}");
        }
        let record = Record { files: vec!["inbox.db".to_owned()], stamp: "/../../etc/x".to_owned() };
        assert!(record.moves(&target, Path::new("journal")).is_err());
    }
}
