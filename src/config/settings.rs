//! Every setting, its names, its default and its bounds.

use std::net::SocketAddr;
use std::time::Duration;

use super::backup::BackupConfig;
use super::colony::{self, ColonyConfig};
use super::dispatch::{self, DispatchConfig};
use super::endpoints;
use super::fault::{ConfigError, Fault};
use super::heartbeat;
use super::http::{self, HttpConfig};
use super::inbox::{self, InboxConfig};
use super::ledger::{LedgerConfig, LedgerExpectation, StripeConfig};
use super::log::{self, LogConfig};
use super::notify::{self, NotifyConfig};
use super::parse::duration;
use super::plaintext::{self, PlaintextAllowed};
use super::reader::{DEFAULT, Declared, Findings, GivenSecret, Reader, Reading, Shown, Sources};
use super::reconcile::{self, ReconcileConfig};
use super::revenue::{self, RevenueConfig};
use super::setting::{Form, Setting, setting};
use super::shadow::{self, ShadowConfig};
use super::traces;
use super::watched::WatchedFile;
use crate::domain::secret::Secret;
use crate::stripe::endpoint::Endpoint;
use crate::telemetry::trace::TraceSettings;

const TOLERANCE: Setting =
    setting("stripe.tolerance", "GATEWAY_STRIPE_TOLERANCE", "Greatest age of a signature.").takes(Form::Duration);
const SHUTDOWN_DEADLINE: Setting = setting(
    "shutdown_deadline",
    "GATEWAY_SHUTDOWN_DEADLINE",
    "How long unfinished work may take after the signal to stop.",
)
.takes(Form::Duration);

/// Port of the admin listener of separate bees, unless it is set.
const BEE_ADMIN_PORT: u16 = 9092;

#[derive(Clone, Debug)]
pub struct Config {
    pub http: HttpConfig,
    pub endpoints: Vec<Endpoint>,
    pub inbox: InboxConfig,
    /// From the inbox to the ledger.
    pub dispatch: DispatchConfig,
    /// Colonies server, jobs and bees.
    pub colony: ColonyConfig,
    pub ledger: LedgerConfig,
    pub ledger_expectation: LedgerExpectation,
    /// How long payloads of events stay in the ledger; `None`: for ever.
    pub keep_payloads: Option<Duration>,
    pub stripe: StripeConfig,
    pub reconcile: ReconcileConfig,
    /// Shadow mode; `None`: live.
    pub shadow: Option<ShadowConfig>,
    pub revenue: RevenueConfig,
    pub backup: BackupConfig,
    /// `redis://…` where heartbeats go; without it there are none.
    pub heartbeat: Option<Secret>,
    /// Messages to people.
    pub notify: NotifyConfig,
    pub log: LogConfig,
    /// Traces; `None`: off.
    pub traces: Option<TraceSettings>,
    /// What may go unencrypted beyond private networks.
    pub plaintext: PlaintextAllowed,
    /// Connections that go unencrypted beyond private networks, as is allowed: the setting of each, and what that means.
    pub unencrypted: Vec<Fault>,
    /// How long work in hand may take after the first signal.
    pub shutdown_deadline: Duration,
    /// Every setting with its value and origin, secrets redacted, for `config show`.
    pub shown: Vec<Shown>,
    /// Oddities that do not prevent a start.
    pub warnings: Vec<Fault>,
    /// Secrets whose files hold nothing of use and that were left out, for a command. A start is refused with them.
    pub unusable: Vec<Fault>,
    /// Files that secrets and rules came from, to read them again when they change.
    pub files: Vec<WatchedFile>,
}

/// What is known after all settings were asked for, besides their values.
struct Asked {
    declared: Vec<Declared>,
    secrets: Vec<GivenSecret>,
    faults: Vec<Fault>,
}

impl Config {
    /// Reads every setting. Serving without a webhook endpoint is a fault.
    pub fn for_serve(sources: &Sources) -> Result<Self, ConfigError> {
        Self::read(sources, true, Reading::Strict)
    }

    /// As [`Self::for_serve`], for a command that needs what serving needs, but no secret that it does not use itself.
    pub fn for_serve_tools(sources: &Sources) -> Result<Self, ConfigError> {
        Self::read(sources, true, Reading::Lenient)
    }

    /// Reads every setting for a command that receives no webhooks. Secrets whose files are useless are left out and
    /// listed, unless they say where the gateway's data is.
    pub fn for_tools(sources: &Sources) -> Result<Self, ConfigError> {
        Self::read(sources, false, Reading::Lenient)
    }

    /// Reads what [`Self::for_serve`] reads, as far as possible, and returns all faults.
    pub fn examine(sources: &Sources) -> (Self, Vec<Fault>) {
        let (config, asked) = Self::read_all(sources, true, Reading::Strict);
        (config, asked.faults)
    }

    /// Reads every setting for separate bees. If no address is set, they use another one than a gateway beside them:
    /// whichever starts first must not keep the other from starting.
    pub fn for_bees(sources: &Sources) -> Result<Self, ConfigError> {
        let mut config = Self::read(sources, false, Reading::Strict)?;
        if config.is_default("http.admin_listen") {
            config.http.admin_listen.set_port(BEE_ADMIN_PORT);
        }
        Ok(config)
    }

    /// Reads every setting for a command of the database's owner, which may have its own URL.
    pub fn for_owner(sources: &Sources) -> Result<Self, ConfigError> {
        let mut config = Self::for_tools(sources)?;
        if let Some(owner) = config.ledger_expectation.owner_url.clone() {
            config.ledger.owned_by(owner);
        }
        Ok(config)
    }

    /// Whether a setting has its default.
    pub fn is_default(&self, key: &str) -> bool {
        self.shown.iter().any(|shown| shown.key == key && shown.origin == DEFAULT)
    }

    /// The secrets of this configuration as they were given, except those of `[[endpoint]]` tables.
    pub fn secrets(sources: &Sources) -> Result<Vec<GivenSecret>, ConfigError> {
        match Self::read_all(sources, false, Reading::Strict).1 {
            Asked { secrets, faults, .. } if faults.is_empty() => Ok(secrets),
            Asked { faults, .. } => Err(ConfigError(faults)),
        }
    }

    /// One of these secrets. A useless value is a fault.
    pub fn secret(sources: &Sources, variable: &str) -> Result<Option<Secret>, ConfigError> {
        let (config, Asked { secrets, faults, .. }) = Self::read_all(sources, false, Reading::Lenient);
        let is_its = |fault: &Fault| fault.setting.strip_suffix("_FILE") == Some(variable);
        let faults: Vec<Fault> = faults.into_iter().chain(config.unusable.into_iter().filter(is_its)).collect();
        if !faults.is_empty() {
            return Err(ConfigError(faults));
        }
        Ok(secrets.into_iter().find(|secret| secret.variable == variable).map(|secret| secret.text))
    }

    /// Every setting that exists, in the order of `config show`.
    pub fn declared() -> Vec<Declared> {
        Self::read_all(&Sources::default(), false, Reading::Strict).1.declared
    }

    /// The address of the admin listener. Reads no secret and ignores other settings, so that a health check does not fail
    /// while one is being replaced.
    pub fn admin_listen(sources: &Sources) -> Result<SocketAddr, ConfigError> {
        Self::address(sources, http::admin_listen)
    }

    /// The address for webhooks, read in the same way.
    pub fn listen(sources: &Sources) -> Result<SocketAddr, ConfigError> {
        Self::address(sources, http::listen)
    }

    fn address(sources: &Sources, read: fn(&mut Reader) -> SocketAddr) -> Result<SocketAddr, ConfigError> {
        let mut reader = Reader::new(sources);
        let address = read(&mut reader);
        if reader.faults.is_empty() { Ok(address) } else { Err(ConfigError(reader.faults)) }
    }

    fn read(sources: &Sources, serves: bool, reading: Reading) -> Result<Self, ConfigError> {
        let (config, asked) = Self::read_all(sources, serves, reading);
        if asked.faults.is_empty() { Ok(config) } else { Err(ConfigError(asked.faults)) }
    }

    fn read_all(sources: &Sources, serves: bool, reading: Reading) -> (Self, Asked) {
        let mut reader = Reader::new(sources);
        let r = &mut reader;
        let http = http::read(r);
        let tolerance = r.or(TOLERANCE, "5m", duration);
        let endpoints = endpoints::read(r, tolerance, serves);
        let inbox = inbox::read(r);
        let dispatch = dispatch::read(r);
        let colony = colony::read(r, serves);
        let (ledger, ledger_expectation) = super::ledger::ledger(r, &inbox.data_dir);
        let keep_payloads = super::ledger::keep_payloads(r);
        let stripe = super::ledger::stripe(r);
        let reconcile = reconcile::read(r);
        let shadow = shadow::read(r);
        let revenue = revenue::read(r);
        let backup = super::backup::read(r);
        let heartbeat = heartbeat::read(r);
        let notify = notify::read(r);
        let log = log::read(r);
        let traces = traces::read(r);
        let shutdown_deadline = r.or(SHUTDOWN_DEADLINE, "25s", duration);
        let (plaintext, unencrypted) = plaintext::judge(
            r,
            &plaintext::Lines {
                inbox_url: inbox.url.as_ref(),
                admin: http.admin_listen,
                ledger: &ledger,
                owner_url: ledger_expectation.owner_url.as_ref(),
                colony: &colony,
                redis: heartbeat.as_ref(),
                traces: traces.as_ref(),
                notify: &notify,
            },
        );
        if inbox.url.is_some() {
            inbox::judge_shared(r, &inbox, &ledger);
        }
        inbox::judge_spill(r, &inbox);
        if http.webhooks.append_timeout <= inbox.busy_timeout {
            let message = "must be longer than inbox.busy_timeout, or a slow commit is answered before it is known";
            r.fault("http.append_timeout", message);
        }
        let Findings { declared, shown, warnings, files, secrets, unusable, faults } = reader.finish(reading);
        let config = Self {
            http,
            endpoints,
            inbox,
            dispatch,
            colony,
            ledger,
            ledger_expectation,
            keep_payloads,
            stripe,
            reconcile,
            shadow,
            revenue,
            backup,
            heartbeat,
            notify,
            log,
            traces,
            plaintext,
            unencrypted,
            shutdown_deadline,
            shown,
            warnings,
            unusable,
            files,
        };
        (config, Asked { declared, secrets, faults })
    }
}

#[cfg(test)]
mod tests;
