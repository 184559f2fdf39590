//! What settings mean that are in order and may still surprise in production: for `config check`.
//!
//! Nothing of this keeps a gateway from starting, and `check` is silent about it: it is worth a word while someone sets a gateway up,
//! and no alarm every five minutes.

use std::time::Duration;

use crate::config::{Config, Fault, LedgerConfig};
use crate::domain::counted::lasting;
use crate::stripe::api::mode_of;
use crate::stripe::endpoint::Mode;

/// Tolerances of signatures that are worth a word.
const TOLERANCE_LONG: Duration = Duration::from_hours(1);
const TOLERANCE_SHORT: Duration = Duration::from_secs(30);

/// What `config check` says besides faults.
#[derive(Debug, Default)]
pub struct Advice {
    /// What is probably not meant.
    pub warnings: Vec<Fault>,
    /// What goes without, as settings are.
    pub notes: Vec<Fault>,
}

pub fn advice(config: &Config) -> Advice {
    let warnings =
        modes(config).into_iter().chain(tiers(config)).chain(proxies(config)).chain(tolerance(config)).collect();
    Advice { warnings, notes: notes(config) }
}

fn fault(setting: impl Into<String>, message: impl Into<String>) -> Fault {
    Fault { setting: setting.into(), message: message.into() }
}

/// Modes of Stripe's that do not fit each other.
fn modes(config: &Config) -> Vec<Fault> {
    let key = config.stripe.key.as_ref().and_then(|key| mode_of(key.expose()));
    let live = config.endpoints.iter().find(|endpoint| endpoint.mode == Mode::Live);
    let sign = match (key, live) {
        (Some(true), _) => Some("STRIPE_SECRET_KEY is a key of live mode".to_owned()),
        (_, Some(live)) => Some(format!("endpoint {} is for live mode", live.name)),
        (_, None) if config.shadow.is_none() && !config.is_default("mode") => Some("GATEWAY_MODE is live".to_owned()),
        _ => None,
    };
    let mut found = Vec::new();
    for endpoint in &config.endpoints {
        let name = format!("endpoint {}", endpoint.name);
        match (endpoint.mode, key, &sign) {
            (Mode::Any, _, Some(sign)) => found.push(fault(
                name,
                format!(
                    "it takes events of test mode too, and {sign}: if Stripe's test mode posts here, a test card buys access \
                     for users who have no live subscription. Set GATEWAY_STRIPE_MODE=live, or `mode` of the endpoint's table"
                ),
            )),
            (Mode::Live, Some(false), _) => found.push(fault(
                name,
                "it is for live mode, and STRIPE_SECRET_KEY is a key of test mode, which knows nothing of live events: use \
                 a key of live mode",
            )),
            (Mode::Test, Some(true), _) => found.push(fault(
                name,
                "it is for test mode, and STRIPE_SECRET_KEY is a key of live mode, which knows nothing of test events: \
                 give test mode a gateway and a database of its own",
            )),
            _ => {}
        }
    }
    found
}

fn tiers(config: &Config) -> Option<Fault> {
    config.revenue.tiers.is_empty().then(|| {
        fault(
            "STRIPE_PRICE_BRONZE, STRIPE_PRICE_SILVER, STRIPE_PRICE_GOLD",
            "no price stands for a tier: a subscription has a tier only if its metadata, or that of its price or product, \
             names one, and gives access without a tier otherwise",
        )
    })
}

fn proxies(config: &Config) -> Option<Fault> {
    config.http.connections.proxies.are_all().then(|| {
        fault(
            "GATEWAY_TRUSTED_PROXIES",
            "it trusts every address, so each sender says itself who it is, and neither GATEWAY_PEER_SHARE nor \
             GATEWAY_WEBHOOK_PEERS binds it: name the proxies, or `private`",
        )
    })
}

/// A tolerance that lets old recordings in, or that a clock's usual error exceeds.
fn tolerance(config: &Config) -> Option<Fault> {
    let tolerance = config.endpoints.first()?.tolerance;
    let message = if tolerance > TOLERANCE_LONG {
        format!(
            "deliveries of up to {} ago are taken, so anyone who recorded one can post it again for that long. Stripe signs each retry \
             anew, and its own libraries allow five minutes",
            lasting(tolerance)
        )
    } else if tolerance < TOLERANCE_SHORT {
        format!(
            "only {}: a slow connection, or a clock that is a little wrong, has genuine deliveries refused; Stripe's own libraries allow \
             five minutes",
            lasting(tolerance)
        )
    } else {
        return None;
    };
    Some(fault("GATEWAY_STRIPE_TOLERANCE", message))
}

/// Parts that do not work without a setting.
fn notes(config: &Config) -> Vec<Fault> {
    let mut notes = Vec::new();
    if config.stripe.key.is_none() {
        let message =
            "unset: the gateway does not ask Stripe for what events lack, and does not notice events that never arrive";
        notes.push(fault("STRIPE_SECRET_KEY", message));
    }
    if matches!(config.ledger, LedgerConfig::Sqlite { .. }) && !config.ledger_expectation.is_named {
        let message = "unset: the ledger is a file beside the inbox, and the gateway writes no table of your app";
        notes.push(fault("DATABASE_URL", message));
    }
    if config.is_default("data_dir") && config.inbox.url.is_none() {
        let directory = &config.inbox.data_dir;
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.clone());
        let message = format!(
            "unset: the inbox is in {}, which changes with the directory that the gateway starts in",
            directory.display()
        );
        notes.push(fault("GATEWAY_DATA_DIR", message));
    }
    if config.http.admin_token.is_none() && config.http.operators.is_empty() {
        let message = "unset: there is no console, and commands about the inbox work only while the gateway is stopped";
        notes.push(fault("GATEWAY_ADMIN_TOKEN", message));
    }
    if !config.notify.is_on() {
        let message = "no channel is set: the gateway sends no message when something needs you (docs/alerts.md)";
        notes.push(fault("notify", message));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn about(settings: &[(&str, &str)]) -> Advice {
        let mut environment =
            std::collections::BTreeMap::from([("STRIPE_WEBHOOK_SECRET".to_owned(), "whsec_one".to_owned())]);
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        advice(&Config::for_serve(&Sources { environment, file: None }).expect("well-formed settings"))
    }

    fn warned(settings: &[(&str, &str)]) -> Vec<String> {
        let with_prices = [settings, &[("STRIPE_PRICE_GOLD", "price_1")]].concat();
        about(&with_prices).warnings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_tolerance_that_is_absurd_is_told() {
        for absurd in ["3650d", "61m", "29s", "1ms"] {
            let told = warned(&[("GATEWAY_STRIPE_TOLERANCE", absurd)]);
            assert!(told.len() == 1 && told[0].starts_with("GATEWAY_STRIPE_TOLERANCE: "), "{absurd}: {told:?}");
        }
        for usual in ["30s", "5m", "1h"] {
            assert_eq!(warned(&[("GATEWAY_STRIPE_TOLERANCE", usual)]), Vec::<String>::new());
        }
    }

    #[test]
    fn proxies_that_are_everyone_are_told() {
        for everyone in ["0.0.0.0/0", "10.0.0.5, ::/0"] {
            let told = warned(&[("GATEWAY_TRUSTED_PROXIES", everyone)]);
            assert!(
                told.len() == 1 && told[0].starts_with("GATEWAY_TRUSTED_PROXIES: it trusts every address"),
                "{told:?}"
            );
        }
        assert_eq!(warned(&[("GATEWAY_TRUSTED_PROXIES", "private, 203.0.113.0/24")]), Vec::<String>::new());
    }

    #[test]
    fn an_endpoint_of_any_mode_is_told_beside_a_sign_of_live_mode() {
        for sign in [("STRIPE_SECRET_KEY", "rk_live_1"), ("GATEWAY_MODE", "live")] {
            let told = warned(&[sign]);
            assert!(
                told.len() == 1 && told[0].starts_with("endpoint stripe: it takes events of test mode too"),
                "{told:?}"
            );
            assert_eq!(warned(&[sign, ("GATEWAY_STRIPE_MODE", "live")]), Vec::<String>::new());
        }
        assert_eq!(warned(&[("STRIPE_SECRET_KEY", "rk_test_1")]), Vec::<String>::new(), "tried out, not in production");
        assert_eq!(warned(&[("GATEWAY_MODE", "shadow")]), Vec::<String>::new());
    }

    #[test]
    fn a_key_of_the_other_mode_than_an_endpoint_is_told() {
        let told = warned(&[("STRIPE_SECRET_KEY", "sk_test_1"), ("GATEWAY_STRIPE_MODE", "live")]);
        assert!(told[0].contains("is a key of test mode"), "{told:?}");
        let told = warned(&[("STRIPE_SECRET_KEY", "sk_live_1"), ("GATEWAY_STRIPE_MODE", "test")]);
        assert!(told[0].contains("is a key of live mode"), "{told:?}");
    }

    #[test]
    fn missing_prices_are_a_warning_and_what_goes_without_is_noted() {
        let bare = about(&[]);
        assert!(bare.warnings[0].message.contains("no price stands for a tier"), "{bare:?}");
        let settings: Vec<&str> = bare.notes.iter().map(|note| note.setting.as_str()).collect();
        let expected = ["STRIPE_SECRET_KEY", "DATABASE_URL", "GATEWAY_DATA_DIR", "GATEWAY_ADMIN_TOKEN", "notify"];
        assert_eq!(settings, expected);
        let full = about(&[
            ("STRIPE_PRICE_GOLD", "price_1"),
            ("STRIPE_SECRET_KEY", "rk_live_1"),
            ("GATEWAY_STRIPE_MODE", "live"),
            ("DATABASE_URL", "postgres://gateway@127.0.0.1/app"),
            ("GATEWAY_DATA_DIR", "/var/lib/colony-gateway"),
            ("GATEWAY_ADMIN_TOKEN", "0123456789abcdef"),
            ("GATEWAY_NOTIFY_SLACK_URL", "https://hooks.slack.com/services/x"),
        ]);
        assert!(full.warnings.is_empty() && full.notes.is_empty(), "{full:?}");
    }
}
