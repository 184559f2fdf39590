//! Where a database is and how it is reached: its URL with what PostgreSQL's own variables add, as libpq means them.
//!
//! The driver's own reader takes everything after the first `@` of a URL for the host, refuses a URL with unknown parameters,
//! and does not know the stricter modes of TLS. So this module reads URLs and gives the driver the result.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::passfile;
use super::url::{Malformed, Parts};

/// The name by which a server knows this program.
const PROGRAM: &str = "colony-gateway";

/// The port of a URL that names none.
const PORT: u16 = 5432;

/// Folders in which local servers have their sockets. If a URL has no host, the first folder with a socket is the host.
const SOCKETS: [&str; 3] = ["/var/run/postgresql", "/private/tmp", "/tmp"];

/// The name that means the system's authorities instead of a file.
const SYSTEM: &str = "system";

/// Time without traffic after which the system checks whether a connection is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Why a URL is refused. The error does not repeat it, because it holds the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("it has the form postgres://user:password@host:port/database")]
    Form,
    #[error("sslmode is one of disable, allow, prefer, require, verify-ca and verify-full")]
    Mode,
    #[error("sslrootcert=system works only with sslmode=verify-full")]
    WeakSystem,
    #[error("sslcert and sslkey must be set together")]
    HalfACertificate,
    #[error("hosts, addresses and ports differ in number")]
    Numbers,
}

impl From<Malformed> for AddressError {
    fn from(_: Malformed) -> Self {
        Self::Form
    }
}

/// Whether, and how, a server must prove its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Not at all: a machine in between can pose as the server.
    None,
    /// By a certificate of a trusted authority, for any name.
    Authority,
    /// By a certificate of a trusted authority for the host's name.
    Name,
}

/// Certificates or a key: a file, or the text of one.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    File(PathBuf),
    Text(String),
}

impl Pem {
    fn of(value: &str) -> Self {
        let text = value.trim();
        // With other lines around it, it is not a path either, and may hold a key.
        if text.contains("-----BEGIN") { Self::Text(text.to_owned()) } else { Self::File(PathBuf::from(value)) }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Text(_) => f.write_str("in the URL"),
        }
    }
}

/// Where a database is.
#[derive(Clone, Debug)]
pub struct Address {
    config: Config,
    proof: Proof,
    roots: Option<Pem>,
    identity: Option<(Pem, Pem)>,
}

impl Address {
    /// Reads a URL. Missing parts come from `PGHOST`, `PGUSER` and the other variables that PostgreSQL's own programs read.
    /// A parameter takes precedence over the same part of the URL.
    ///
    /// # Errors
    /// What is wrong with it, without the URL.
    pub fn read(url: &str) -> Result<Self, AddressError> {
        let variable = |name: &str| std::env::var_os(name)?.into_string().ok();
        read(url, &Surroundings { variable: &variable, has_socket: &|path| path.exists() })
    }

    /// Sets the longest wait for one host to accept a connection, and the longest silence before a connection is given up.
    #[must_use]
    pub fn within(mut self, connect: Duration, silence: Duration) -> Self {
        self.config.connect_timeout(connect).tcp_user_timeout(silence);
        self
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn proof(&self) -> Proof {
        self.proof
    }

    /// The authorities to trust instead of the system's.
    pub(super) fn roots(&self) -> Option<&Pem> {
        self.roots.as_ref()
    }

    /// The certificate that proves the gateway's identity, and its key.
    pub(super) fn identity(&self) -> Option<&(Pem, Pem)> {
        self.identity.as_ref()
    }

    /// Whether both lead to the same database of the same server, with whatever user, password and proof.
    pub fn is_same_place(&self, other: &Self) -> bool {
        let database =
            |address: &Self| address.config.get_dbname().or_else(|| address.config.get_user()).map(str::to_owned);
        self.reached() == other.reached() && database(self) == database(other)
    }

    /// The hosts to connect to, in their order: a given address takes the place of its name.
    fn reached(&self) -> Vec<(Host, u16)> {
        let (hosts, addresses) = (self.config.get_hosts(), self.config.get_hostaddrs());
        let ports = self.config.get_ports();
        let host = |(number, host): (usize, &Host)| {
            let reached = addresses.get(number).map_or_else(|| host.clone(), |address| Host::Tcp(address.to_string()));
            (reached, ports.get(number).copied().unwrap_or(PORT))
        };
        hosts.iter().enumerate().map(host).collect()
    }

    /// The hosts that are reached without requiring TLS. With `sslmode=prefer`, the default of a URL, a machine in between
    /// can decide.
    pub fn plaintext_hosts(&self) -> Vec<String> {
        if self.config.get_ssl_mode() == SslMode::Require {
            return Vec::new();
        }
        let name = |(host, _)| match host {
            Host::Tcp(name) => Some(name),
            Host::Unix(_) => None,
        };
        self.reached().into_iter().filter_map(name).collect()
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        self.config.get_dbname().or_else(|| self.config.get_user()).unwrap_or_default()
    }

    /// Hosts and ports in the usual form; `None` for local sockets.
    pub fn place(&self) -> Option<String> {
        let name = |(host, port)| match host {
            Host::Tcp(name) => Some(format!("{name}:{port}")),
            Host::Unix(_) => None,
        };
        let places: Vec<String> = self.reached().into_iter().filter_map(name).collect();
        (!places.is_empty()).then(|| places.join(","))
    }
}

/// The environment of the process.
struct Surroundings<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    has_socket: &'a dyn Fn(&Path) -> bool,
}

/// The settings besides user, password, hosts and database.
#[derive(Default)]
struct Said {
    hosts: Option<String>,
    addresses: Option<String>,
    ports: Option<String>,
    user: Option<String>,
    password: Option<Vec<u8>>,
    database: Option<String>,
    options: Option<String>,
    mode: Option<(SslMode, Proof)>,
    roots: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl Said {
    fn by_variables(around: &Surroundings<'_>) -> Self {
        // An empty one counts as missing, as in libpq.
        let said = |name: &str| (around.variable)(name).filter(|value| !value.is_empty());
        Self {
            hosts: said("PGHOST"),
            addresses: said("PGHOSTADDR"),
            ports: said("PGPORT"),
            user: said("PGUSER"),
            password: said("PGPASSWORD").map(String::into_bytes),
            database: said("PGDATABASE"),
            options: said("PGOPTIONS"),
            // An invalid mode is ignored, as before.
            mode: said("PGSSLMODE").and_then(|mode| mode_of(&mode).ok()),
            roots: said("PGSSLROOTCERT"),
            certificate: said("PGSSLCERT"),
            key: said("PGSSLKEY"),
        }
    }

    fn by_query(parts: &Parts<'_>) -> Result<Self, AddressError> {
        let mut said = Self::default();
        for (name, value) in &parts.query {
            let text = || Some(value.clone().into_owned());
            match &**name {
                "host" => said.hosts = text(),
                "hostaddr" => said.addresses = text(),
                "port" => said.ports = text(),
                "user" => said.user = text(),
                "password" => said.password = text().map(String::into_bytes),
                "dbname" => said.database = text(),
                "options" => said.options = Some(joined(said.options.take(), value)),
                "sslmode" | "ssl-mode" => said.mode = Some(mode_of(value)?),
                "sslrootcert" | "ssl-root-cert" | "ssl-ca" => said.roots = text(),
                "sslcert" | "ssl-cert" => said.certificate = text(),
                "sslkey" | "ssl-key" => said.key = text(),
                // Poolers and other programs write parameters there, such as `pgbouncer=true`, which mean nothing here.
                name => {
                    if let Some(setting) = name.strip_prefix("options[").and_then(|name| name.strip_suffix(']')) {
                        let value = value.replace('\\', "\\\\").replace(' ', "\\ ");
                        said.options = Some(joined(said.options.take(), &format!("-c {setting}={value}")));
                    }
                }
            }
        }
        Ok(said)
    }
}

fn joined(before: Option<String>, more: &str) -> String {
    before.map_or_else(|| more.to_owned(), |before| format!("{before} {more}"))
}

fn mode_of(text: &str) -> Result<(SslMode, Proof), AddressError> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "disable" => (SslMode::Disable, Proof::None),
        "allow" | "prefer" => (SslMode::Prefer, Proof::None),
        "require" => (SslMode::Require, Proof::None),
        "verify-ca" => (SslMode::Require, Proof::Authority),
        "verify-full" => (SslMode::Require, Proof::Name),
        _ => return Err(AddressError::Mode),
    })
}

fn read(url: &str, around: &Surroundings<'_>) -> Result<Address, AddressError> {
    let parts = Parts::of(url)?;
    let (query, variables) = (Said::by_query(&parts)?, Said::by_variables(around));
    let mut config = Config::new();
    // Without a user, the driver uses that of the process.
    if let Some(user) = query.user.or(parts.user.map(Cow::into_owned)).or(variables.user) {
        config.user(user);
    }
    if let Some(database) = query.database.or(parts.database.map(Cow::into_owned)).or(variables.database) {
        config.dbname(database);
    }
    if let Some(options) = match query.options {
        Some(more) => Some(joined(variables.options, &more)),
        None => variables.options,
    } {
        config.options(options);
    }
    let port = variables.ports.as_deref().and_then(|port| port.parse().ok()).unwrap_or(PORT);
    let of_query = query.ports.as_deref().and_then(|port| port.parse().ok());
    let default = |own: Option<u16>| default_host(of_query.or(own).unwrap_or(port), around);
    let of_url = parts.hosts.into_iter();
    let of_url = of_url.map(|(name, port)| (if name.is_empty() { default(port) } else { name }, port));
    let (names, ports): (Vec<String>, Vec<Option<u16>>) = of_url.unzip();
    let names = query.hosts.or(Some(names.join(",")).filter(|names| !names.is_empty())).or(query.addresses.clone());
    // An address from the environment is the host; without one, its name is.
    let names = names.or(variables.addresses).or(variables.hosts).unwrap_or_else(|| default(None));
    Hosts::said(&names, query.addresses.as_deref(), ports, query.ports.as_deref())?.set(&mut config, port);
    // One of several servers takes writes.
    if config.get_hosts().len() > 1 {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    let roots = query.roots.or(variables.roots).filter(|roots| !roots.is_empty());
    let (mode, proof) = mode(query.mode.or(variables.mode), roots.as_deref())?;
    // Local sockets have no TLS, and need none.
    let is_remote =
        !config.get_hostaddrs().is_empty() || config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(_)));
    config.ssl_mode(if is_remote { mode } else { SslMode::Disable });
    let identity = match (query.certificate.or(variables.certificate), query.key.or(variables.key)) {
        (Some(certificate), Some(key)) => Some((Pem::of(&certificate), Pem::of(&key))),
        (None, None) => None,
        _ => return Err(AddressError::HalfACertificate),
    };
    if let Some(password) =
        query.password.or(parts.password).or(variables.password).or_else(|| of_file(&config, around))
    {
        config.password(password);
    }
    config.application_name(PROGRAM).keepalives_idle(KEEPALIVE);
    let roots = roots.filter(|roots| roots != SYSTEM).map(|roots| Pem::of(&roots));
    Ok(Address { config, proof, roots, identity })
}

/// How strictly TLS is required. Named authorities are used, unless TLS is not required at all.
fn mode(said: Option<(SslMode, Proof)>, roots: Option<&str>) -> Result<(SslMode, Proof), AddressError> {
    Ok(match (said, roots) {
        (None, Some(SYSTEM)) => (SslMode::Require, Proof::Name),
        (Some((_, proof)), Some(SYSTEM)) if proof != Proof::Name => return Err(AddressError::WeakSystem),
        (Some((SslMode::Require, Proof::None)), Some(_)) => (SslMode::Require, Proof::Authority),
        (said, _) => said.unwrap_or((SslMode::Prefer, Proof::None)),
    })
}

/// Hosts, with addresses that are used instead of looking them up.
struct Hosts {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    ports: Vec<Option<u16>>,
}

impl Hosts {
    /// The hosts between commas. A separate list of ports takes precedence over ports behind the names.
    fn said(
        names: &str,
        addresses: Option<&str>,
        ports: Vec<Option<u16>>,
        said: Option<&str>,
    ) -> Result<Self, AddressError> {
        let names: Vec<String> = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let addresses = addresses.unwrap_or_default().split(',').filter(|address| !address.is_empty());
        let addresses: Vec<IpAddr> =
            addresses.map(str::parse).collect::<Result<_, _>>().map_err(|_| AddressError::Form)?;
        let port = |text: &str| Some(text).filter(|text| !text.is_empty()).map(str::parse).transpose();
        let said = said.map(|said| said.split(',').map(port).collect::<Result<Vec<_>, _>>());
        let ports = said.transpose().map_err(|_| AddressError::Form)?.unwrap_or(ports);
        let has = |number: usize| number == names.len();
        if has(0) || !(addresses.is_empty() || has(addresses.len())) || !(ports.len() < 2 || has(ports.len())) {
            return Err(AddressError::Numbers);
        }
        Ok(Self { names, addresses, ports })
    }

    /// A single port applies to all hosts.
    fn set(self, config: &mut Config, default: u16) {
        let of_all = self.ports.first().filter(|_| self.ports.len() == 1).copied().flatten();
        for (number, name) in self.names.into_iter().enumerate() {
            let port = self.ports.get(number).copied().flatten().or(of_all);
            config.host(name).port(port.unwrap_or(default));
        }
        for address in self.addresses {
            config.hostaddr(address);
        }
    }
}

fn default_host(port: u16, around: &Surroundings<'_>) -> String {
    let has_socket = |folder: &&str| (around.has_socket)(&Path::new(folder).join(format!(".s.PGSQL.{port}")));
    SOCKETS.into_iter().find(has_socket).unwrap_or("localhost").to_owned()
}

/// The password for the first host in the user's password file.
fn of_file(config: &Config, around: &Surroundings<'_>) -> Option<Vec<u8>> {
    let said = around.variable;
    let home = || said("HOME").map(|home| Path::new(&home).join(".pgpass"));
    let host = match config.get_hosts().first()? {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.to_string_lossy().into_owned(),
    };
    let port = config.get_ports().first()?.to_string();
    let user = config.get_user().map(str::to_owned).or_else(|| said("USER")).unwrap_or_default();
    let wanted = [&*host, &*port, config.get_dbname().unwrap_or(&user), &*user];
    let files = [said("PGPASSFILE").map(PathBuf::from), home()];
    files.into_iter().flatten().find_map(|file| passfile::password(&file, wanted)).map(String::into_bytes)
}

#[cfg(test)]
mod tests;
