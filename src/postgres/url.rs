//! A PostgreSQL URL taken apart, as libpq writes them: several hosts between commas, parts with percent signs decoded.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The text does not have the form of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The parts of a URL. An empty part counts as missing.
#[derive(Default)]
pub(super) struct Parts<'a> {
    pub(super) user: Option<Cow<'a, str>>,
    /// As bytes, because a password need not be text.
    pub(super) password: Option<Vec<u8>>,
    pub(super) hosts: Vec<(String, Option<u16>)>,
    pub(super) database: Option<Cow<'a, str>>,
    /// Names and values after the question mark, in their order.
    pub(super) query: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Parts<'a> {
    /// Takes a URL apart. User and password end at the last `@` before the first `/`, `?` or `#`. Text after a `#` is
    /// ignored.
    pub(super) fn of(url: &'a str) -> Result<Self, Malformed> {
        let url = url.trim();
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")).ok_or(Malformed)?;
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(percent_decode_str(password).collect())),
            None => (credentials, None),
        };
        Ok(Self {
            user: decoded(user)?,
            password,
            hosts: hosts.split(',').filter(|host| !host.is_empty()).map(host).collect::<Result<_, _>>()?,
            database: decoded(path.trim_start_matches('/'))?,
            query: query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect::<Result<_, _>>()?,
        })
    }
}

/// A host with its port. IPv6 is in brackets, and a folder of sockets has its slashes escaped.
fn host(text: &str) -> Result<(String, Option<u16>), Malformed> {
    let (name, port) = match text.strip_prefix('[') {
        Some(text) => {
            let (address, port) = text.split_once(']').ok_or(Malformed)?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(Malformed)?) };
            (address, port)
        }
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    let port = port.filter(|port| !port.is_empty()).map(str::parse).transpose().map_err(|_| Malformed)?;
    Ok((decoded(name)?.unwrap_or_default().into_owned(), port))
}

fn pair(text: &str) -> Result<(Cow<'_, str>, Cow<'_, str>), Malformed> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let name = decoded(name)?.unwrap_or_default();
    // Forms encode a space as a plus sign, and options are words separated by spaces. A plus sign in a password stays.
    let value = if name == "options" { Cow::Owned(value.replace('+', " ")) } else { Cow::Borrowed(value) };
    let value = match value {
        Cow::Borrowed(value) => decoded(value)?.unwrap_or_default(),
        Cow::Owned(value) => decoded(&value)?.unwrap_or_default().into_owned().into(),
    };
    Ok((name, value))
}

fn decoded(text: &str) -> Result<Option<Cow<'_, str>>, Malformed> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| Malformed)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}
