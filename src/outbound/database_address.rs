//! The URL of a PostgreSQL that the gateway's own driver reaches: several hosts, and how each proves who it is.
//!
//! The driver (`tokio-postgres`) knows neither the stricter modes of TLS nor what other programs write into such URLs, and refuses a URL for what it does
//! not know. So the query is read here, and the driver gets what it understands.

use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// Whether, and how, a server proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Not at all: whoever stands between can be the server.
    None,
    /// By a certificate that an authority vouches for, whatever name it has.
    Authority,
    /// The same, for the name of the host.
    Name,
}

/// Where a database is.
#[derive(Clone, Debug)]
pub struct DatabaseAddress {
    pub config: Config,
    pub proof: Proof,
    /// File with the authorities to believe, instead of the system's.
    pub roots: Option<PathBuf>,
}

impl DatabaseAddress {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, without the URL.
    pub fn read(url: &str) -> Result<Self, &'static str> {
        const FORM: &str = "it has the form postgres://user:password@host:port/database";
        let url = url.trim();
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        if !place.starts_with("postgres://") && !place.starts_with("postgresql://") {
            return Err(FORM);
        }
        let (mut mode, mut proof, mut roots) = (SslMode::Prefer, Proof::None, None);
        let mut kept = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (name, value) {
                ("sslmode", "disable") => mode = SslMode::Disable,
                ("sslmode", "allow" | "prefer") => mode = SslMode::Prefer,
                ("sslmode", "require") => mode = SslMode::Require,
                ("sslmode", "verify-ca") => (mode, proof) = (SslMode::Require, Proof::Authority),
                ("sslmode", "verify-full") => (mode, proof) = (SslMode::Require, Proof::Name),
                ("sslmode", _) => {
                    return Err("sslmode is one of disable, allow, prefer, require, verify-ca and verify-full");
                }
                ("sslrootcert", file) => {
                    let file = percent_encoding::percent_decode_str(file).decode_utf8().map_err(|_| FORM)?;
                    roots = Some(PathBuf::from(file.as_ref()));
                }
                ("host" | "hostaddr" | "port" | "user" | "password" | "dbname" | "options", _) => kept.push(pair),
                // What poolers and other programs write there, such as `pgbouncer=true`.
                _ => {}
            }
        }
        let mut config: Config = format!("{place}?{}", kept.join("&")).parse().map_err(|_| FORM)?;
        config.ssl_mode(mode);
        if config.get_hosts().is_empty() {
            config.host("localhost");
        }
        // Of several servers one takes writes.
        if config.get_hosts().len() > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self { config, proof, roots })
    }

    /// The hosts that are reached without insisting on TLS.
    pub fn plaintext_hosts(&self) -> Vec<&str> {
        if self.config.get_ssl_mode() == SslMode::Require {
            return Vec::new();
        }
        let names = self.config.get_hosts().iter().filter_map(|host| match host {
            Host::Tcp(name) => Some(name.as_str()),
            Host::Unix(_) => None,
        });
        names.collect()
    }
}

/// Hosts to which a URL may lead unencrypted; none where it cannot be read.
pub fn plaintext_hosts(url: &str) -> Vec<String> {
    let read = DatabaseAddress::read(url);
    read.map(|address| address.plaintext_hosts().into_iter().map(str::to_owned).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_of_tls_and_what_others_write_into_urls_are_read() {
        let read = |query: &str| {
            DatabaseAddress::read(&format!("postgres://u:p%40@a.example:6432,b.example/x{query}")).unwrap()
        };
        assert_eq!(read("").plaintext_hosts(), ["a.example", "b.example"]);
        assert_eq!(read("?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem").roots, Some(PathBuf::from("/etc/ca.pem")));
        for (query, proof) in [("require", Proof::None), ("verify-ca", Proof::Authority), ("verify-full", Proof::Name)]
        {
            let address = read(&format!("?sslmode={query}&pgbouncer=true&connection_limit=1"));
            assert_eq!((address.proof, address.plaintext_hosts().len()), (proof, 0), "{query}");
        }
        assert!(
            DatabaseAddress::read("postgres:///x?host=/run/postgresql").unwrap().plaintext_hosts().is_empty(),
            "a socket"
        );
        for wrong in ["mysql://a/x", "postgres://a:port/x", "postgres://a/x?sslmode=maybe"] {
            DatabaseAddress::read(wrong).unwrap_err();
        }
    }
}
