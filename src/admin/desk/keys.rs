//! Each secret: where it comes from, how old it is, when it is due, what tells it from others, and whether it is still used.
//! Never its value.

use std::time::Duration;

use colonies::identity::PrivateKey;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Desk;
use crate::config::{Config, FileMark, KEY_AGE_MAX, Shown, WatchedFile};
use crate::domain::clock::Timestamp;
use crate::domain::secret::Secret;
use crate::job::attestation::{PublicKey, Signer};
use crate::job::keys::opening::Openers;
use crate::job::sealing::RecipientKey;
use crate::telemetry::labelled::labelled;

/// A key counts as unused after this time, if another of its kind is used.
const UNUSED_AFTER: Duration = Duration::from_hours(24);

const USES: &str = "colony_gateway_key_uses_total";
const LAST_USES: &str = "colony_gateway_key_last_use_timestamp_seconds";

/// Digits of fingerprints that the gateway makes itself.
const FINGERPRINT_DIGITS: usize = 8;

/// One secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyLine {
    /// Variable of its setting, or the endpoint that has it.
    pub setting: String,
    /// Its purpose, in Markdown.
    pub about: String,
    /// `environment`, `file` (the configuration's), or the path of its own file.
    pub source: String,
    /// When its file was written; `None` without its own file.
    pub written: Option<Timestamp>,
    /// When it should be replaced.
    pub due: Option<Timestamp>,
    pub is_due: bool,
    /// A fingerprint or a key's id. `None` for a secret that could be guessed from it.
    pub fingerprint: Option<String>,
    /// Uses since the start; `None` if they are not counted.
    pub uses: Option<u64>,
    pub last_use: Option<Timestamp>,
    /// Whether others of its kind are used and it is not.
    pub is_unused: bool,
}

/// A key, by its kind and id in the metrics.
struct Counted {
    kind: &'static str,
    id: String,
}

impl Desk {
    /// Every secret in use. Reads files, which may block. `metrics` is the text for Prometheus.
    pub fn keys(&self, metrics: &str, now: Timestamp) -> Vec<KeyLine> {
        let mut lines = Vec::new();
        for one in Config::declared().iter().filter(|one| one.is_secret) {
            let variable = one.setting.variable;
            let config = self.settings.of(variable);
            let Some(shown) = config.shown.iter().find(|shown| shown.variable == variable) else { continue };
            if shown.value.is_empty() {
                continue;
            }
            let written = config.files.iter().find(|file| file.setting == variable).and_then(written);
            for (fingerprint, counted) in names(&config, variable) {
                let about = one.setting.about;
                lines.push((line(variable, about, shown, written, fingerprint, now), counted));
            }
        }
        lines.extend(of_tables(self.settings.started(), now));
        self.count(lines, metrics, now)
    }

    /// Adds the uses from the metrics.
    fn count(&self, lines: Vec<(KeyLine, Option<Counted>)>, metrics: &str, now: Timestamp) -> Vec<KeyLine> {
        let (uses, last) = (labelled(metrics, USES), labelled(metrics, LAST_USES));
        let moment = |key: &str| last.get(key).filter(|at| **at > 0.0).map(|at| seconds(*at));
        let is_fresh = |at: Option<Timestamp>| at.is_some_and(|at| now.since(at) < UNUSED_AFTER);
        let is_kind_used = |kind: &str| {
            let of_kind = |name: &&String| name.split_once(':').is_some_and(|(known, _)| known == kind);
            last.keys().filter(of_kind).any(|key| is_fresh(moment(key)))
        };
        let has_run_long = now.since(self.since) >= UNUSED_AFTER;
        let count = |(mut line, counted): (KeyLine, Option<Counted>)| {
            if let Some(Counted { kind, id }) = counted {
                let key = format!("{kind}:{id}");
                line.uses = uses.get(&key).map(|uses| whole(*uses));
                line.last_use = moment(&key);
                let is_idle = line.uses.is_some() && !is_fresh(line.last_use);
                line.is_unused = is_idle && has_run_long && is_kind_used(kind);
            }
            line
        };
        lines.into_iter().map(count).collect()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count that is far below 2^53")]
fn whole(uses: f64) -> u64 {
    uses as u64
}

#[expect(clippy::cast_possible_truncation, reason = "a moment in seconds is far below 2^53")]
fn seconds(at: f64) -> Timestamp {
    Timestamp::from_seconds(at as i64)
}

fn written(file: &WatchedFile) -> Option<Timestamp> {
    FileMark::of(&file.path)?.written
}

fn line(
    setting: impl Into<String>,
    about: impl Into<String>,
    shown: &Shown,
    written: Option<Timestamp>,
    fingerprint: Option<String>,
    now: Timestamp,
) -> KeyLine {
    let due = written.map(|written| written.plus(KEY_AGE_MAX));
    KeyLine {
        setting: setting.into(),
        about: about.into(),
        source: shown.origin.clone(),
        written,
        due,
        is_due: due.is_some_and(|due| now > due),
        fingerprint,
        uses: None,
        last_use: None,
        is_unused: false,
    }
}

/// Secrets of `[[endpoint]]` tables, and the files they name.
fn of_tables(config: &Config, now: Timestamp) -> Vec<(KeyLine, Option<Counted>)> {
    const FILE: &str = "endpoint.secrets_file";
    let has_default = config.shown.iter().any(|shown| shown.variable == WEBHOOK && !shown.value.is_empty());
    let mut lines = Vec::new();
    for endpoint in config.endpoints.iter().skip(usize::from(has_default)) {
        let shown = Shown { key: "endpoint", variable: "", value: String::new(), origin: "its table".to_owned() };
        for secret in endpoint.secrets.get().iter() {
            let about = format!("Signing secret of the endpoint `{}`.", endpoint.name);
            let id = secret.fingerprint().to_string();
            let counted = Counted { kind: "webhook", id: id.clone() };
            lines
                .push((line(format!("endpoint {}", endpoint.name), about, &shown, None, Some(id), now), Some(counted)));
        }
    }
    for file in config.files.iter().filter(|file| file.setting == FILE) {
        let origin = format!("secrets_file {}", file.path.display());
        let shown = Shown { key: FILE, variable: "", value: String::new(), origin };
        lines.push((line(FILE, "Signing secrets of an endpoint.", &shown, written(file), None, now), None));
    }
    lines
}

const WEBHOOK: &str = "STRIPE_WEBHOOK_SECRET";

/// The ids of a setting's keys, and how their uses are counted. One for each key.
fn names(config: &Config, variable: &str) -> Vec<(Option<String>, Option<Counted>)> {
    let colony = &config.colony;
    let counted = |kind, id: String| (Some(id.clone()), Some(Counted { kind, id }));
    let named = |ids: Vec<String>| ids.into_iter().map(|id| (Some(id), None)).collect::<Vec<_>>();
    let identity = |key: Option<&Secret>| {
        let key = key.and_then(|key| PrivateKey::from_hex(key.expose()).ok());
        vec![(key.map(|key| key.id().to_string()), None)]
    };
    let names = match variable {
        WEBHOOK => {
            let secrets = config.endpoints.first().map(|endpoint| endpoint.secrets.get());
            let ids = secrets.iter().flat_map(|secrets| secrets.iter().map(|secret| secret.fingerprint().to_string()));
            ids.map(|id| counted("webhook", id)).collect()
        }
        "ATTESTATION_PRVKEY" => {
            let signer = colony.attestation_key.as_ref().and_then(|key| Signer::parse(key).ok());
            signer.map(|signer| counted("attestation", signer.public().kid().to_owned())).into_iter().collect()
        }
        "ATTESTATION_PUBKEYS" => {
            let keys = PublicKey::parse_list(colony.attestation_pubkeys.as_deref().unwrap_or_default());
            keys.iter().flatten().map(|key| counted("attestation", key.kid().to_owned())).collect()
        }
        "SEALING_PUBKEYS" => {
            let keys = RecipientKey::parse_list(colony.sealing_pubkeys.as_deref().unwrap_or_default());
            named(keys.iter().flatten().map(|key| key.kid().to_owned()).collect())
        }
        "SEALING_PRVKEY" => {
            let keys = colony.sealing_key.as_ref().and_then(|key| Openers::given(key).ok());
            let keys = keys.map(|openers| openers.keys()).unwrap_or_default();
            named(keys.iter().map(|key| key.public().kid().to_owned()).collect())
        }
        "COLONIES_USER_PRVKEY" => identity(colony.user_key.as_ref()),
        "COLONIES_COLONY_PRVKEY" => identity(colony.colony_key.as_ref()),
        "COLONIES_EXECUTOR_PRVKEY" => identity(colony.executor_key.as_ref()),
        // Stripe makes it at random, so its digest reveals nothing.
        "STRIPE_SECRET_KEY" => vec![(config.stripe.key.as_ref().map(digest), None)],
        // A person may have made it up, so a digest would tell a guesser whether a guess is right.
        _ => Vec::new(),
    };
    if names.is_empty() { vec![(None, None)] } else { names }
}

fn digest(secret: &Secret) -> String {
    let mut digits = hex::encode(Sha256::digest(format!("colony-gateway key\0{}", secret.expose())));
    digits.truncate(FINGERPRINT_DIGITS);
    digits
}
