//! Where the servers are: `COLONIES_SERVER_HOST` as a host, a host and port or a URL, or several of these in a list.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

/// The port of the API unless the settings give another.
pub const DEFAULT_PORT: u16 = 50080;

/// Address of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(Url);

impl ServerUrl {
    /// Reads a comma-separated list of hosts or URLs. An item's own scheme and port win over `port` and `tls`.
    /// Without any of these, a host means plain HTTP on port 50080, and a URL means the port of its scheme.
    ///
    /// # Errors
    /// Names the item that is wrong.
    pub fn parse_list(text: &str, port: Option<u16>, tls: Option<bool>) -> Result<Vec<Self>, ServerUrlError> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let servers = items.map(|item| Self::parse(item, port, tls)).collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() { Err(ServerUrlError::Empty) } else { Ok(servers) }
    }

    fn parse(item: &str, port: Option<u16>, tls: Option<bool>) -> Result<Self, ServerUrlError> {
        let is_url = item.contains("://");
        let text = if is_url {
            item.to_owned()
        } else {
            let scheme = if tls == Some(true) { "https" } else { "http" };
            // An IPv6 address without its brackets would be read as a host and a port.
            let host = if item.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) {
                format!("[{item}]")
            } else {
                item.to_owned()
            };
            format!("{scheme}://{host}")
        };
        let invalid = |reason| ServerUrlError::Invalid { item: shown(item), reason };
        let mut url = Url::parse(&text).map_err(|_| invalid("it is neither a host nor a URL"))?;
        match (url.scheme(), tls) {
            ("http", Some(true)) => return Err(invalid("it says http where COLONIES_TLS says TLS")),
            ("https", Some(false)) => return Err(invalid("it says https where COLONIES_TLS says no TLS")),
            ("http" | "https", _) => {}
            _ => return Err(invalid("its scheme is neither http nor https")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("it carries a user or a password; Colonies knows neither"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("it carries a query or a fragment"));
        }
        if !has_explicit_port(&text) {
            let default = if is_url { None } else { Some(DEFAULT_PORT) };
            url.set_port(port.or(default)).map_err(|()| invalid("it has no host"))?;
        }
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&prefix);
        Ok(Self(url))
    }

    /// Whether traffic leaves this machine unencrypted. The protocol itself does not protect against replay.
    pub fn is_exposed(&self) -> bool {
        self.0.scheme() == "http" && !self.is_loopback()
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    pub(super) fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    pub(super) fn api(&self) -> Url {
        self.joined("api")
    }

    pub(super) fn health(&self) -> Url {
        self.joined("health")
    }

    fn joined(&self, name: &str) -> Url {
        let mut url = self.0.clone();
        let path = format!("{}/{name}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// Whether the text names a port. A parsed URL cannot tell: it drops a port that is the default of its scheme.
fn has_explicit_port(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host_end = authority.rfind(']').unwrap_or(0);
    authority[host_end..].contains(':')
}

/// The item without anything that could be a password.
fn shown(item: &str) -> String {
    item.rsplit_once('@').map_or_else(|| item.to_owned(), |(_, host)| format!("…@{host}"))
}

/// Why a list of servers cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerUrlError {
    /// There is nothing between the commas.
    #[error("no Colonies server is named; set COLONIES_SERVER_HOST to a host or a URL")]
    Empty,
    /// One item is wrong.
    #[error("the Colonies server `{item}` cannot be used: {reason}")]
    Invalid {
        /// The item, without passwords.
        item: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str, port: Option<u16>, tls: Option<bool>) -> String {
        ServerUrl::parse_list(text, port, tls).unwrap()[0].api().to_string()
    }

    #[test]
    fn hosts_and_urls_become_addresses_of_the_api() {
        for (text, port, tls, address) in [
            ("localhost", None, None, "http://localhost:50080/api"),
            ("localhost", Some(8080), Some(false), "http://localhost:8080/api"),
            ("colonies.example.com", Some(443), Some(true), "https://colonies.example.com/api"),
            ("colonies.example.com:9000", Some(443), Some(true), "https://colonies.example.com:9000/api"),
            ("10.0.0.7", None, Some(true), "https://10.0.0.7:50080/api"),
            ("::1", None, None, "http://[::1]:50080/api"),
            ("[::1]:99", Some(1), None, "http://[::1]:99/api"),
            ("https://colonies.example.com", None, None, "https://colonies.example.com/api"),
            ("https://colonies.example.com", Some(50443), None, "https://colonies.example.com:50443/api"),
            ("https://colonies.example.com:443", Some(50443), None, "https://colonies.example.com/api"),
            ("http://10.0.0.7:50080/", None, None, "http://10.0.0.7:50080/api"),
            ("https://example.com/colonies/", None, Some(true), "https://example.com/colonies/api"),
        ] {
            assert_eq!(one(text, port, tls), address, "{text}");
        }
    }

    #[test]
    fn a_list_keeps_its_order_and_skips_blanks() {
        let servers = ServerUrl::parse_list(" a , b:1,,https://c ", None, None).unwrap();
        let shown: Vec<String> = servers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["http://a:50080", "http://b:1", "https://c"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_showing_passwords() {
        assert_eq!(ServerUrl::parse_list(" , ", None, None), Err(ServerUrlError::Empty));
        for (text, tls) in [
            ("ftp://colonies.example.com", None),
            ("http://colonies.example.com", Some(true)),
            ("https://colonies.example.com", Some(false)),
            ("https://user:hunter2@colonies.example.com", None),
            ("https://colonies.example.com?x=1", None),
            ("colonies example com", None),
            ("http://", None),
        ] {
            let error = ServerUrl::parse_list(text, None, tls).unwrap_err();
            assert!(matches!(error, ServerUrlError::Invalid { .. }), "{text}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn plain_http_beyond_this_machine_is_told_apart() {
        for (text, exposed) in
            [("localhost", false), ("127.0.0.2", false), ("::1", false), ("10.0.0.7", true), ("https://x", false)]
        {
            assert_eq!(ServerUrl::parse_list(text, None, None).unwrap()[0].is_exposed(), exposed, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}", port in any::<Option<u16>>(), tls in any::<Option<bool>>()) {
            let _ = ServerUrl::parse_list(&text, port, tls);
        }
    }
}
