//! Replaces keys without a gap. Every step can be interrupted; running it again goes on from there.
//!
//! The next key waits in a file beside the current one, `<name>.next`, from before it is made known until it takes
//! the current one's name. For an identity the server replaces the old id by the new one in one call, so the order is:
//! write the next key, change the id, rename the file. For attestations there is an overlap instead: bees must trust
//! the next key before the first job is signed with it, and the old one until the last job signed with it is done.
//!
//! Does not: tell running gateways and bees; they read the file again when the old key is no longer known. Two
//! rotations of one key at the same time are not kept apart.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use colonies::client::{Client, ClientError};
use colonies::identity::{IdentityId, KeyError, PrivateKey};

use super::files::{self, Access, KeyFileError};
use super::{KeyPair, Role};
use crate::domain::secret::Secret;
use crate::job::attestation::{AttestationKeyError, PublicKey};
use crate::job::sealing::SealingKeyError;

/// Whose id is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A user, whose key submits jobs.
    User,
    /// An executor. Processes that it holds under the old id come back after their lease.
    Executor,
}

impl Holder {
    const fn role(self) -> Role {
        match self {
            Self::User => Role::User,
            Self::Executor => Role::Executor,
        }
    }
}

/// A rotation that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The id before.
    pub old: IdentityId,
    /// The id now.
    pub new: IdentityId,
}

/// Replaces the key of a user or an executor, in the colony and in the file `path`.
///
/// # Errors
/// After any error the current key is still in its file. Run it again, except after
/// [`RotateError::NeitherKnown`], which needs the colony's owner.
pub async fn rotate_identity(
    client: &Client,
    colony: &str,
    holder: Holder,
    path: &Path,
) -> Result<Rotated, RotateError> {
    let role = holder.role();
    let current = private_key(&files::load(role, path)?)?;
    let next_path = next_path(path);
    let (pair, _) = files::ensure(role, &next_path)?;
    let next = private_key(&pair)?;
    let rotated = Rotated { old: current.id().clone(), new: next.id().clone() };

    let member = client.member(colony, Arc::new(current));
    let changed = match holder {
        Holder::User => member.change_user_id(&rotated.new).await,
        Holder::Executor => member.change_executor_id(&rotated.new).await,
    };
    if let Err(error) = changed {
        // Either an earlier run got this far, or the answer to this one was lost. Asking as the new identity tells.
        let in_doubt = matches!(error, ClientError::NotMember { .. }) || error.may_have_acted();
        if !in_doubt {
            return Err(error.into());
        }
        match member.with_key(Arc::new(next)).statistics().await {
            Ok(_) => {}
            Err(ClientError::NotMember { .. }) if error.may_have_acted() => return Err(error.into()),
            Err(ClientError::NotMember { .. }) => {
                return Err(RotateError::NeitherKnown { path: path.to_owned(), next: next_path });
            }
            Err(unsure) => return Err(unsure.into()),
        }
    }
    files::promote(&next_path, path)?;
    Ok(rotated)
}

/// Replaces the key of an executor in the colony and in the file `path`, and with it that of every bee whose key is derived
/// from it and its name. The bees go first: while the file still has the current key, another run finds those that are
/// left.
///
/// Stop the bees first. Colonies 1.9.12 dies of a nil pointer when an id changes between the check and the execution of
/// a close: it looks the executor up by its old id (`CloseSuccessful` in `colonies_controller.go`).
///
/// # Errors
/// As [`rotate_identity`].
pub async fn rotate_executor(client: &Client, colony: &str, path: &Path) -> Result<Rotated, RotateError> {
    let current = private_key(&files::load(Role::Executor, path)?)?;
    let (pair, _) = files::ensure(Role::Executor, &next_path(path))?;
    let next = private_key(&pair)?;
    let executors = match client.member(colony, Arc::new(current.clone())).executors().await {
        // An earlier run got as far as the executor itself.
        Err(ClientError::NotMember { .. }) => client.member(colony, Arc::new(next.clone())).executors().await,
        result => result,
    };
    let executors = match executors {
        Ok(executors) => executors,
        Err(ClientError::NotMember { .. }) => {
            return Err(RotateError::NeitherKnown { path: path.to_owned(), next: next_path(path) });
        }
        Err(error) => return Err(error.into()),
    };
    for executor in executors {
        let derived = current.derive(&executor.executorname);
        if executor.executorid == derived.id().as_str() {
            let new = next.derive(&executor.executorname);
            client.member(colony, Arc::new(derived)).change_executor_id(new.id()).await?;
        }
    }
    rotate_identity(client, colony, Holder::Executor, path).await
}

/// The keys during a rotation of attestations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The key that signs now.
    pub current: PublicKey,
    /// The key that will sign.
    pub next: PublicKey,
}

/// First step: makes the next key of attestations and adds it to the file of trusted public keys. Every bee must have that
/// file before [`switch_attestation`].
///
/// # Errors
/// If a file cannot be read or written.
pub fn prepare_attestation(path: &Path, trusted: &Path) -> Result<Overlap, RotateError> {
    let current = public_key(&files::load(Role::Attestation, path)?)?;
    let (next, _) = files::ensure(Role::Attestation, &next_path(path))?;
    let next = public_key(&next)?;
    let mut keys = read_trusted(trusted)?;
    let before = keys.len();
    for key in [&current, &next] {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    if keys.len() > before {
        write_trusted(trusted, &keys)?;
    }
    Ok(Overlap { current, next })
}

/// Second step: makes the next key the one that signs, and returns it.
///
/// # Errors
/// [`RotateError::NotPrepared`] if there is no next key or it is not trusted yet.
pub fn switch_attestation(path: &Path, trusted: &Path) -> Result<PublicKey, RotateError> {
    let next_path = next_path(path);
    let next = match files::load(Role::Attestation, &next_path) {
        Ok(next) => public_key(&next)?,
        Err(KeyFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(RotateError::NotPrepared { path: next_path });
        }
        Err(error) => return Err(error.into()),
    };
    if !read_trusted(trusted)?.contains(&next) {
        return Err(RotateError::NotPrepared { path: next_path });
    }
    files::promote(&next_path, path)?;
    Ok(next)
}

/// Last step: trusts only the key that signs and the next one, if it is prepared. Returns the removed keys. Before that,
/// wait until no job that they attested can still be waiting.
///
/// # Errors
/// If a file cannot be read or written.
pub fn retire_attestation(path: &Path, trusted: &Path) -> Result<Vec<PublicKey>, RotateError> {
    let mut needed = vec![public_key(&files::load(Role::Attestation, path)?)?];
    match files::load(Role::Attestation, &next_path(path)) {
        Ok(next) => needed.push(public_key(&next)?),
        Err(KeyFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let (kept, retired): (Vec<_>, Vec<_>) = read_trusted(trusted)?.into_iter().partition(|key| needed.contains(key));
    if !retired.is_empty() {
        write_trusted(trusted, &kept)?;
    }
    Ok(retired)
}

pub(super) fn private_key(pair: &KeyPair) -> Result<PrivateKey, RotateError> {
    PrivateKey::from_hex(pair.secret.expose()).map_err(RotateError::Identity)
}

fn public_key(pair: &KeyPair) -> Result<PublicKey, RotateError> {
    PublicKey::parse(&pair.public).map_err(RotateError::Attestation)
}

/// File of the next key of a rotation: `<name>.next`, beside that of the current one.
pub fn next_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(".next");
    PathBuf::from(name)
}

fn read_trusted(path: &Path) -> Result<Vec<PublicKey>, RotateError> {
    match files::read(path) {
        Ok(file) => PublicKey::parse_list(file.secret.expose()).map_err(RotateError::Attestation),
        Err(KeyFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn write_trusted(path: &Path, keys: &[PublicKey]) -> Result<(), RotateError> {
    let lines: Vec<String> = keys.iter().map(PublicKey::to_hex).collect();
    files::replace(path, &Secret::new(lines.join("\n")), Access::Everybody)?;
    Ok(())
}

/// Why a rotation did not go on.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// A key file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The server did not answer or refused.
    #[error("the colony did not accept the new key; run the command again")]
    Call(#[from] ClientError),
    /// The colony knows neither key.
    #[error(
        "the colony knows neither the key of {} nor that of {}; ask its owner to add one of them, then run it again",
        path.display(), next.display()
    )]
    NeitherKnown {
        /// File of the current key.
        path: PathBuf,
        /// File of the next key.
        next: PathBuf,
    },
    /// The executors did not finish what they hold.
    #[error("the bees still hold work after {} s; nothing was changed, try again at a quieter time", patience.as_secs())]
    Busy {
        /// How long the rotation waited.
        patience: std::time::Duration,
    },
    /// The caller stopped it.
    #[error("interrupted; run the command again")]
    Interrupted,
    /// Assignments could not be resumed.
    #[error("assignments of the colony {colony} are still paused: run this again when the server answers")]
    StillPaused {
        /// The colony.
        colony: String,
        /// The server's error.
        #[source]
        source: ClientError,
    },
    /// There is no trusted next key.
    #[error("the next key {} is missing or not in use yet; prepare the rotation first", path.display())]
    NotPrepared {
        /// File of the next key.
        path: PathBuf,
    },
    /// A file does not hold the key of an identity.
    #[error("this is not the key of an identity")]
    Identity(#[source] KeyError),
    /// A file does not hold a key of attestations.
    #[error("this is not a key of attestations")]
    Attestation(#[source] AttestationKeyError),
    /// A file does not hold a key of sealed jobs.
    #[error("this is not a key for sealing jobs")]
    Sealing(#[source] SealingKeyError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::attestation::TRUSTED_KEYS_MAX;

    fn setting() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let (path, trusted) = (directory.path().join("seed"), directory.path().join("trusted"));
        files::ensure(Role::Attestation, &path).expect("the seed can be written");
        (directory, path, trusted)
    }

    #[test]
    fn attestations_rotate_with_an_overlap_and_each_step_can_be_repeated() {
        let (_directory, path, trusted) = setting();
        let overlap = prepare_attestation(&path, &trusted).unwrap();
        assert_eq!(prepare_attestation(&path, &trusted).unwrap(), overlap, "the next key is made once");
        assert_eq!(read_trusted(&trusted).unwrap(), [overlap.current.clone(), overlap.next.clone()]);
        assert_eq!(retire_attestation(&path, &trusted).unwrap(), [], "both are needed");

        assert_eq!(switch_attestation(&path, &trusted).unwrap(), overlap.next);
        assert!(matches!(switch_attestation(&path, &trusted), Err(RotateError::NotPrepared { .. })));
        let signing = public_key(&files::load(Role::Attestation, &path).unwrap()).unwrap();
        assert_eq!(signing, overlap.next);

        assert_eq!(retire_attestation(&path, &trusted).unwrap(), [overlap.current]);
        assert_eq!(retire_attestation(&path, &trusted).unwrap(), []);
        assert_eq!(read_trusted(&trusted).unwrap(), [overlap.next]);
    }

    #[test]
    fn a_key_that_bees_do_not_trust_yet_never_signs() {
        let (_directory, path, trusted) = setting();
        files::ensure(Role::Attestation, &next_path(&path)).unwrap();
        assert!(matches!(switch_attestation(&path, &trusted), Err(RotateError::NotPrepared { .. })));
        let overlap = prepare_attestation(&path, &trusted).unwrap();
        assert_eq!(switch_attestation(&path, &trusted).unwrap(), overlap.next);
    }

    #[test]
    fn keys_of_other_gateways_stay_trusted_until_they_are_retired() {
        let (_directory, path, trusted) = setting();
        let other = public_key(&KeyPair::generate(Role::Attestation).unwrap()).unwrap();
        std::fs::write(&trusted, format!("{},\n", other.to_hex())).unwrap();
        let overlap = prepare_attestation(&path, &trusted).unwrap();
        assert_eq!(read_trusted(&trusted).unwrap(), [other.clone(), overlap.current, overlap.next]);
        assert_eq!(retire_attestation(&path, &trusted).unwrap(), [other]);
    }

    #[test]
    fn the_longest_list_of_trusted_keys_fits_in_its_file() {
        let (_directory, path, trusted) = setting();
        let keys: Vec<String> =
            (0..TRUSTED_KEYS_MAX - 2).map(|_| KeyPair::generate(Role::Attestation).unwrap().public).collect();
        std::fs::write(&trusted, keys.join("\n")).unwrap();
        prepare_attestation(&path, &trusted).unwrap();
        assert_eq!(read_trusted(&trusted).unwrap().len(), TRUSTED_KEYS_MAX);
    }
}
