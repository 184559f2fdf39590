//! What may go over networks unencrypted: one judgement for every connection that a setting describes.
//!
//! Loopback and private networks carry plain text as before. Beyond them passwords, keys and customers' data could be read and
//! changed on the way, so that such a connection is a fault of the configuration, unless `network.allow_plaintext` names it:
//! a person may know of a tunnel, or that only a container's network leads there.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use reqwest::Url;

use super::colony::ColonyConfig;
use super::fault::Fault;
use super::ledger::LedgerConfig;
use super::notify::NotifyConfig;
use super::reader::Reader;
use super::setting::{Setting, setting};
use crate::domain::network::Distance;
use crate::domain::secret::Secret;
use crate::postgres::Address;
use crate::telemetry::trace::TraceSettings;

const ALLOW_PLAINTEXT: Setting = setting(
    "network.allow_plaintext",
    "GATEWAY_ALLOW_PLAINTEXT",
    "What may go unencrypted outside loopback and private networks: any of `admin`, `database`, `supabase`, `colony`, \
     `redis`, `traces`, `notify`, `console`, separated by commas, `all` or `none`.",
);

/// What a connection is for. Its word is what the setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// The admin listener, and the commands that ask one.
    Admin,
    /// `DATABASE_URL`.
    Database,
    /// `SUPABASE_URL`.
    Supabase,
    /// The Colonies servers.
    Colony,
    /// `REDIS_URL`.
    Redis,
    /// The collector of traces.
    Traces,
    /// Receivers of messages, and the mail server.
    Notify,
    /// The way from a browser to the console, under another name than the machine's own.
    Console,
}

impl Channel {
    const ALL: [Self; 8] = [
        Self::Admin,
        Self::Database,
        Self::Supabase,
        Self::Colony,
        Self::Redis,
        Self::Traces,
        Self::Notify,
        Self::Console,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Database => "database",
            Self::Supabase => "supabase",
            Self::Colony => "colony",
            Self::Redis => "redis",
            Self::Traces => "traces",
            Self::Notify => "notify",
            Self::Console => "console",
        }
    }

    /// What would make it safe.
    fn cure(self) -> &'static str {
        match self {
            Self::Admin => "name a loopback or private address, and reach it through a tunnel or a proxy with TLS",
            Self::Database => {
                "add ?sslmode=verify-full to the URL (?sslmode=require encrypts, and does not check whose server answers)"
            }
            Self::Supabase | Self::Traces => "write https://",
            Self::Colony => "write https://, or set COLONIES_TLS=true",
            Self::Redis => "write rediss://",
            Self::Notify => "write https:// or smtps://, or smtp:// with ?tls=required",
            Self::Console => "reach it through a tunnel, or behind a proxy with TLS",
        }
    }
}

/// Channels that may be plain text wherever they lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaintextAllowed(BTreeSet<Channel>);

impl FromStr for PlaintextAllowed {
    type Err = String;

    /// Words separated by commas; `none`, or `all` of them.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut allowed = BTreeSet::new();
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            match Channel::ALL.into_iter().find(|channel| channel.word() == word) {
                Some(channel) => drop(allowed.insert(channel)),
                None if word == "all" => allowed.extend(Channel::ALL),
                None if word == "none" => {}
                None => {
                    let words = Channel::ALL.map(Channel::word).join(", ");
                    return Err(format!("must be some of {words} between commas, or all, or none"));
                }
            }
        }
        Ok(Self(allowed))
    }
}

/// What becomes of an unencrypted connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaintextVerdict {
    /// It stays on this machine or in a private network.
    Near,
    /// It goes further, and the setting says that it may. The text says so.
    Allowed(String),
    /// It goes further. The text says what to do.
    Refused(String),
}

impl PlaintextAllowed {
    /// Whether the setting allows this channel to go unencrypted, wherever it leads.
    pub fn allows(&self, channel: Channel) -> bool {
        self.0.contains(&channel)
    }

    /// Judges an unencrypted connection. `host` is a name or an address, as in a URL.
    pub fn judge(&self, channel: Channel, host: &str) -> PlaintextVerdict {
        let word = channel.word();
        let what: &dyn fmt::Display = match channel {
            Channel::Admin if host.parse() == Ok(std::net::Ipv4Addr::UNSPECIFIED) => &"all addresses of this machine",
            Channel::Admin if host.parse() == Ok(std::net::Ipv6Addr::UNSPECIFIED) => &"all addresses of this machine",
            _ => &host,
        };
        match Distance::to_host(host) {
            Distance::Loopback | Distance::Private => PlaintextVerdict::Near,
            Distance::Public if self.0.contains(&channel) => PlaintextVerdict::Allowed(format!(
                "not encrypted on {what}, which network.allow_plaintext ({word}) allows: anyone on the network between can read and \
                 change it"
            )),
            Distance::Public => PlaintextVerdict::Refused(format!(
                "not encrypted on {what}: anyone on the network between can read and change it. {}; or, where the way is protected by \
                 other means, say so with GATEWAY_ALLOW_PLAINTEXT={word}",
                sentence(channel.cure())
            )),
        }
    }

    /// The same for the URL of an admin listener that a command will call.
    ///
    /// # Errors
    /// The fault, if a token would go there unencrypted.
    pub fn admin_url(&self, option: &str, url: &str) -> Result<Option<String>, Fault> {
        match http_host(url).map(|host| self.judge(Channel::Admin, &host)) {
            Some(PlaintextVerdict::Refused(message)) => Err(Fault { setting: option.to_owned(), message }),
            Some(PlaintextVerdict::Allowed(warning)) => Ok(Some(warning)),
            Some(PlaintextVerdict::Near) | None => Ok(None),
        }
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Connections of the settings.
pub(super) struct Lines<'a> {
    pub(super) admin: SocketAddr,
    pub(super) ledger: &'a LedgerConfig,
    pub(super) owner_url: Option<&'a Secret>,
    pub(super) inbox_url: Option<&'a Secret>,
    pub(super) colony: &'a ColonyConfig,
    pub(super) redis: Option<&'a Secret>,
    pub(super) traces: Option<&'a TraceSettings>,
    pub(super) notify: &'a NotifyConfig,
}

/// Reads the setting and judges all connections. Refused ones are faults. The other ones that leave private networks are
/// listed: those that the setting allows, and a colony that this program does not call.
pub(super) fn judge(r: &mut Reader, lines: &Lines<'_>) -> (PlaintextAllowed, Vec<Fault>) {
    let allowed: PlaintextAllowed = r.or(ALLOW_PLAINTEXT, "none", str::parse);
    let mut notes = Vec::new();
    for (channel, variable, host) in lines.unencrypted() {
        let mut note = |message| notes.push(Fault { setting: variable.to_owned(), message });
        match allowed.judge(channel, &host) {
            PlaintextVerdict::Near => {}
            PlaintextVerdict::Allowed(message) => note(message),
            PlaintextVerdict::Refused(message) if channel == Channel::Colony && !lines.is_colony_called() => {
                note(message);
            }
            PlaintextVerdict::Refused(message) => r.refuse(variable, message),
        }
    }
    (allowed, notes)
}

impl Lines<'_> {
    /// Whether the colony is in use, or can come into use while the program runs: an order can switch the route, and bees
    /// use it in any case.
    fn is_colony_called(&self) -> bool {
        let colony = self.colony;
        let keys = [&colony.attestation_key, &colony.executor_key, &colony.colony_key, &colony.server_key];
        colony.enabled || keys.into_iter().any(Option::is_some)
    }

    /// Connections without encryption: their settings and hosts.
    fn unencrypted(&self) -> Vec<(Channel, &'static str, String)> {
        let mut found = vec![(Channel::Admin, "GATEWAY_ADMIN_LISTEN", self.admin.ip().to_string())];
        let databases = [
            ("DATABASE_URL", self.ledger.database()),
            ("GATEWAY_INBOX_URL", self.inbox_url),
            ("GATEWAY_LEDGER_OWNER_URL", self.owner_url),
        ];
        for (variable, url) in databases {
            // An unreadable one leads nowhere, and is refused elsewhere.
            let address = url.and_then(|url| Address::read(url.expose()).ok());
            let hosts = address.map(|address| address.plaintext_hosts()).unwrap_or_default();
            found.extend(hosts.into_iter().map(|host| (Channel::Database, variable, host)));
        }
        if let LedgerConfig::Supabase { url, .. } = self.ledger {
            found.extend(http_host(url).map(|host| (Channel::Supabase, "SUPABASE_URL", host)));
        }
        let servers = colony_hosts(self.colony.servers.as_deref().unwrap_or_default(), self.colony.tls == Some(true));
        found.extend(servers.into_iter().map(|host| (Channel::Colony, "COLONIES_SERVER_HOST", host)));
        let redis = self.redis.map(Secret::expose).and_then(|url| plain_host(url, "redis"));
        found.extend(redis.map(|host| (Channel::Redis, "REDIS_URL", host)));
        let traces = self.traces.and_then(|traces| plain_host(traces.url.as_str(), "http"));
        found.extend(traces.map(|host| (Channel::Traces, "OTEL_EXPORTER_OTLP_ENDPOINT", host)));
        for (variable, url) in self.notify.lines() {
            found.extend(plain_receiver(url.expose()).map(|host| (Channel::Notify, variable, host)));
        }
        found
    }
}

/// The hosts of Colonies servers that are called without TLS. The client reads the list again and refuses what it cannot
/// read. There, a host without a scheme is one without TLS, unless a setting says otherwise.
fn colony_hosts(servers: &str, tls: bool) -> Vec<String> {
    let host = |item: &str| match item {
        url if url.contains("://") => http_host(url),
        _ if tls => None,
        address if address.parse::<std::net::Ipv6Addr>().is_ok() => Some(address.to_owned()),
        host => http_host(&format!("http://{host}")),
    };
    servers.split(',').map(str::trim).filter_map(host).collect()
}

/// The host of a receiver that gets messages without TLS. A mail server that is not required to use TLS is one.
fn plain_receiver(url: &str) -> Option<String> {
    let is_required =
        Url::parse(url).is_ok_and(|url| url.query_pairs().any(|pair| pair == ("tls".into(), "required".into())));
    plain_host(url, "http").or_else(|| plain_host(url, "smtp").filter(|_| !is_required))
}

fn http_host(url: &str) -> Option<String> {
    plain_host(url, "http")
}

/// The host of a URL, if it has the scheme that means no TLS.
fn plain_host(url: &str, plain: &str) -> Option<String> {
    let url = Url::parse(url.trim()).ok().filter(|url| url.scheme() == plain)?;
    url.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests;
