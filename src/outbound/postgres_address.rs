//! Where a URL of PostgreSQL leads, and whether what goes there is encrypted, as the driver reads it.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// The host to which a connection may go unencrypted; nothing for sockets of this machine, with TLS, and where the driver
/// refuses the URL. With `sslmode=prefer`, which is what a URL without any means, whoever stands between decides.
pub fn plaintext_host(url: &str) -> Option<String> {
    let options = PgConnectOptions::from_str(url.trim()).ok()?;
    let is_encrypted =
        matches!(options.get_ssl_mode(), PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull);
    let is_socket = options.get_socket().is_some() || options.get_host().starts_with('/');
    (!is_encrypted && !is_socket).then(|| options.get_host().to_owned())
}

/// Host and port that a URL leads to; nothing for sockets of this machine and where the driver refuses the URL.
pub fn place(url: &str) -> Option<String> {
    let options = PgConnectOptions::from_str(url.trim()).ok()?;
    let is_socket = options.get_socket().is_some() || options.get_host().starts_with('/');
    (!is_socket).then(|| format!("{}:{}", options.get_host(), options.get_port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_a_host_and_a_port_unless_it_names_a_socket() {
        assert_eq!(place("postgres://u:p@127.0.0.1:5432/x").as_deref(), Some("127.0.0.1:5432"));
        assert_eq!(place("postgres://u:p@one:1/x?host=two&port=2").as_deref(), Some("two:2"));
        assert_eq!(place("postgres:///x?host=/run/postgresql"), None);
    }

    #[test]
    fn only_modes_that_insist_on_tls_are_encrypted() {
        for mode in ["", "?sslmode=disable", "?sslmode=allow", "?sslmode=prefer"] {
            let url = format!("postgres://u:p@db.example.com/x{mode}");
            assert_eq!(plaintext_host(&url).as_deref(), Some("db.example.com"), "{url}");
        }
        for mode in ["require", "verify-ca", "verify-full"] {
            assert_eq!(plaintext_host(&format!("postgres://u:p@db.example.com/x?sslmode={mode}")), None, "{mode}");
        }
        assert_eq!(plaintext_host("postgres://u:p@one/x?host=two.example").as_deref(), Some("two.example"));
        assert_eq!(plaintext_host("postgres://u:p@%2Frun%2Fpostgresql/x"), None, "a socket");
        assert_eq!(plaintext_host("postgres:///x?host=/run/postgresql"), None, "a socket");
    }
}
