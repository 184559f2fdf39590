//! The keys of an installation: making them, writing them down, showing what of them is public.
//!
//! Guarantees: a secret leaves only as [`Secret`]; files are private to their owner and appear whole or not at all;
//! no key is overwritten but by a rotation. Does not: read the environment or print anything; that is the command
//! line's part.

pub mod files;
pub mod opening;
pub mod quiet;
pub mod rotate;
pub mod rotate_sealing;

use std::fmt::Write as _;

use colonies::identity::{KeyError, PrivateKey};

use crate::domain::secret::Secret;
use crate::job::attestation::{AttestationKeyError, Signer};
use crate::job::sealing::{OpeningKey, SealingKeyError};

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Owner of a Colonies server.
    Server,
    /// Owner of a colony.
    Colony,
    /// The gateway's identity as a user of the colony.
    User,
    /// A bee's identity as an executor of the colony.
    Executor,
    /// The gateway's signature over jobs.
    Attestation,
    /// The key with which bees open sealed jobs.
    Sealing,
}

impl Role {
    /// All roles, in the order in which a new installation needs them.
    pub const ALL: [Self; 6] =
        [Self::Server, Self::Colony, Self::User, Self::Executor, Self::Attestation, Self::Sealing];

    /// Name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Colony => "colony",
            Self::User => "user",
            Self::Executor => "executor",
            Self::Attestation => "attestation",
            Self::Sealing => "sealing",
        }
    }

    /// The role with this name on the command line.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Environment variable of the secret part.
    pub const fn secret_variable(self) -> &'static str {
        match self {
            Self::Server => "COLONIES_SERVER_PRVKEY",
            Self::Colony => "COLONIES_COLONY_PRVKEY",
            Self::User => "COLONIES_USER_PRVKEY",
            Self::Executor => "COLONIES_EXECUTOR_PRVKEY",
            Self::Attestation => "ATTESTATION_PRVKEY",
            Self::Sealing => "SEALING_PRVKEY",
        }
    }

    /// Environment variable of the public part, if a program reads one.
    pub const fn public_variable(self) -> Option<&'static str> {
        match self {
            Self::Server => Some("COLONIES_SERVER_ID"),
            Self::Colony => Some("COLONIES_COLONY_ID"),
            // Servers and bees derive these from signatures, so no setting tells them.
            Self::User | Self::Executor => None,
            Self::Attestation => Some("ATTESTATION_PUBKEYS"),
            Self::Sealing => Some("SEALING_PUBKEYS"),
        }
    }

    /// Name of the file that holds the secret part.
    pub fn file_name(self) -> String {
        self.secret_variable().to_ascii_lowercase()
    }

    /// Who needs the key, for readers of an env file.
    const fn purpose(self) -> &'static str {
        match self {
            Self::Server => "Owner of the Colonies server: for the server itself and for `colony setup`.",
            Self::Colony => "Owner of the colony: for `colony setup`, and for bees that approve themselves.",
            Self::User => "User of the colony: the gateway submits jobs with it.",
            Self::Executor => "Executor of the colony: the bees take jobs with it.",
            Self::Attestation => "Attests jobs: the first line for gateways, the second for bees.",
            Self::Sealing => "Seals jobs: the first line for bees, the second for gateways.",
        }
    }
}

/// A key with its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    pub role: Role,
    /// The secret part, as hex.
    pub secret: Secret,
    /// The id of an identity, or the public key of attestations; hex.
    pub public: String,
    /// Short name of a key of attestations or of sealed jobs.
    pub kid: Option<String>,
}

impl KeyPair {
    /// Makes a new key.
    ///
    /// # Errors
    /// If the operating system gives no randomness.
    pub fn generate(role: Role) -> Result<Self, getrandom::Error> {
        match role {
            Role::Server | Role::Colony | Role::User | Role::Executor => {
                PrivateKey::generate().map(|key| Self::of_identity(role, &key))
            }
            Role::Attestation => Signer::generate().map(|signer| Self::of_signer(&signer)),
            Role::Sealing => OpeningKey::generate().map(|key| Self::of_opening(&key)),
        }
    }

    /// Reads the secret part.
    ///
    /// # Errors
    /// If the text is not a key of that role.
    pub fn read(role: Role, secret: &Secret) -> Result<Self, KeyPairError> {
        match role {
            Role::Server | Role::Colony | Role::User | Role::Executor => PrivateKey::from_hex(secret.expose())
                .map(|key| Self::of_identity(role, &key))
                .map_err(|source| KeyPairError::Identity { role: role.as_str(), source }),
            Role::Attestation => {
                Signer::parse(secret).map(|signer| Self::of_signer(&signer)).map_err(KeyPairError::Attestation)
            }
            Role::Sealing => OpeningKey::parse(secret).map(|key| Self::of_opening(&key)).map_err(KeyPairError::Sealing),
        }
    }

    fn of_identity(role: Role, key: &PrivateKey) -> Self {
        Self { role, secret: Secret::new(key.to_hex().expose()), public: key.id().to_string(), kid: None }
    }

    fn of_signer(signer: &Signer) -> Self {
        let public = signer.public();
        Self {
            role: Role::Attestation,
            secret: signer.to_hex(),
            public: public.to_hex(),
            kid: Some(public.kid().to_owned()),
        }
    }

    fn of_opening(key: &OpeningKey) -> Self {
        let public = key.public();
        let (public, kid) = (public.to_hex(), public.kid().to_owned());
        Self { role: Role::Sealing, secret: key.to_hex(), public, kid: Some(kid) }
    }

    /// Whether this key is in the public examples of Colonies, so that everyone has it.
    pub fn is_published(&self) -> bool {
        /// Ids of server, colony and user in the examples of the Colonies repository.
        const EXAMPLES: [&str; 3] = [
            "039231c7644e04b6895471dd5335cf332681c54e27f81fac54f9067b3f2c0103",
            "4787a5071856a4acf702b2ffcea422e3237a679c681314113d86139461290cf4",
            "3fc05cf3df4b494e95d6a3d297a34f19938f7daa7422ab0d4f794454133341ac",
        ];
        EXAMPLES.contains(&self.public.as_str())
    }
}

/// Why a text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyPairError {
    /// Not the key of an identity.
    #[error("this is not the key of a {role}")]
    Identity {
        role: &'static str,
        /// What is wrong.
        #[source]
        source: KeyError,
    },
    /// Not a key of attestations.
    #[error("this is not a key of attestations")]
    Attestation(#[source] AttestationKeyError),
    /// Not a key of sealed jobs.
    #[error("this is not a key for sealing jobs")]
    Sealing(#[source] SealingKeyError),
}

/// Writes keys as a file of environment variables, for systemd, Docker or a shell.
pub fn env_file(pairs: &[KeyPair]) -> Secret {
    let mut text = String::from(
        "# Keys of colony-gateway. This file is as good as the keys: keep it at mode 0600 and out of repositories.\n",
    );
    for pair in pairs {
        let role = pair.role;
        // Writing to a String does not fail.
        let _ = write!(text, "\n# {}\n{}={}\n", role.purpose(), role.secret_variable(), pair.secret.expose());
        let _ = match role.public_variable() {
            Some(variable) => writeln!(text, "{variable}={}", pair.public),
            None => writeln!(text, "# Its id: {}", pair.public),
        };
    }
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_is_read_back_with_its_public_part() {
        for role in Role::ALL {
            let pair = KeyPair::generate(role).unwrap();
            assert_eq!(KeyPair::read(role, &pair.secret).unwrap(), pair);
            assert_eq!(pair.public.len(), 64);
            assert_eq!(pair.kid.is_some(), matches!(role, Role::Attestation | Role::Sealing));
            assert!(!pair.is_published());
            assert_eq!(Role::from_name(role.as_str()), Some(role));
        }
        assert_eq!(Role::from_name("queen"), None);
    }

    #[test]
    fn a_text_that_is_no_key_names_the_role_and_not_the_text() {
        for role in Role::ALL {
            let error = KeyPair::read(role, &Secret::new("hunter2")).unwrap_err();
            assert!(error.to_string().contains(role.as_str()), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn the_key_of_the_public_examples_is_known_as_such() {
        let example = Secret::new("ddf7f7791208083b6a9ed975a72684f6406a269cfa36f1b1c32045c0a71fff05");
        assert!(KeyPair::read(Role::User, &example).unwrap().is_published());
    }

    #[test]
    fn an_env_file_holds_every_key_once_and_nothing_that_a_shell_would_expand() {
        let pairs: Vec<KeyPair> = Role::ALL.into_iter().map(|role| KeyPair::generate(role).unwrap()).collect();
        let text = env_file(&pairs);
        let lines: Vec<(&str, &str)> = text
            .expose()
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| line.split_once('=').unwrap())
            .collect();
        for pair in &pairs {
            assert!(lines.contains(&(pair.role.secret_variable(), pair.secret.expose())));
            if let Some(variable) = pair.role.public_variable() {
                assert!(lines.contains(&(variable, &pair.public)));
            }
        }
        assert_eq!(lines.len(), 10);
        assert!(lines.iter().all(|(_, value)| value.bytes().all(|byte| byte.is_ascii_hexdigit())));
    }
}
