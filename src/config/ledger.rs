//! Where the state of record is, and how Stripe is asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::parse::duration;
use super::reader::Reader;
use super::setting::{Form, Setting, setting};
use crate::domain::ledger_id::LedgerId;
use crate::domain::limits::KEEP_MIN;
use crate::domain::secret::Secret;

const KIND: Setting = setting(
    "ledger.kind",
    "GATEWAY_LEDGER",
    "Where the ledger is. `auto`: PostgreSQL if a database URL is set, else Supabase if it is set, else a file on \
     this machine.",
)
.takes(Form::Words(&["auto", "sqlite", "postgres", "supabase"]));
const SQLITE_PATH: Setting = setting(
    "ledger.sqlite_path",
    "GATEWAY_LEDGER_SQLITE_PATH",
    "File of the embedded ledger. Unset: `ledger.db` in `data_dir`.",
);
const DATABASE_URL: Setting = setting(
    "ledger.database_url",
    "DATABASE_URL",
    "Database of the ledger: postgres://user:password@host/database, with ?sslmode=verify-full outside private \
     networks.",
);
const CONNECTIONS: Setting =
    setting("ledger.connections", "GATEWAY_LEDGER_CONNECTIONS", "Most connections to the database.")
        .takes(Form::Integer { min: 1, max: 100 });
const SUPABASE_URL: Setting =
    setting("ledger.supabase_url", "SUPABASE_URL", "Supabase project: https://<project>.supabase.co.")
        .or(&["SUPABASE_SERVICE_URL", "VITE_SUPABASE_URL"]);
const SUPABASE_KEY: Setting =
    setting("ledger.supabase_key", "SUPABASE_SERVICE_ROLE_KEY", "The `service_role` key of the Supabase project.")
        .or(&["SUPABASE_SERVICE_KEY"]);
const ID: Setting = setting(
    "ledger.id",
    "GATEWAY_LEDGER_ID",
    "Identity that the ledger must have, as `migrate` and `check` print it. No program starts on another ledger.",
);
const OWNER_URL: Setting = setting(
    "ledger.owner_url",
    "GATEWAY_LEDGER_OWNER_URL",
    "Database URL of the role that owns the schema, for `migrate`, `projections` and `shadow`. Services never need it.",
);
const RUNTIME_ROLE: Setting =
    setting("ledger.runtime_role", "GATEWAY_LEDGER_RUNTIME_ROLE", "Role that `migrate` allows to run the gateway.");
const KEEP_PAYLOADS: Setting = setting(
    "ledger.keep_payloads",
    "GATEWAY_LEDGER_KEEP_PAYLOADS",
    "How long payloads of events stay in the ledger: at least 35d. Unset: for ever.",
)
.takes(Form::Duration);
const SECRET_KEY: Setting = setting(
    "stripe.secret_key",
    "STRIPE_SECRET_KEY",
    "Stripe's API key, sk_… or rk_… with read access. Unset: the gateway takes events as they arrive and compares \
     nothing.",
);
const API_URL: Setting =
    setting("stripe.api_url", "GATEWAY_STRIPE_API_URL", "Address of Stripe's API; a stand-in for tests.");

#[derive(Clone, Debug)]
pub enum LedgerConfig {
    /// A file of this machine.
    Sqlite { path: PathBuf },
    /// PostgreSQL, directly or through a pooler.
    Postgres {
        /// `postgres://…`
        url: Secret,
        /// Most connections.
        connections: usize,
    },
    Supabase {
        /// `https://<project>.supabase.co`
        url: String,
        /// The `service_role` key.
        key: Secret,
        /// The project's database, for `migrate` and `projections`; events go over the REST layer.
        database: Option<Secret>,
    },
}

/// What is known beforehand of the ledger.
#[derive(Clone, Debug, Default)]
pub struct LedgerExpectation {
    /// Whether a setting says where it is. Otherwise it is a file beside the others, which is right for a gateway and
    /// hardly for bees on their own.
    pub is_named: bool,
    /// The identity that it must have.
    pub id: Option<LedgerId>,
    /// `postgres://…` as the role that owns the schema; for commands, and never for what serves.
    pub owner_url: Option<Secret>,
    /// The role that `migrate` lets run the gateway.
    pub runtime_role: Option<String>,
}

impl LedgerConfig {
    /// `postgres://…` of the database that is the state of record, if it is known.
    pub fn database(&self) -> Option<&Secret> {
        match self {
            Self::Sqlite { .. } => None,
            Self::Postgres { url, .. } => Some(url),
            Self::Supabase { database, .. } => database.as_ref(),
        }
    }

    /// Makes the database be used as its owner.
    pub(super) fn owned_by(&mut self, owner: Secret) {
        match self {
            Self::Sqlite { .. } => {}
            Self::Postgres { url, .. } => *url = owner,
            Self::Supabase { database, .. } => *database = Some(owner),
        }
    }
}

#[derive(Clone, Debug)]
pub struct StripeConfig {
    /// `sk_…` or `rk_…`; without it events are taken as they come.
    pub key: Option<Secret>,
    pub base_url: String,
}

/// Reads where the state of record is. `ledger.kind` names it, or else the first that is configured: a database URL, then
/// Supabase, then the embedded one.
pub(super) fn ledger(r: &mut Reader, data_dir: &Path) -> (LedgerConfig, LedgerExpectation) {
    let kind = r.or(KIND, "auto", |text| match text {
        "auto" | "sqlite" | "postgres" | "supabase" => Ok(text.to_owned()),
        _ => Err("must be auto, sqlite, postgres or supabase".to_owned()),
    });
    let path = r.optional(SQLITE_PATH, |text| Ok(PathBuf::from(text)));
    let database = r.secret_of_place(DATABASE_URL);
    let connections = r.or(CONNECTIONS, "4", super::parse::number(1, 100));
    let supabase = r.optional(SUPABASE_URL, |text| {
        if text.starts_with("https://") || text.starts_with("http://") {
            Ok(text.to_owned())
        } else {
            Err("must be a URL, such as https://<project>.supabase.co".to_owned())
        }
    });
    let key = r.secret_of_place(SUPABASE_KEY).map(trimmed);
    let id = r.optional(ID, |text| {
        LedgerId::try_from(text.to_owned()).map_err(|error| format!("{error}; `migrate` and `check` tell it"))
    });
    let is_named = kind != "auto" || path.is_some() || database.is_some() || supabase.is_some();
    let owner_url = r.secret_of_place(OWNER_URL);
    let runtime_role = r.optional(RUNTIME_ROLE, |text| Ok(text.to_owned()));
    let expectation = LedgerExpectation { is_named, id, owner_url, runtime_role };
    let sqlite = LedgerConfig::Sqlite { path: path.unwrap_or_else(|| data_dir.join("ledger.db")) };
    let ledger = match (kind.as_str(), database, supabase) {
        ("auto" | "postgres", Some(url), _) => LedgerConfig::Postgres { url, connections },
        ("postgres", None, _) => {
            if !r.has_fault("DATABASE_URL") {
                r.fault("DATABASE_URL", "ledger.kind is postgres: set it to postgres://user:password@host/database");
            }
            sqlite
        }
        ("auto" | "supabase", database, Some(url)) => {
            if let Some(key) = key {
                LedgerConfig::Supabase { url, key, database }
            } else {
                if !r.has_fault("SUPABASE_SERVICE_ROLE_KEY") {
                    r.fault(
                        "SUPABASE_SERVICE_ROLE_KEY",
                        "SUPABASE_URL is set: the service_role key is needed to write",
                    );
                }
                sqlite
            }
        }
        ("supabase", _, None) => {
            r.fault("SUPABASE_URL", "ledger.kind is supabase: set it to https://<project>.supabase.co");
            sqlite
        }
        _ => sqlite,
    };
    (ledger, expectation)
}

/// How long payloads of events stay in the ledger; unset: for ever.
pub(super) fn keep_payloads(r: &mut Reader) -> Option<Duration> {
    r.optional(KEEP_PAYLOADS, |text| long_enough(duration(text)?))
}

/// A retention time for data that a late event may need.
pub(super) fn long_enough(keep: Duration) -> Result<Duration, String> {
    if keep >= KEEP_MIN {
        return Ok(keep);
    }
    Err("must be at least 35d: Stripe lists events for 30 days, and what comes late needs what came before it"
        .to_owned())
}

/// Without the final line break of a file.
#[expect(clippy::needless_pass_by_value, reason = "a link of a chain")]
fn trimmed(secret: Secret) -> Secret {
    Secret::new(secret.expose().trim())
}

/// Reads the settings for Stripe's API.
pub(super) fn stripe(r: &mut Reader) -> StripeConfig {
    StripeConfig {
        key: r.secret(SECRET_KEY).map(trimmed),
        base_url: r.or(API_URL, "https://api.stripe.com", |text| Ok(text.to_owned())),
    }
}
