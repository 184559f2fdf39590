//! Settings for the Colonies server: its address, our identities there, jobs, bees, fallback.
//!
//! Most names are those of the gateway's predecessor and of the Colonies tools, so that one environment serves all.
//! It passes texts of keys and addresses on unchanged; the modules that use them parse them.

use std::path::PathBuf;
use std::time::Duration;

use super::parse::{boolean, duration, linger, number};
use super::reader::Reader;
use super::setting::{Form, Setting, setting};
use crate::domain::secret::Secret;

const SERVERS: Setting = setting(
    "colony.servers",
    "COLONIES_SERVER_HOST",
    "Host or URL of the Colonies server, or several of a cluster, separated by commas.",
);
const ENABLED: Setting = setting(
    "colony.enabled",
    "USE_COLONY_OS",
    "Whether events go through the colony. Unset: if a server is named. `false` applies events directly, whatever \
     else is set.",
)
.takes(Form::Boolean);
const EXECUTOR_NAME: Setting =
    setting("colony.executor_name", "EXECUTOR_NAME", "Name of the executor. Unset: the bees choose one.")
        .or(&["COLONIES_EXECUTOR_NAME", "COLONIES_EXECUTOR"]);
const USER_KEY: Setting =
    setting("colony.user_key", "COLONIES_USER_PRVKEY", "Private key of the user that submits jobs.")
        .or(&["COLONIES_PRVKEY"]);
const EXECUTOR_KEY: Setting =
    setting("colony.executor_key", "COLONIES_EXECUTOR_PRVKEY", "Private key of the bees' executor.");
const SEALING_KEY: Setting = setting(
    "colony.sealing_key",
    "SEALING_PRVKEY",
    "Private keys with which bees open sealed jobs, separated by commas.",
);
const PORT: Setting =
    setting("colony.port", "COLONIES_SERVER_PORT", "Port of Colonies servers if their address names none.")
        .takes(Form::Integer { min: 1, max: 65535 });
const TLS: Setting =
    setting("colony.tls", "COLONIES_TLS", "Whether to use TLS with servers whose address has no scheme.")
        .takes(Form::Boolean)
        .or(&["COLONIES_SERVER_TLS"]);
const TLS_ROOTS: Setting = setting(
    "colony.tls_roots",
    "COLONIES_TLS_ROOTS",
    "File with the certificate authorities to trust for Colonies servers, in place of the system's.",
);
const NAME: Setting = setting("colony.name", "COLONIES_COLONY_NAME", "Name of the colony.");
const COLONY_KEY: Setting = setting(
    "colony.colony_key",
    "COLONIES_COLONY_PRVKEY",
    "Private key of the colony's owner, for `colony setup`. The gateway does not need it; bees that have it approve \
     themselves.",
);
const SERVER_KEY: Setting = setting(
    "colony.server_key",
    "COLONIES_SERVER_PRVKEY",
    "Private key of the Colonies server's owner, for `colony setup`. The gateway never needs it.",
);
const EXECUTOR_TYPE: Setting = setting("colony.executor_type", "EXECUTOR_TYPE", "Type of the executors that run jobs.");
const POLL_TIMEOUT: Setting = setting(
    "colony.poll_timeout",
    "POLL_TIMEOUT",
    "How long a bee waits for work in one call: from 1s to 60s. A plain number is seconds.",
)
.takes(Form::NumberOrText);
const BEES: Setting =
    setting("colony.bees", "BEE_COUNT", "Bees in this process.").takes(Form::Integer { min: 0, max: 64 });
const OFFER_SUMMARY: Setting = setting(
    "colony.offer_summary",
    "GATEWAY_COLONY_OFFER_SUMMARY",
    "Whether bees answer every member of the colony that asks for a summary of the revenue.",
)
.takes(Form::Boolean);
const ATTESTATION_KEY: Setting =
    setting("colony.attestation_key", "ATTESTATION_PRVKEY", "Private key that attests jobs; `keys generate` makes it.");
const ATTESTATION_PUBKEYS: Setting = setting(
    "colony.attestation_pubkeys",
    "ATTESTATION_PUBKEYS",
    "Public keys whose attestations bees accept, separated by commas.",
);
const SEALING_PUBKEYS: Setting = setting(
    "colony.sealing_pubkeys",
    "SEALING_PUBKEYS",
    "Public keys of the bees, to which the gateway seals jobs, separated by commas.",
);
const SEAL_JOBS: Setting = setting(
    "colony.seal_jobs",
    "GATEWAY_COLONY_SEAL_JOBS",
    "Whether the gateway seals jobs to the bees. `auto`: if there are keys for it.",
)
.takes(Form::Words(&["auto", "true", "false"]));
const LEASE: Setting = setting(
    "colony.lease",
    "GATEWAY_COLONY_LEASE",
    "How long a bee may hold a job (`maxexectime`): whole seconds from 5s to 1h.",
)
.takes(Form::Duration);
const RETRIES: Setting = setting(
    "colony.retries",
    "GATEWAY_COLONY_RETRIES",
    "Leases of one process that may be lost beyond the first (`maxretries`).",
)
.takes(Form::Integer { min: 0, max: 100 });
const RESUBMISSIONS_MAX: Setting = setting(
    "colony.resubmissions_max",
    "GATEWAY_COLONY_RESUBMISSIONS_MAX",
    "How often the gateway submits the events of processes that lost all leases again, before it marks their entries \
     dead.",
)
.takes(Form::Integer { min: 1, max: 1000 });
const FALLBACK_AFTER: Setting = setting(
    "colony.fallback_after",
    "GATEWAY_COLONY_FALLBACK_AFTER",
    "The gateway applies events directly if they wait longer than this for the colony.",
)
.takes(Form::Duration);
const LINGER: Setting = setting(
    "colony.linger",
    "GATEWAY_COLONY_LINGER",
    "Least time between jobs while events keep coming: at most 10s, or `off`. After a job with eight events or more, three \
     quarters of it.",
)
.takes(Form::DurationOr(&["off"]));
const PROCESSES_MAX: Setting = setting(
    "colony.processes_max",
    "GATEWAY_COLONY_PROCESSES_MAX",
    "Most processes in flight. Beyond it entries wait, and batches grow.",
)
.takes(Form::Integer { min: 1, max: 1024 });
const STATUS_FIRST: Setting = setting(
    "colony.status_first",
    "GATEWAY_COLONY_STATUS_FIRST",
    "Shortest time between two questions about one process.",
)
.takes(Form::Duration);
const STATUS_MAX: Setting =
    setting("colony.status_max", "GATEWAY_COLONY_STATUS_MAX", "Longest time between two questions about one process.")
        .takes(Form::Duration);

/// A Colonies server and this gateway's part in one of its colonies.
#[derive(Clone, Debug)]
pub struct ColonyConfig {
    /// Whether entries go through the colony. `false` sends them the direct route, whatever else is set.
    pub enabled: bool,
    /// Host or URL of the server, or several of a cluster between commas.
    pub servers: Option<String>,
    /// Port of servers that name none.
    pub port: Option<u16>,
    /// Whether to speak TLS; where a URL says it, the two must agree.
    pub tls: Option<bool>,
    /// Certificate authorities to trust instead of the system's.
    pub tls_roots: Option<PathBuf>,
    pub colony: Option<String>,
    /// Key of the colony's owner, to set the colony up and to approve executors. Serving does without it; bees that have it
    /// approve themselves.
    pub colony_key: Option<Secret>,
    /// Key of the user that submits.
    pub user_key: Option<Secret>,
    /// Key of the executor that the bees are.
    pub executor_key: Option<Secret>,
    /// The file that key came from, to read it again after a rotation.
    pub executor_key_file: Option<PathBuf>,
    /// Key of the server's owner, to set the colony up; serving never needs it.
    pub server_key: Option<Secret>,
    /// Name of the executor; chosen by the bees when it is not set.
    pub executor_name: Option<String>,
    /// Type of the executors that run jobs.
    pub executor_type: String,
    /// How long a bee waits for work in one call.
    pub poll_timeout: Duration,
    /// Bees in `serve`.
    pub bees: usize,
    /// Whether bees answer every member of the colony that asks for a summary of the revenue.
    pub offer_summary: bool,
    /// Seed of the key that attests jobs.
    pub attestation_key: Option<Secret>,
    /// Public keys whose attestations bees believe, between commas or white space.
    pub attestation_pubkeys: Option<String>,
    /// Keys with which bees open sealed jobs, between commas or white space.
    pub sealing_key: Option<Secret>,
    /// The file they came from, to find the keys of a rotation beside it.
    pub sealing_key_file: Option<PathBuf>,
    /// Public keys of the bees to which jobs are sealed, between commas or white space.
    pub sealing_pubkeys: Option<String>,
    /// Whether jobs are sealed; nothing: when there are keys for it.
    pub seals_jobs: Option<bool>,
    /// How long a bee may hold a process (`maxexectime`).
    pub lease: Duration,
    /// Leases of one process that may be lost, beyond the first (`maxretries`).
    pub retries: usize,
    /// How often the events of processes whose leases were all lost are submitted again before they are dead. At least
    /// once: only then do the events of a batch come alone, so that one of them cannot take the others with it.
    pub resubmissions_max: usize,
    /// Age from which entries go the direct route although the colony is in use.
    pub fallback_after: Duration,
    /// Least time between jobs while events keep coming; zero: none.
    pub linger: Duration,
    /// Most processes in flight. Entries wait beyond it, so that batches grow.
    pub processes_max: usize,
    /// Shortest time between two questions about one process.
    pub status_first: Duration,
    /// Longest time between two questions about one process.
    pub status_max: Duration,
}

/// Reads the settings. A colony that a `serve` uses must be complete.
pub(super) fn read(r: &mut Reader, serves: bool) -> ColonyConfig {
    let servers = r.optional(SERVERS, text);
    let enabled = r.optional(ENABLED, boolean).unwrap_or(servers.is_some());
    let colony = ColonyConfig {
        enabled,
        servers,
        port: r.optional(PORT, port),
        tls: r.optional(TLS, boolean),
        tls_roots: r.optional(TLS_ROOTS, |text| Ok(PathBuf::from(text))),
        colony: r.optional(NAME, text),
        colony_key: key(r, COLONY_KEY),
        user_key: key(r, USER_KEY),
        executor_key: key(r, EXECUTOR_KEY),
        executor_key_file: r.secret_file(EXECUTOR_KEY),
        server_key: key(r, SERVER_KEY),
        executor_name: r.optional(EXECUTOR_NAME, text),
        executor_type: r.or(EXECUTOR_TYPE, "finance-worker", text),
        poll_timeout: r.or(POLL_TIMEOUT, "10s", poll_timeout),
        bees: r.or(BEES, "1", number(0, 64)),
        offer_summary: r.or(OFFER_SUMMARY, "false", boolean),
        attestation_key: r.secret(ATTESTATION_KEY),
        attestation_pubkeys: r.secret(ATTESTATION_PUBKEYS).map(|keys| keys.expose().to_owned()),
        sealing_key: r.secret(SEALING_KEY),
        sealing_key_file: r.secret_file(SEALING_KEY),
        sealing_pubkeys: r.secret(SEALING_PUBKEYS).map(|keys| keys.expose().to_owned()),
        seals_jobs: r.or(SEAL_JOBS, "auto", |text| match text {
            "auto" => Ok(None),
            other => boolean(other).map(Some).map_err(|_| "must be auto, true or false".to_owned()),
        }),
        lease: r.or(LEASE, "30s", lease),
        retries: r.or(RETRIES, "3", number(0, 100)),
        resubmissions_max: r.or(RESUBMISSIONS_MAX, "3", number(1, 1000)),
        fallback_after: r.or(FALLBACK_AFTER, "3m", duration),
        linger: r.or(LINGER, "120ms", linger),
        processes_max: r.or(PROCESSES_MAX, "8", number(1, 1024)),
        status_first: r.or(STATUS_FIRST, "500ms", duration),
        status_max: r.or(STATUS_MAX, "15s", duration),
    };
    if colony.status_max < colony.status_first {
        r.fault("colony.status_max", "must not be shorter than colony.status_first");
    }
    if colony.fallback_after <= colony.lease {
        let message = "must be longer than colony.lease, or bees lose jobs that they still work on";
        r.fault("colony.fallback_after", message);
    }
    if enabled && serves {
        require(r, &colony);
    }
    let has_sealing_keys = colony.sealing_key.is_some() || colony.sealing_pubkeys.is_some();
    if colony.seals_jobs == Some(true) && !has_sealing_keys && !r.has_fault("SEALING_PUBKEYS") {
        r.fault("SEALING_PUBKEYS", "colony.seal_jobs is true: name the bees' public keys (`keys generate sealing`)");
    }
    colony
}

/// Requires everything that serving through a colony needs.
fn require(r: &mut Reader, colony: &ColonyConfig) {
    let off = "or set USE_COLONY_OS=false to apply events directly";
    let needs = [
        (colony.servers.is_some(), "COLONIES_SERVER_HOST", "the host or URL of the Colonies server"),
        (colony.colony.is_some(), "COLONIES_COLONY_NAME", "the name of the colony"),
        (colony.user_key.is_some(), "COLONIES_USER_PRVKEY", "the key of the user that submits (`keys generate`)"),
        (colony.attestation_key.is_some(), "ATTESTATION_PRVKEY", "the key that attests jobs (`keys generate`)"),
    ];
    for (is_there, name, what) in needs {
        // A fault of the setting itself is already reported, so it is not reported as missing too.
        if !is_there && !r.has_fault(name) {
            r.fault(name, format!("the colony is in use and this is not set: set it to {what}, {off}"));
        }
    }
    let is_bee_possible = colony.executor_key.is_some() || colony.colony_key.is_some();
    if colony.bees > 0 && !is_bee_possible && !r.has_fault("COLONIES_EXECUTOR_PRVKEY") {
        let message = "bees need the key of their executor (`keys generate`), which `colony setup` approves; with bees on \
                       other machines only, set BEE_COUNT=0";
        r.fault("COLONIES_EXECUTOR_PRVKEY", message);
    }
}

fn key(r: &mut Reader, setting: Setting) -> Option<Secret> {
    let secret = r.secret(setting)?;
    let text = secret.expose().trim();
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(Secret::new(text));
    }
    r.fault(setting.variable, "must be a private key of Colonies: 64 hex digits (`keys generate` makes one)");
    None
}

#[expect(clippy::unnecessary_wraps, reason = "all parsers have one form")]
fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| "must be a port from 1 to 65535".to_owned())
}

/// Whole seconds, as in the predecessor, or a duration with its unit.
fn poll_timeout(text: &str) -> Result<Duration, String> {
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => duration(text)?,
    };
    if (1..=60).contains(&wait.as_secs()) { Ok(wait) } else { Err("must be from 1s to 60s".to_owned()) }
}

/// The server counts leases in whole seconds and ends them up to two seconds late.
fn lease(text: &str) -> Result<Duration, String> {
    let lease = duration(text)?;
    if (5..=3600).contains(&lease.as_secs()) && lease.subsec_millis() == 0 {
        Ok(lease)
    } else {
        Err("must be whole seconds from 5s to 1h".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ConfigError, Sources};
    use super::*;

    const KEY: &str = "ddf7f7791208083b6a9ed975a72684f6406a269cfa36f1b1c32045c0a71fff05";

    const COMPLETE: [(&str, &str); 6] = [
        ("STRIPE_WEBHOOK_SECRET", "whsec_one"),
        ("COLONIES_SERVER_HOST", "colonies"),
        ("COLONIES_COLONY_NAME", "rec"),
        ("COLONIES_PRVKEY", KEY),
        ("COLONIES_EXECUTOR_PRVKEY", KEY),
        ("ATTESTATION_PRVKEY", KEY),
    ];

    fn read(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::for_serve(&Sources { environment, file: None })
    }

    fn faults(environment: &[(&str, &str)]) -> Vec<String> {
        read(environment).map(|_| ()).unwrap_err().0.into_iter().map(|fault| fault.setting).collect()
    }

    fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
        COMPLETE.iter().chain(more).copied().collect()
    }

    #[test]
    fn the_colony_is_in_use_when_a_server_is_named_and_nobody_says_no() {
        assert!(!read(&COMPLETE[..1]).unwrap().colony.enabled);
        let config = read(&COMPLETE).unwrap().colony;
        assert!(config.enabled);
        assert_eq!(config.user_key.unwrap().expose(), KEY, "by its other name");
        assert_eq!((config.executor_type.as_str(), config.bees), ("finance-worker", 1));
        assert_eq!(config.poll_timeout, Duration::from_secs(10));
        assert!(!read(&with(&[("USE_COLONY_OS", "false")])).unwrap().colony.enabled);
    }

    #[test]
    fn what_a_colony_in_use_lacks_is_named_and_one_out_of_use_lacks_nothing() {
        let lacking = [COMPLETE[0], ("USE_COLONY_OS", "true")];
        let names = [
            "COLONIES_SERVER_HOST",
            "COLONIES_COLONY_NAME",
            "COLONIES_USER_PRVKEY",
            "ATTESTATION_PRVKEY",
            "COLONIES_EXECUTOR_PRVKEY",
        ];
        assert_eq!(faults(&lacking), names);
        assert_eq!(faults(&[lacking.as_slice(), &[("BEE_COUNT", "0")]].concat()), names[..4]);
        assert!(read(&[COMPLETE[0], COMPLETE[1], ("USE_COLONY_OS", "no")]).is_ok());
    }

    #[test]
    fn plain_seconds_and_units_are_both_read_and_bounds_hold() {
        for (text, seconds) in [("20", 20), ("5s", 5), ("1m", 60)] {
            assert_eq!(read(&with(&[("POLL_TIMEOUT", text)])).unwrap().colony.poll_timeout.as_secs(), seconds);
        }
        for (name, value) in [
            ("POLL_TIMEOUT", "0"),
            ("POLL_TIMEOUT", "61"),
            ("POLL_TIMEOUT", "500ms"),
            ("BEE_COUNT", "65"),
            ("COLONIES_SERVER_PORT", "0"),
            ("GATEWAY_COLONY_LEASE", "4s"),
            ("GATEWAY_COLONY_LEASE", "5500ms"),
            ("GATEWAY_COLONY_PROCESSES_MAX", "0"),
            ("USE_COLONY_OS", "perhaps"),
        ] {
            assert_eq!(faults(&with(&[(name, value)])), [name], "{value}");
        }
        assert_eq!(faults(&with(&[("GATEWAY_COLONY_FALLBACK_AFTER", "30s")])), ["colony.fallback_after"]);
        let times = with(&[("GATEWAY_COLONY_STATUS_FIRST", "1m")]);
        assert_eq!(faults(&times), ["colony.status_max"]);
    }

    #[test]
    fn jobs_are_sealed_when_there_are_keys_unless_a_setting_says_otherwise() {
        let seals = |more: &[(&'static str, &'static str)]| read(&with(more)).unwrap().colony.seals_jobs;
        assert_eq!(seals(&[]), None);
        assert_eq!(seals(&[("GATEWAY_COLONY_SEAL_JOBS", "false")]), Some(false));
        assert_eq!(seals(&[("GATEWAY_COLONY_SEAL_JOBS", "true"), ("SEALING_PUBKEYS", KEY)]), Some(true));
        assert_eq!(faults(&with(&[("GATEWAY_COLONY_SEAL_JOBS", "true")])), ["SEALING_PUBKEYS"]);
        assert_eq!(faults(&with(&[("GATEWAY_COLONY_SEAL_JOBS", "perhaps")])), ["GATEWAY_COLONY_SEAL_JOBS"]);
    }

    #[test]
    fn a_malformed_key_is_one_fault_and_is_not_shown() {
        let environment: Vec<_> = with(&[("COLONIES_USER_PRVKEY", "hunter2")]);
        let error = read(&environment).unwrap_err();
        assert_eq!(error.0.len(), 1, "{error}");
        assert!(error.to_string().contains("64 hex digits") && !error.to_string().contains("hunter2"), "{error}");
    }
}
