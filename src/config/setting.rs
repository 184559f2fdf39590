//! What is declared of a setting: its names, what it is for and what it takes. `config init`, the schema and the reference are
//! made from this.

/// A setting and all that is known of it before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Dotted key in the file.
    pub key: &'static str,
    pub variable: &'static str,
    /// Other names in the environment, tried in order.
    pub aliases: &'static [&'static str],
    /// What it is for, in whole sentences of Markdown.
    pub about: &'static str,
    pub form: Form,
}

/// What a setting takes, as far as an editor can check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Boolean,
    /// A whole number.
    Integer {
        min: u64,
        max: u64,
    },
    /// `500ms`, `30s`, `5m`, `12h`, `35d`.
    Duration,
    /// A duration, or one of these words.
    DurationOr(&'static [&'static str]),
    /// `65536`, `64KiB`, `256MiB`, `10GiB`.
    Bytes,
    /// One of these.
    Words(&'static [&'static str]),
    /// A number, or a text that the description explains.
    NumberOrText,
}

/// A setting that takes text: `setting("http.listen", "GATEWAY_LISTEN", "Address for webhooks and probes.")`.
pub(super) const fn setting(key: &'static str, variable: &'static str, about: &'static str) -> Setting {
    Setting { key, variable, aliases: &[], about, form: Form::Text }
}

impl Setting {
    /// Adds names that the predecessor used.
    pub(super) const fn or(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// Says what form it takes, if that is not any text.
    pub(super) const fn takes(self, form: Form) -> Self {
        Self { form, ..self }
    }
}

/// A value as it is shown: without the user and password that an address may hold.
pub(super) fn without_login(value: String) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((login, _)) => format!("{scheme}://(redacted){}", &rest[login.len()..]),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_login() {
        for (value, shown) in [
            ("https://ana:secret@host:1/a@b", "https://(redacted)@host:1/a@b"),
            ("https://ana@b:se@host", "https://(redacted)@host"),
            ("https://host/@x", "https://host/@x"),
            ("127.0.0.1:80", "127.0.0.1:80"),
        ] {
            assert_eq!(without_login(value.to_owned()), shown);
        }
    }
}
