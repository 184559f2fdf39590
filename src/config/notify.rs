//! Where messages about what needs a person go, and about what they are sent.

use std::time::Duration;

use lettre::message::Mailbox;
use reqwest::Url;

use super::parse::duration;
use super::reader::Reader;
use super::setting::{Form, Setting, setting};
use crate::domain::secret::Secret;

const SLACK_URL: Setting =
    setting("notify.slack_url", "GATEWAY_NOTIFY_SLACK_URL", "Incoming webhook of Slack, for messages about problems.");
const DISCORD_URL: Setting =
    setting("notify.discord_url", "GATEWAY_NOTIFY_DISCORD_URL", "Webhook of a Discord channel, for messages.");
const TEAMS_URL: Setting = setting(
    "notify.teams_url",
    "GATEWAY_NOTIFY_TEAMS_URL",
    "Address of a Microsoft Teams workflow (\"when a Teams webhook request is received\") for messages.",
);
const WEBHOOK_URL: Setting = setting(
    "notify.webhook_url",
    "GATEWAY_NOTIFY_WEBHOOK_URL",
    "Address of your own program, which gets messages as JSON, signed with `notify.webhook_secret`.",
);
const WEBHOOK_SECRET: Setting = setting(
    "notify.webhook_secret",
    "GATEWAY_NOTIFY_WEBHOOK_SECRET",
    "Secret that signs messages to `notify.webhook_url` in the header `Colony-Gateway-Signature`, as Stripe signs \
     webhooks: at least 16 random characters.",
);
const SMTP_URL: Setting = setting(
    "notify.smtp_url",
    "GATEWAY_NOTIFY_SMTP_URL",
    "Mail server for messages: smtps://user:password@host:465, or smtp://user:password@host:587?tls=required.",
);
const EMAIL_FROM: Setting = setting(
    "notify.email_from",
    "GATEWAY_NOTIFY_EMAIL_FROM",
    "Sender of mails, such as `Gateway <gateway@example.com>`.",
);
const EMAIL_TO: Setting =
    setting("notify.email_to", "GATEWAY_NOTIFY_EMAIL_TO", "Recipients of mails, separated by commas.");
const NAME: Setting =
    setting("notify.name", "GATEWAY_NOTIFY_NAME", "Name of this gateway in messages. Unset: the name of the host.");
const AFTER: Setting = setting(
    "notify.after",
    "GATEWAY_NOTIFY_AFTER",
    "How long a problem lasts before a message reports it, and how long it is over before a message says so.",
)
.takes(Form::Duration);
const BACKLOG: Setting = setting(
    "notify.backlog",
    "GATEWAY_NOTIFY_BACKLOG",
    "Age of the oldest waiting entry at which the gateway sends a message, or `off`.",
)
.takes(Form::DurationOr(&["off"]));
const NO_WEBHOOK: Setting = setting(
    "notify.no_webhook",
    "GATEWAY_NOTIFY_NO_WEBHOOK",
    "Time without any webhook after which the gateway sends a message, or `off`. Four times your longest quiet night \
     is a good choice.",
)
.takes(Form::DurationOr(&["off"]));

/// Shortest secret; shorter ones can be guessed.
const SECRET_BYTES_MIN: usize = 16;

/// Most mail addresses.
const ADDRESSES_MAX: usize = 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyConfig {
    pub slack: Option<Secret>,
    pub discord: Option<Secret>,
    pub teams: Option<Secret>,
    /// Address, and the secret that signs.
    pub webhook: Option<(Secret, Secret)>,
    pub email: Option<EmailConfig>,
    /// What messages call this gateway; without it, the name of the host.
    pub name: Option<String>,
    /// How long a matter lasts before it is told.
    pub after: Duration,
    /// Age of the oldest entry that is told; `None`: none.
    pub backlog: Option<Duration>,
    /// Time without webhooks that is told; `None`: none.
    pub no_webhook: Option<Duration>,
}

/// A mail server, and who writes to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailConfig {
    /// `smtp://…` or `smtps://…`, with its password.
    pub url: Secret,
    pub from: String,
    pub to: Vec<String>,
}

impl NotifyConfig {
    /// Whether messages are sent anywhere.
    pub fn is_on(&self) -> bool {
        let Self { slack, discord, teams, webhook, email, .. } = self;
        [slack, discord, teams].into_iter().any(Option::is_some) || webhook.is_some() || email.is_some()
    }

    /// The addresses that are called, with their settings, to judge unencrypted connections.
    pub(super) fn lines(&self) -> Vec<(&'static str, &Secret)> {
        let mut lines: Vec<(&'static str, &Secret)> = Vec::new();
        lines.extend(self.slack.as_ref().map(|url| (SLACK_URL.variable, url)));
        lines.extend(self.discord.as_ref().map(|url| (DISCORD_URL.variable, url)));
        lines.extend(self.teams.as_ref().map(|url| (TEAMS_URL.variable, url)));
        lines.extend(self.webhook.as_ref().map(|(url, _)| (WEBHOOK_URL.variable, url)));
        lines.extend(self.email.as_ref().map(|email| (SMTP_URL.variable, &email.url)));
        lines
    }
}

pub(super) fn read(r: &mut Reader) -> NotifyConfig {
    let slack = address(r, SLACK_URL);
    let discord = address(r, DISCORD_URL);
    let teams = address(r, TEAMS_URL);
    let url = address(r, WEBHOOK_URL);
    let secret = r.secret(WEBHOOK_SECRET);
    if secret.as_ref().is_some_and(|secret| secret.expose().trim().len() < SECRET_BYTES_MIN) {
        r.fault(WEBHOOK_SECRET.variable, format!("must be at least {SECRET_BYTES_MIN} characters, made at random"));
    }
    let webhook = match (url, secret) {
        (Some(url), Some(secret)) => Some((url, secret)),
        (Some(_), None) => {
            let message =
                "notify.webhook_url is set, and nothing to sign with: set it to what `openssl rand -hex 32` prints";
            r.fault(WEBHOOK_SECRET.variable, message);
            None
        }
        (None, _) => None,
    };
    NotifyConfig {
        slack,
        discord,
        teams,
        webhook,
        email: email(r),
        name: r.optional(NAME, |text| Ok(text.to_owned())),
        after: r.or(AFTER, "1m", duration),
        backlog: r.or(BACKLOG, "15m", or_off),
        no_webhook: r.or(NO_WEBHOOK, "off", or_off),
    }
}

fn or_off(text: &str) -> Result<Option<Duration>, String> {
    if text == "off" {
        return Ok(None);
    }
    duration(text).map(Some).map_err(|message| format!("{message}; off switches it off"))
}

/// An address that accepts JSON. It is secret, because anyone who knows it can write there.
fn address(r: &mut Reader, names: Setting) -> Option<Secret> {
    let url = Secret::new(r.secret(names)?.expose().trim());
    let is_url = Url::parse(url.expose()).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_url {
        r.fault(names.variable, "must be the whole URL that the receiver gave you, beginning with https://");
    }
    Some(url)
}

fn email(r: &mut Reader) -> Option<EmailConfig> {
    let url = r.secret(SMTP_URL).map(|url| Secret::new(url.expose().trim()));
    let is_address = |text: &str| text.parse::<Mailbox>().is_ok();
    let from = r.optional(EMAIL_FROM, |text| {
        if is_address(text) {
            return Ok(text.to_owned());
        }
        Err("must be an address, such as Gateway <gateway@example.com>".to_owned())
    });
    let to = r.optional(EMAIL_TO, |text| {
        let all: Vec<String> = text.split(',').map(|address| address.trim().to_owned()).collect();
        if all.len() <= ADDRESSES_MAX && all.iter().all(|address| is_address(address)) {
            return Ok(all);
        }
        Err(format!("must be addresses between commas, {ADDRESSES_MAX} at most"))
    });
    let url = url?;
    let is_server =
        Url::parse(url.expose()).is_ok_and(|url| matches!(url.scheme(), "smtp" | "smtps") && url.has_host());
    if !is_server {
        r.fault(
            SMTP_URL.variable,
            "must be smtps://user:password@host:465 or smtp://user:password@host:587?tls=required",
        );
    }
    for (is_there, names) in [(from.is_some(), EMAIL_FROM), (to.is_some(), EMAIL_TO)] {
        if !is_there && !r.has_fault(names.variable) {
            r.fault(names.variable, "notify.smtp_url is set: this is needed too");
        }
    }
    Some(EmailConfig { url, from: from?, to: to? })
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Sources};

    fn read(environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::for_tools(&Sources { environment, file: None })
            .map_err(|error| error.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_is_sent_unless_a_channel_is_named_and_no_address_is_shown() {
        assert!(!read(&[]).unwrap().notify.is_on());
        let config = read(&[
            ("GATEWAY_NOTIFY_SLACK_URL", "https://hooks.slack.com/services/T0/B0/pa55"),
            ("GATEWAY_NOTIFY_SMTP_URL", "smtps://u:pa55@mail.example.com:465"),
            ("GATEWAY_NOTIFY_EMAIL_FROM", "Gateway <gateway@example.com>"),
            ("GATEWAY_NOTIFY_EMAIL_TO", "a@example.com, b@example.com"),
        ])
        .unwrap();
        assert!(config.notify.is_on());
        assert_eq!(config.notify.email.as_ref().unwrap().to.len(), 2);
        let shown: String = config.shown.iter().map(|shown| shown.value.as_str()).collect();
        assert!(!shown.contains("pa55") && !format!("{config:?}").contains("pa55"), "{shown}");
    }

    #[test]
    fn what_cannot_work_is_a_fault_that_says_what_to_do() {
        let server = ("GATEWAY_NOTIFY_SMTP_URL", "smtps://u:pa55@mail.example.com:465");
        let (from, to) = (("GATEWAY_NOTIFY_EMAIL_FROM", "a@example.com"), ("GATEWAY_NOTIFY_EMAIL_TO", "b@example.com"));
        let webhook = ("GATEWAY_NOTIFY_WEBHOOK_URL", "https://example.com/pa55");
        for (environment, start, words) in [
            (vec![("GATEWAY_NOTIFY_SLACK_URL", "hooks.slack.com/pa55")], "GATEWAY_NOTIFY_SLACK_URL", "https://"),
            (
                vec![("GATEWAY_NOTIFY_TEAMS_URL", "http://teams.example.com/pa55")],
                "GATEWAY_NOTIFY_TEAMS_URL",
                "not encrypted",
            ),
            (vec![webhook], "GATEWAY_NOTIFY_WEBHOOK_SECRET", "openssl"),
            (vec![webhook, ("GATEWAY_NOTIFY_WEBHOOK_SECRET", "short")], "GATEWAY_NOTIFY_WEBHOOK_SECRET", "at least 16"),
            (vec![server, to], "GATEWAY_NOTIFY_EMAIL_FROM", "needed too"),
            (vec![server, from], "GATEWAY_NOTIFY_EMAIL_TO", "needed too"),
            (vec![server, from, ("GATEWAY_NOTIFY_EMAIL_TO", "nobody")], "GATEWAY_NOTIFY_EMAIL_TO", "between commas"),
            (vec![from, to, ("GATEWAY_NOTIFY_SMTP_URL", "mail.example.com")], "GATEWAY_NOTIFY_SMTP_URL", "smtps://"),
            (
                vec![from, to, ("GATEWAY_NOTIFY_SMTP_URL", "smtp://u:pa55@mail.example.com")],
                "GATEWAY_NOTIFY_SMTP_URL",
                "not encrypted",
            ),
            (vec![("GATEWAY_NOTIFY_BACKLOG", "soon")], "GATEWAY_NOTIFY_BACKLOG", "off"),
        ] {
            let faults = read(&environment).unwrap_err();
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].starts_with(start) && faults[0].contains(words), "{faults:?}");
            assert!(!faults[0].contains("pa55"), "{faults:?}");
        }
        let encrypted = ("GATEWAY_NOTIFY_SMTP_URL", "smtp://u:pa55@mail.example.com:587?tls=required");
        assert!(read(&[from, to, encrypted]).is_ok());
    }
}
