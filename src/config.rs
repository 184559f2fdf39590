//! Typed configuration: environment over `<NAME>_FILE` over an optional TOML file over defaults.
//!
//! Every setting is declared once, where it is read, with both of its names. All faults are reported at once, each with
//! the name of its setting. Unknown keys are faults too: a typing error must not silently mean a default.

mod backup;
mod colony;
mod dispatch;
mod endpoints;
mod fault;
mod heartbeat;
mod http;
mod in_force;
mod inbox;
mod ledger;
mod log;
mod notify;
mod operators;
mod parse;
mod plaintext;
mod reader;
mod reconcile;
pub mod reference;
mod revenue;
mod setting;
mod settings;
mod shadow;
mod traces;
mod watched;

pub use backup::BackupConfig;
pub use colony::ColonyConfig;
pub use dispatch::DispatchConfig;
pub use endpoints::{ENDPOINT_KEYS, EndpointKey};
pub use fault::{ConfigError, Fault, did_you_mean};
pub use http::{ConnectionBounds, ConsolePlace, ConsoleUrl, HttpConfig, Share, WebhookBounds};
pub use in_force::{InForce, Reread, SettingLine, changed_by_restart};
pub use inbox::InboxConfig;
pub use ledger::{LedgerConfig, StripeConfig};
pub use log::LogConfig;
pub use notify::{EmailConfig, NotifyConfig};
pub use operators::{OperatorConfig, OperatorRole};
pub use plaintext::{Channel, PlaintextAllowed};
pub use reader::{Declared, GivenSecret, Shown, Sources};
pub use reconcile::ReconcileConfig;
pub use revenue::RevenueConfig;
pub use setting::{Form, Setting};
pub use settings::Config;
pub use shadow::ShadowConfig;
pub use watched::{FileMark, KEY_AGE_MAX, WatchedFile};
