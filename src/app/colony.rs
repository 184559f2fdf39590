//! From the settings of a colony to the things that they describe. What is missing or malformed is a fault of the
//! configuration, with its setting's name.

use std::fmt;
use std::sync::Arc;

use colonies::Moment;
use colonies::client::{Client, Roots, ServerUrl, Settings};
use colonies::identity::PrivateKey;

use crate::config::{ColonyConfig, ConfigError, Fault};
use crate::domain::causes::chain;
use crate::domain::clock::Clock;
use crate::domain::secret::Secret;
use crate::job::attestation::{PublicKey, Signer, Trust, Verifier};
use crate::job::keys::opening::Openers;
use crate::job::sealing::{RecipientKey, Recipients};

/// A single configuration fault.
pub(crate) fn fault(setting: &str, message: impl fmt::Display) -> ConfigError {
    ConfigError(vec![Fault { setting: setting.to_owned(), message: format!("{message}") }])
}

fn missing(setting: &str, what: &str) -> ConfigError {
    fault(setting, format!("is not set: set it to {what}"))
}

/// A client of the configured servers. Connects to nothing yet.
///
/// # Errors
/// If no server is set, or the setting is wrong.
pub fn client(config: &ColonyConfig) -> Result<Client, ConfigError> {
    const SERVERS: &str = "COLONIES_SERVER_HOST";
    let servers =
        config.servers.as_deref().ok_or_else(|| missing(SERVERS, "the host or URL of the Colonies server"))?;
    let servers = ServerUrl::parse_list(servers, config.port, config.tls).map_err(|error| fault(SERVERS, error))?;
    for server in servers.iter().filter(|server| server.is_exposed()) {
        tracing::warn!(%server, "calls leave this machine unencrypted, and the protocol does not prevent replays: use \
                                 TLS");
    }
    let roots = config.tls_roots.clone().map_or(Roots::System, Roots::File);
    let user_agent = concat!("colony-gateway/", env!("CARGO_PKG_VERSION")).to_owned();
    Client::new(&Settings { roots, user_agent, ..Settings::new(servers) })
        .map_err(|error| fault(SERVERS, chain(&error)))
}

/// Lets an embedded server use our clock.
pub fn server_clock(clock: &Clock) -> colonies::server::Clock {
    let clock = clock.clone();
    colonies::server::Clock::new(move || Moment::from_millis(clock.now().millis()))
}

/// The colony's name.
///
/// # Errors
/// If it is not set.
pub fn name(config: &ColonyConfig) -> Result<String, ConfigError> {
    config.colony.clone().ok_or_else(|| missing("COLONIES_COLONY_NAME", "the name of the colony"))
}

/// A required key.
///
/// # Errors
/// If it is not set, or not a key.
pub fn key(key: Option<&Secret>, variable: &str, what: &str) -> Result<Arc<PrivateKey>, ConfigError> {
    let key = key.ok_or_else(|| missing(variable, &format!("{what} (`keys generate` makes one)")))?;
    PrivateKey::from_hex(key.expose()).map(Arc::new).map_err(|error| fault(variable, error))
}

/// The signer of jobs.
///
/// # Errors
/// If the key is not set, or not a key.
pub fn signer(config: &ColonyConfig) -> Result<Signer, ConfigError> {
    const KEY: &str = "ATTESTATION_PRVKEY";
    let seed = config.attestation_key.as_ref();
    let seed = seed.ok_or_else(|| missing(KEY, "the key that attests jobs (`keys generate` makes one)"))?;
    Signer::parse(seed).map_err(|error| fault(KEY, error))
}

const KEYS: &str = "ATTESTATION_PUBKEYS";

/// Trusts the configured public keys and, if this program attests jobs itself, its own.
///
/// # Errors
/// If there is no key to trust, or one is malformed.
pub fn verifier(config: &ColonyConfig) -> Result<Verifier, ConfigError> {
    Verifier::new(Trust::new(trusted(config)?)).map_err(|error| fault(KEYS, error))
}

/// The trusted keys.
///
/// # Errors
/// Those of [`verifier`].
pub(super) fn trusted(config: &ColonyConfig) -> Result<Vec<PublicKey>, ConfigError> {
    let mut keys = PublicKey::parse_list(config.attestation_pubkeys.as_deref().unwrap_or_default())
        .map_err(|error| fault(KEYS, error))?;
    if config.attestation_key.is_some() {
        let own = signer(config)?.public().clone();
        if !keys.contains(&own) {
            keys.push(own);
        }
    }
    if keys.is_empty() {
        return Err(missing(KEYS, "the public keys of the gateways whose jobs the bees believe (`keys show`)"));
    }
    Ok(keys)
}

const SEALING_KEYS: &str = "SEALING_PUBKEYS";

/// The recipients of sealed jobs: the configured public keys or, without any, the bees of this program. `None` if jobs are
/// not sealed.
///
/// # Errors
/// If a key is malformed, or there are too many.
pub fn recipients(config: &ColonyConfig) -> Result<Option<Recipients>, ConfigError> {
    if config.seals_jobs == Some(false) {
        return Ok(None);
    }
    let keys = match &config.sealing_pubkeys {
        Some(keys) => RecipientKey::parse_list(keys).map_err(|error| fault(SEALING_KEYS, error))?,
        None => openers(config)?.keys().iter().map(|key| key.public().clone()).collect(),
    };
    if keys.is_empty() && config.seals_jobs.is_none() {
        return Ok(None);
    }
    Recipients::new(keys).map(Some).map_err(|error| fault(SEALING_KEYS, error))
}

/// The keys with which bees open sealed jobs; empty if none is set.
///
/// # Errors
/// If a key is malformed or its file cannot be read.
pub fn openers(config: &ColonyConfig) -> Result<Openers, ConfigError> {
    let openers = match (&config.sealing_key, &config.sealing_key_file) {
        (Some(_), Some(path)) => Openers::of_file(path),
        (given, _) => Openers::given(given.as_ref().unwrap_or(&Secret::new(""))),
    };
    openers.map_err(|error| fault("SEALING_PRVKEY", chain(&error)))
}
