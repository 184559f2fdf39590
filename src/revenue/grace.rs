//! How long a late payer keeps access: days by tier and by how money is collected, as the operator says.
//!
//! Without a word of the operator there is no end: Stripe retries for as long as the seller has set there, and then ends
//! the subscription or calls it `unpaid`.

use std::fmt;
use std::str::FromStr;

use super::tiers::Tiers;

/// Longest grace, in days.
pub const GRACE_DAYS_MAX: u16 = 365;

/// The operator's rules: `gold=30, silver/send_invoice=45, *=14`. The most specific rule holds: first one for the tier and
/// the way of collecting, then one for the tier, then one for the way of collecting, then the one for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grace(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// `None`: any tier, or no tier.
    tier: Option<String>,
    /// `None`: either.
    method: Option<&'static str>,
    /// `None`: without end.
    days: Option<u16>,
}

/// Stripe's ways of collecting.
const METHODS: [&str; 2] = ["charge_automatically", "send_invoice"];

impl Grace {
    /// Days that a late payer with this tier keeps access; `None`: without end. Without a way of collecting, Stripe's
    /// default holds: `charge_automatically`.
    pub fn days(&self, tier: Option<&str>, method: Option<&str>) -> Option<u16> {
        let method = method.unwrap_or(METHODS[0]);
        let fits = |rule: &&Rule| {
            rule.tier.as_deref().is_none_or(|own| tier == Some(own)) && rule.method.is_none_or(|own| own == method)
        };
        self.0.iter().filter(fits).max_by_key(|rule| (rule.tier.is_some(), rule.method.is_some()))?.days
    }
}

impl FromStr for Grace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rules: Vec<Rule> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty() && *part != "none") {
            let (whom, days) = part.split_once('=').ok_or_else(|| {
                format!("`{part}` is no rule: write a tier (or *) and days, such as gold=30, */send_invoice=45, *=14")
            })?;
            let (tier, method) =
                whom.split_once('/').map_or((whom, None), |(tier, method)| (tier, Some(method.trim())));
            let tier = match tier.trim() {
                "*" => None,
                name => Some(Tiers::default().named(name).ok_or_else(|| format!("`{name}` is no tier"))?.to_owned()),
            };
            let method = match method {
                None => None,
                Some(name) => Some(METHODS.into_iter().find(|known| *known == name).ok_or_else(|| {
                    format!("`{name}` is no way of collecting: write charge_automatically or send_invoice")
                })?),
            };
            let days = match days.trim() {
                "none" => None,
                days => match days.parse() {
                    Ok(days) if days <= GRACE_DAYS_MAX => Some(days),
                    _ => return Err(format!("`{days}` must be days from 0 to {GRACE_DAYS_MAX}, or none for no end")),
                },
            };
            if rules.iter().any(|rule| (&rule.tier, rule.method) == (&tier, method)) {
                return Err(format!("`{}` has two rules", whom.trim()));
            }
            rules.push(Rule { tier, method, days });
        }
        Ok(Self(rules))
    }
}

impl fmt::Display for Grace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (place, rule) in self.0.iter().enumerate() {
            let (tier, days) = (rule.tier.as_deref().unwrap_or("*"), rule.days.map(|days| days.to_string()));
            let method = rule.method.map(|method| format!("/{method}")).unwrap_or_default();
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{tier}{method}={}", days.as_deref().unwrap_or("none"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_that_says_the_most_holds() {
        let grace: Grace = "*=7, Or=30, */send_invoice=45, gold/send_invoice=60, bronze=none".parse().unwrap();
        for (tier, method, days) in [
            (Some("gold"), Some("charge_automatically"), Some(30)),
            (Some("gold"), Some("send_invoice"), Some(60)),
            (Some("silver"), Some("send_invoice"), Some(45)),
            (Some("silver"), None, Some(7)),
            (None, Some("charge_automatically"), Some(7)),
            (Some("bronze"), Some("send_invoice"), None),
        ] {
            assert_eq!(grace.days(tier, method), days, "{tier:?} {method:?}");
        }
        assert_eq!(grace.to_string().parse(), Ok(grace));
    }

    #[test]
    fn without_a_rule_there_is_no_end() {
        for text in ["", "none", " , "] {
            let grace: Grace = text.parse().unwrap();
            assert_eq!((grace.days(Some("gold"), None), grace.to_string().as_str()), (None, "none"));
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_and_named() {
        for text in ["14", "platinum=3", "gold=366", "gold=-1", "gold/later=3", "gold=1, or=2", "gold="] {
            assert!(text.parse::<Grace>().is_err(), "{text}");
        }
        assert!(format!("gold={GRACE_DAYS_MAX}").parse::<Grace>().is_ok());
    }
}
