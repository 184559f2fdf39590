//! Typed configuration: environment over `<NAME>_FILE` over an optional TOML file over defaults.
//!
//! Every setting is declared once, where it is read, with both of its names. All faults are reported at once, each with
//! the name of its setting. Keys that nobody reads are faults too: a typing error must not silently mean a default.

mod colony;
mod endpoints;
mod reader;
pub mod secret;
mod settings;

pub use colony::ColonyConfig;
pub use reader::{ConfigError, Fault, Shown, Sources};
pub use settings::{Config, DispatchConfig, HttpConfig, InboxConfig, LedgerConfig, LogConfig, RevenueConfig};
