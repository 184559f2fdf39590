//! The connection to a PostgreSQL database, for every module that has tables there: its URL, TLS, and a few open connections.
//!
//! Statements go in one trip and without a name, so that a pooler in transaction mode may stand between. Nothing is ever cancelled: a
//! call that is given up loses its connection. Statements and what they carry are never logged.
//!
//! What a fault means is for the callers to say: [`crate::ledger`] and [`crate::inbox`].

pub mod address;
mod fault;
mod json;
mod link;
mod passfile;
mod pool;
mod stream;
mod tls;
mod url;

pub use self::address::{Address, AddressError};
pub use self::fault::{Class, chain, class_of};
pub use self::json::{Json, JsonText};
pub use self::link::{Answer, ConnectError, Link, Parameter};
pub use self::pool::{Closed, Place, Pool};
pub use self::tls::TlsError;

#[cfg(test)]
mod tests;
