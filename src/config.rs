//! Typed configuration: environment over `<NAME>_FILE` over an optional TOML file over defaults.
//!
//! Every setting is declared once, where it is read, with both of its names. All faults are reported at once, each with
//! the name of its setting. Keys that nobody reads are faults too: a typing error must not silently mean a default.

mod backup;
mod colony;
mod endpoints;
mod heartbeat;
mod http;
mod ledger;
mod operators;
mod plaintext;
mod reader;
mod reconcile;
mod settings;
mod shadow;
mod traces;
mod watched;

pub use backup::BackupConfig;
pub use colony::ColonyConfig;
pub use http::{ConnectionBounds, HttpConfig, Share, WebhookBounds};
pub use ledger::{LedgerConfig, StripeConfig};
pub use operators::{OperatorConfig, OperatorRole};
pub use plaintext::PlaintextAllowed;
pub use reader::{ConfigError, Fault, GivenSecret, Shown, Sources};
pub use reconcile::ReconcileConfig;
pub use settings::{Config, DispatchConfig, InboxConfig, LogConfig, RevenueConfig};
pub use shadow::ShadowConfig;
pub use watched::{FileMark, WatchedFile};
