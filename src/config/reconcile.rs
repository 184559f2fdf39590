//! When Stripe is compared with what is here.

use std::time::Duration;

use super::parse::duration;
use super::reader::Reader;
use super::setting::{Form, Setting, setting};
use stripe_events::ID_BYTES_MAX;

const EVENTS: Setting = setting(
    "reconcile.events",
    "GATEWAY_RECONCILE_EVENTS",
    "Time between two comparisons of events with Stripe: at most 20d, or `off`. Needs `stripe.secret_key`.",
)
.takes(Form::DurationOr(&["off", "0"]));
const SUBSCRIPTIONS: Setting = setting(
    "reconcile.subscriptions",
    "GATEWAY_RECONCILE_SUBSCRIPTIONS",
    "Time between two comparisons of subscriptions with Stripe: at most 20d, or `off`.",
)
.takes(Form::DurationOr(&["off", "0"]));
const GRACE: Setting = setting(
    "reconcile.grace",
    "GATEWAY_RECONCILE_GRACE",
    "Events younger than this may still arrive as webhooks, and are not compared.",
)
.takes(Form::DurationOr(&["off", "0"]));
const ACCOUNTS: Setting = setting(
    "reconcile.accounts",
    "GATEWAY_RECONCILE_ACCOUNTS",
    "Connected accounts to compare too (acct_…), separated by commas.",
);

/// Most connected accounts whose lists are read.
const ACCOUNTS_MAX: usize = 100;

#[derive(Clone, Debug)]
pub struct ReconcileConfig {
    /// Between two runs over events; `None`: only when ordered.
    pub events: Option<Duration>,
    /// Between two runs over subscriptions; `None`: only when ordered.
    pub subscriptions: Option<Duration>,
    /// Events younger than this may still arrive as webhooks, and are not compared.
    pub grace: Duration,
    /// Connected accounts whose lists are read besides our own.
    pub accounts: Vec<String>,
}

/// Reads the settings. Without a Stripe key they have no effect.
pub(super) fn read(r: &mut Reader) -> ReconcileConfig {
    ReconcileConfig {
        events: r.or(EVENTS, "1h", interval),
        subscriptions: r.or(SUBSCRIPTIONS, "24h", interval),
        grace: r.or(GRACE, "5m", interval).unwrap_or_default(),
        accounts: r.optional(ACCOUNTS, accounts).unwrap_or_default(),
    }
}

/// A duration; `0` or `off` for none.
fn interval(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "0" | "off" => Ok(None),
        _ => match duration(text) {
            Ok(long) if long > Duration::from_hours(20 * 24) => {
                Err("must be at most 20d: Stripe lists events for 30 days".to_owned())
            }
            Ok(duration) => Ok(Some(duration)),
            Err(message) => Err(format!("{message}; 0 or off switches it off")),
        },
    }
}

fn accounts(text: &str) -> Result<Vec<String>, String> {
    let ids: Vec<String> = text.split(',').map(|id| id.trim().to_owned()).collect();
    let is_id = |id: &String| {
        id.starts_with("acct_")
            && id.len() <= ID_BYTES_MAX
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if ids.len() > ACCOUNTS_MAX {
        return Err(format!("at most {ACCOUNTS_MAX} accounts"));
    }
    if ids.iter().all(is_id) {
        Ok(ids)
    } else {
        Err("must be ids of connected accounts (acct_…), between commas".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_can_be_switched_off_and_stays_within_the_horizon() {
        assert_eq!((interval("0"), interval("off")), (Ok(None), Ok(None)));
        assert_eq!(interval("1h"), Ok(Some(Duration::from_hours(1))));
        assert!(interval("21d").is_err_and(|message| message.contains("30 days")));
        assert!(interval("never").is_err_and(|message| message.contains("off")));
    }

    #[test]
    fn accounts_are_told_from_other_words_and_bounded() {
        assert_eq!(accounts("acct_1, acct_2").map(|ids| ids.len()), Ok(2));
        assert!(accounts("cus_1").is_err() && accounts("acct_1,").is_err());
        assert!(accounts(&vec!["acct_1"; ACCOUNTS_MAX].join(",")).is_ok());
        assert!(accounts(&vec!["acct_1"; ACCOUNTS_MAX + 1].join(",")).is_err());
    }
}
