//! Every setting, its names, its default and its bounds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use stripe_events::metadata::{USER_FIELDS, UserFields, UserFieldsError};

use super::backup::BackupConfig;
use super::colony::{self, ColonyConfig};
use super::endpoints;
use super::heartbeat;
use super::http::{self, HttpConfig};
use super::ledger::{LedgerConfig, LedgerExpectation, StripeConfig};
use super::plaintext::{self, PlaintextAllowed};
use super::reader::{
    ConfigError, DEFAULT, Fault, Findings, GivenSecret, Reader, Shown, Sources, boolean, bytes, duration, linger,
    number, setting,
};
use super::reconcile::{self, ReconcileConfig};
use super::shadow::{self, ShadowConfig};
use super::traces;
use super::watched::WatchedFile;
use crate::domain::limits::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX};
use crate::domain::secret::Secret;
use crate::revenue::grace::Grace;
use crate::stripe::endpoint::Endpoint;
use crate::telemetry::logging::{LogFormat, check_filter};
use crate::telemetry::trace::TraceSettings;

/// Port of the admin listener of bees alone, unless it is set.
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
    /// Files that secrets and rules came from, to read them again when they change.
    pub files: Vec<WatchedFile>,
}

#[derive(Clone, Debug)]
pub struct InboxConfig {
    /// Directory of the gateway's files.
    pub data_dir: PathBuf,
    /// Bound on the inbox file, beyond which no new event is taken; `None`: the disk. Its log comes on top: about 32 MiB.
    pub bytes_max: Option<u64>,
    /// Most requests waiting for the writer.
    pub queue_max: usize,
    /// Most requests in one commit.
    pub group_max: usize,
    /// How long a commit waits for another program that holds the file.
    pub busy_timeout: Duration,
    /// How long bodies of settled entries are kept.
    pub keep_bodies: Duration,
    /// How long bodies of entries that wait for a person are kept; `None`: for ever.
    pub keep_held_bodies: Option<Duration>,
    /// How long settled entries are kept.
    pub keep_entries: Duration,
}

/// From the inbox to the ledger.
#[derive(Clone, Copy, Debug)]
pub struct DispatchConfig {
    /// Batches in hand at once.
    pub workers: usize,
    /// Most entries in a batch.
    pub batch_entries_max: usize,
    /// Most bytes of bodies in a batch.
    pub batch_bytes_max: usize,
    /// Least time between batches on the direct route while events keep coming; zero: none.
    pub linger: Duration,
    /// How long a leased entry is left to its holder.
    pub lease: Duration,
    /// Longest ledger call; shorter than the lease.
    pub ledger_timeout: Duration,
    /// Failed attempts after which an entry is dead.
    pub attempts_max: usize,
    /// Ceiling of the wait after the first failed attempt.
    pub retry_first: Duration,
    /// No wait between attempts is longer.
    pub retry_max: Duration,
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct RevenueConfig {
    /// Stripe price ids and the tier each stands for.
    pub tiers: Vec<(String, &'static str)>,
    /// Rules file of the Guardian; the built-in rules alone without it.
    pub guardian_rules: Option<PathBuf>,
    /// Whether a user keeps access while the subscription is `unpaid`.
    pub unpaid_entitles: bool,
    /// Whether a subscription on a connected account gives a tier on the platform.
    pub connect_entitles: bool,
    /// Whether access goes on while collection is paused.
    pub pause_entitles: bool,
    /// How long late payers keep access.
    pub grace: Grace,
    /// Whether only UUIDs name users. Without it any word does, and a public table whose column takes no such word shows
    /// nothing of the user.
    pub uuid_users: bool,
    /// Fields of metadata that name a user.
    pub user_fields: UserFields,
    /// Whether `client_reference_id` names a user.
    pub references_name_users: bool,
}

#[derive(Clone, Debug)]
pub struct LogConfig {
    pub format: LogFormat,
    /// `tracing` filter, such as `info,colony_gateway::inbox=debug`.
    pub filter: String,
}

impl Config {
    /// Reads every setting. Serving without a webhook endpoint is a fault.
    pub fn for_serve(sources: &Sources) -> Result<Self, ConfigError> {
        Self::read(sources, true)
    }

    /// Reads every setting for a command that receives no webhooks.
    pub fn for_tools(sources: &Sources) -> Result<Self, ConfigError> {
        Self::read(sources, false)
    }

    /// Reads every setting for bees alone. Where no address is set they take another than a gateway beside them does:
    /// whichever starts first must not keep the other from starting.
    pub fn for_bees(sources: &Sources) -> Result<Self, ConfigError> {
        let mut config = Self::read(sources, false)?;
        if config.is_default("http.admin_listen") {
            config.http.admin_listen.set_port(BEE_ADMIN_PORT);
        }
        Ok(config)
    }

    /// Reads every setting for a command of the database's owner, who may have a URL of its own.
    pub fn for_owner(sources: &Sources) -> Result<Self, ConfigError> {
        let mut config = Self::for_tools(sources)?;
        if let Some(owner) = config.ledger_expectation.owner_url.clone() {
            config.ledger.owned_by(owner);
        }
        Ok(config)
    }

    /// Whether a setting was left as it is.
    pub fn is_default(&self, key: &str) -> bool {
        self.shown.iter().any(|shown| shown.key == key && shown.origin == DEFAULT)
    }

    /// The secrets of this configuration as they were given, those of `[[endpoint]]` tables apart.
    pub fn secrets(sources: &Sources) -> Result<Vec<GivenSecret>, ConfigError> {
        Self::read_all(sources, false).map(|(_, secrets)| secrets)
    }

    /// Where the admin listener is. Reads no secret and minds no other setting, so that a health check does not fail with
    /// one that is being replaced.
    pub fn admin_listen(sources: &Sources) -> Result<SocketAddr, ConfigError> {
        let mut reader = Reader::new(sources);
        let address = http::admin_listen(&mut reader);
        if reader.faults.is_empty() { Ok(address) } else { Err(ConfigError(reader.faults)) }
    }

    fn read(sources: &Sources, serves: bool) -> Result<Self, ConfigError> {
        Self::read_all(sources, serves).map(|(config, _)| config)
    }

    fn read_all(sources: &Sources, serves: bool) -> Result<(Self, Vec<GivenSecret>), ConfigError> {
        let mut reader = Reader::new(sources);
        let r = &mut reader;
        let http = http::read(r);
        let tolerance = r.or(setting("stripe.tolerance", "GATEWAY_STRIPE_TOLERANCE"), "5m", duration);
        let endpoints = endpoints::read(r, tolerance, serves);
        let inbox = inbox(r);
        let dispatch = dispatch(r);
        let colony = colony::read(r, serves);
        let (ledger, ledger_expectation) = super::ledger::ledger(r, &inbox.data_dir);
        let keep_payloads = super::ledger::keep_payloads(r);
        let stripe = super::ledger::stripe(r);
        let reconcile = reconcile::read(r);
        let shadow = shadow::read(r);
        let revenue = revenue(r);
        let backup = super::backup::read(r);
        let heartbeat = heartbeat::read(r);
        let log = log(r);
        let traces = traces::read(r);
        let shutdown_deadline = r.or(setting("shutdown_deadline", "GATEWAY_SHUTDOWN_DEADLINE"), "25s", duration);
        let (plaintext, unencrypted) = plaintext::judge(
            r,
            &plaintext::Lines {
                admin: http.admin_listen,
                ledger: &ledger,
                owner_url: ledger_expectation.owner_url.as_ref(),
                colony: &colony,
                redis: heartbeat.as_ref(),
                traces: traces.as_ref(),
            },
        );
        if http.webhooks.append_timeout <= inbox.busy_timeout {
            let message = "must be longer than inbox.busy_timeout, or a slow commit is answered before it is known";
            r.fault("http.append_timeout", message);
        }
        let Findings { shown, warnings, files, secrets } = reader.finish()?;
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
            log,
            traces,
            plaintext,
            unencrypted,
            shutdown_deadline,
            shown,
            warnings,
            files,
        };
        Ok((config, secrets))
    }
}

fn inbox(r: &mut Reader) -> InboxConfig {
    InboxConfig {
        data_dir: r.or(setting("data_dir", "GATEWAY_DATA_DIR"), "data", path),
        bytes_max: r.optional(setting("inbox.bytes_max", "GATEWAY_INBOX_BYTES_MAX"), |text| match bytes(text)? {
            small if small < 1 << 20 => Err("must be at least 1MiB".to_owned()),
            enough => Ok(enough),
        }),
        queue_max: r.or(setting("inbox.queue_max", "GATEWAY_INBOX_QUEUE_MAX"), "4096", number(1, 1_000_000)),
        group_max: r.or(setting("inbox.group_max", "GATEWAY_INBOX_GROUP_MAX"), "512", number(1, 10_000)),
        busy_timeout: r.or(setting("inbox.busy_timeout", "GATEWAY_INBOX_BUSY_TIMEOUT"), "5s", duration),
        keep_bodies: r.or(setting("inbox.keep_bodies", "GATEWAY_INBOX_KEEP_BODIES"), "35d", duration),
        keep_held_bodies: r.optional(setting("inbox.keep_held_bodies", "GATEWAY_INBOX_KEEP_HELD_BODIES"), |text| {
            super::ledger::long_enough(duration(text)?)
        }),
        keep_entries: r.or(setting("inbox.keep_entries", "GATEWAY_INBOX_KEEP_ENTRIES"), "400d", duration),
    }
}

fn dispatch(r: &mut Reader) -> DispatchConfig {
    let dispatch = DispatchConfig {
        workers: r.or(setting("dispatch.workers", "GATEWAY_DISPATCH_WORKERS"), "2", number(1, 64)),
        batch_entries_max: r.or(
            setting("dispatch.batch_entries_max", "GATEWAY_BATCH_ENTRIES_MAX"),
            "256",
            number(1, BATCH_ENTRIES_MAX),
        ),
        batch_bytes_max: r.or(setting("dispatch.batch_bytes_max", "GATEWAY_BATCH_BYTES_MAX"), "4MiB", |text| {
            match bytes(text).map(usize::try_from)? {
                Ok(bytes) if bytes <= BATCH_BYTES_MAX => Ok(bytes),
                _ => Err("must be at most 4MiB".to_owned()),
            }
        }),
        linger: r.or(setting("dispatch.linger", "GATEWAY_LINGER"), "25ms", linger),
        lease: r.or(setting("dispatch.lease", "GATEWAY_LEASE"), "60s", duration),
        ledger_timeout: r.or(setting("dispatch.ledger_timeout", "GATEWAY_LEDGER_TIMEOUT"), "20s", duration),
        attempts_max: r.or(setting("dispatch.attempts_max", "GATEWAY_ATTEMPTS_MAX"), "16", number(1, 1000)),
        retry_first: r.or(setting("dispatch.retry_first", "GATEWAY_RETRY_FIRST"), "1s", duration),
        retry_max: r.or(setting("dispatch.retry_max", "GATEWAY_RETRY_MAX"), "5m", duration),
    };
    if dispatch.lease < dispatch.ledger_timeout * 2 {
        let message = "must be at least twice dispatch.ledger_timeout, or work outlives its lease and is done twice";
        r.fault("dispatch.lease", message);
    }
    if dispatch.retry_max < dispatch.retry_first {
        r.fault("dispatch.retry_max", "must not be shorter than dispatch.retry_first");
    }
    dispatch
}

fn revenue(r: &mut Reader) -> RevenueConfig {
    let tiers = [
        ("bronze", setting("stripe.price_bronze", "STRIPE_PRICE_BRONZE")),
        ("silver", setting("stripe.price_silver", "STRIPE_PRICE_SILVER")),
        ("gold", setting("stripe.price_gold", "STRIPE_PRICE_GOLD")),
    ];
    let mut prices: Vec<(String, &'static str)> = Vec::new();
    for (tier, setting) in tiers {
        for price in r.optional(setting, price_ids).unwrap_or_default() {
            if prices.iter().any(|(known, _)| *known == price) {
                r.fault(setting.variable, format!("{price} already stands for another tier"));
            }
            prices.push((price, tier));
        }
    }
    let rules = setting("revenue.guardian_rules", "GATEWAY_GUARDIAN_RULES");
    let guardian_rules = r.optional(rules, path);
    if let Some(path) = &guardian_rules {
        r.watch(rules.variable, path);
    }
    RevenueConfig {
        tiers: prices,
        guardian_rules,
        uuid_users: r.or(setting("revenue.user_ids", "GATEWAY_USER_IDS"), "auto", |text| match text {
            "uuid" => Ok(true),
            "any" | "auto" => Ok(false),
            _ => Err("must be auto, uuid or any".to_owned()),
        }),
        unpaid_entitles: r.or(setting("revenue.unpaid_entitles", "GATEWAY_UNPAID_ENTITLES"), "false", boolean),
        user_fields: r.or(setting("revenue.user_fields", "GATEWAY_USER_FIELDS"), &USER_FIELDS.join(","), |text| {
            text.parse().map_err(|error: UserFieldsError| error.to_string())
        }),
        references_name_users: r.or(setting("revenue.reference_is_user", "GATEWAY_REFERENCE_IS_USER"), "true", boolean),
        pause_entitles: r.or(setting("revenue.pause_entitles", "GATEWAY_PAUSE_ENTITLES"), "true", boolean),
        grace: r.or(setting("revenue.past_due_grace", "GATEWAY_PAST_DUE_GRACE"), "none", str::parse),
        connect_entitles: r.or(setting("revenue.connect_entitles", "GATEWAY_CONNECT_ENTITLES"), "false", boolean),
    }
}

fn log(r: &mut Reader) -> LogConfig {
    LogConfig {
        format: r.or(setting("log.format", "GATEWAY_LOG_FORMAT"), "auto", |text| {
            text.parse().map_err(|message: &str| message.to_owned())
        }),
        filter: r.or(setting("log.filter", "GATEWAY_LOG").or(&["RUST_LOG"]), "info", |text| {
            check_filter(text).map(|()| text.to_owned()).map_err(|error| format!("is no log filter: {error}"))
        }),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "all parsers have one form")]
fn path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

/// One price id, or several between commas.
fn price_ids(text: &str) -> Result<Vec<String>, String> {
    let ids: Vec<String> = text.split(',').map(|id| id.trim().to_owned()).collect();
    if ids.iter().all(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')) {
        Ok(ids)
    } else {
        Err("must be Stripe price ids (price_…), several between commas".to_owned())
    }
}

#[cfg(test)]
mod tests;
