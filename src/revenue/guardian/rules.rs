//! The rules in force: what each built-in rule does, its bounds, and the rules of the operator's file.
//!
//! ```toml
//! [builtin.livemode]
//! expect = true
//!
//! [builtin.injection_script]
//! action = "flag"
//!
//! [[rule]]
//! id = "large_invoice"
//! action = "quarantine"
//! severity = "critical"
//! reason = "an invoice above 10 000.00"
//! types = ["invoice.*"]
//! all = [{ path = "data.object.amount_paid", above = 1_000_000 }]
//!
//! [[rule]]
//! id = "course_texts"
//! action = "allow"
//! exempts = ["injection_sql"]
//! all = [{ path = "data.object.metadata.kind", equals = "course" }]
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Surroundings;
use super::builtin::{BUILTIN_RULES, BuiltinRule};
use super::condition::{Condition, ConditionText, PatternRoom};
use super::error::{CUSTOM_RULES_MAX, RULES_BYTES_MAX, RulesError};
use super::glance::{Bounds, Glance};
use crate::revenue::rows::{Action, Decision, Severity};
use crate::stripe::event::Event;

/// Most conditions of one rule.
pub(super) const CONDITIONS_MAX: usize = 100;

/// A compiled set of rules.
#[derive(Clone, Debug)]
pub struct Rules {
    builtin: Vec<(BuiltinRule, Action, Severity)>,
    bounds: Bounds,
    custom: Vec<CustomRule>,
}

/// A rule of the operator's file.
#[derive(Clone, Debug)]
pub(super) struct CustomRule {
    pub(super) id: String,
    pub(super) action: Action,
    pub(super) severity: Severity,
    pub(super) reason: String,
    pub(super) types: Vec<String>,
    exempts: Vec<String>,
    all: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesText {
    #[serde(default)]
    builtin: BTreeMap<String, BuiltinText>,
    #[serde(default, rename = "rule")]
    rules: Vec<RuleText>,
}

/// Settings of a built-in rule. Applying them checks whether the rule has them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BuiltinText {
    action: Option<Action>,
    severity: Option<Severity>,
    expect: Option<bool>,
    allowed: Option<Vec<String>>,
    past_days: Option<u32>,
    future_seconds: Option<u32>,
    max: Option<i64>,
    max_by_currency: Option<BTreeMap<String, i64>>,
    bytes: Option<usize>,
    depth: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    id: String,
    action: Action,
    #[serde(default = "warning")]
    severity: Severity,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    exempts: Vec<String>,
    #[serde(default)]
    all: Vec<ConditionText>,
}

const fn warning() -> Severity {
    Severity::Warning
}

impl Default for Rules {
    /// The built-in rules with their own actions and bounds.
    fn default() -> Self {
        let builtin = BUILTIN_RULES.map(|rule| (rule, rule.action(), rule.severity())).to_vec();
        Self { builtin, bounds: Bounds::default(), custom: Vec::new() }
    }
}

impl Rules {
    /// Reads a TOML text.
    pub fn parse(toml: &str) -> Result<Self, RulesError> {
        if toml.len() > RULES_BYTES_MAX {
            return Err(RulesError::TooLong);
        }
        let text: RulesText = toml::from_str(toml).map_err(|error| RulesError::of_form(&error, toml))?;
        let mut rules = Self::default();
        for (id, settings) in text.builtin {
            rules.set(&id, settings)?;
        }
        if text.rules.len() > CUSTOM_RULES_MAX {
            return Err(RulesError::TooMany(text.rules.len()));
        }
        let mut room = PatternRoom::default();
        for rule in text.rules {
            let rule = CustomRule::compile(rule, &mut room)?;
            if BuiltinRule::named(&rule.id).is_some() || rules.custom.iter().any(|known| known.id == rule.id) {
                return Err(RulesError::Id(rule.id));
            }
            rules.custom.push(rule);
        }
        rules.check_exemptions()?;
        Ok(rules)
    }

    pub(super) fn builtin(&self) -> &[(BuiltinRule, Action, Severity)] {
        &self.builtin
    }

    pub(super) fn custom(&self) -> &[CustomRule] {
        &self.custom
    }

    /// These rules, with the mode that events must have, unless they already say it.
    #[must_use]
    pub(super) fn expecting_livemode(mut self, livemode: bool) -> Self {
        self.bounds.livemode.get_or_insert(livemode);
        self
    }

    fn set(&mut self, id: &str, text: BuiltinText) -> Result<(), RulesError> {
        let unknown = || RulesError::UnknownBuiltin(id.to_owned());
        let rule = BuiltinRule::named(id).ok_or_else(unknown)?;
        let entry = self.builtin.iter_mut().find(|(known, _, _)| *known == rule).ok_or_else(unknown)?;
        entry.1 = text.action.unwrap_or(entry.1);
        entry.2 = text.severity.unwrap_or(entry.2);
        let given = [
            ("expect", text.expect.is_some()),
            ("allowed", text.allowed.is_some()),
            ("past_days", text.past_days.is_some()),
            ("future_seconds", text.future_seconds.is_some()),
            ("max", text.max.is_some()),
            ("max_by_currency", text.max_by_currency.is_some()),
            ("bytes", text.bytes.is_some()),
            ("depth", text.depth.is_some()),
        ];
        for (setting, given) in given {
            if given && !rule.settings().contains(&setting) {
                return Err(RulesError::Setting { rule: id.to_owned(), setting });
            }
        }
        let bound = |problem| RulesError::Bound { rule: id.to_owned(), problem };
        if text.allowed.as_ref().is_some_and(Vec::is_empty) {
            return Err(bound("`allowed` is empty, so nothing would pass; leave it out to allow everything"));
        }
        let maxima = text.max.iter().chain(text.max_by_currency.iter().flat_map(BTreeMap::values));
        if maxima.into_iter().any(|max| *max <= 0) {
            return Err(bound("a largest amount must be above zero"));
        }
        self.bounds.livemode = text.expect.or(self.bounds.livemode);
        if rule == BuiltinRule::Account {
            self.bounds.accounts = text.allowed;
        } else if rule == BuiltinRule::Currency {
            let lower = |codes: Vec<String>| codes.iter().map(|code| code.to_ascii_lowercase()).collect();
            self.bounds.currencies = text.allowed.map(lower);
        }
        self.bounds.past_days = text.past_days.unwrap_or(self.bounds.past_days);
        self.bounds.future_seconds = text.future_seconds.unwrap_or(self.bounds.future_seconds);
        self.bounds.amount_max = text.max.unwrap_or(self.bounds.amount_max);
        for (code, max) in text.max_by_currency.into_iter().flatten() {
            self.bounds.amount_max_by_currency.insert(code.to_ascii_lowercase(), max);
        }
        self.bounds.bytes = text.bytes.unwrap_or(self.bounds.bytes);
        self.bounds.depth = text.depth.unwrap_or(self.bounds.depth);
        Ok(())
    }

    fn check_exemptions(&self) -> Result<(), RulesError> {
        for rule in &self.custom {
            for name in &rule.exempts {
                let known = BuiltinRule::named(name).is_some() || self.custom.iter().any(|other| other.id == *name);
                if !known || rule.action != Action::Allow {
                    return Err(RulesError::Exempts { rule: rule.id.clone(), name: name.clone() });
                }
            }
        }
        Ok(())
    }

    /// The decisions of the rules that have something to say about an event.
    pub(super) fn inspect(&self, event: &Event, surroundings: Surroundings<'_>) -> Vec<Decision> {
        let matching: Vec<&CustomRule> = self.custom.iter().filter(|rule| rule.holds(event)).collect();
        let exempt = |id: &str| matching.iter().any(|rule| rule.exempts.iter().any(|name| name == id));
        let glance = Glance::at(event, surroundings, &self.bounds);
        let mut decisions = Vec::new();
        for (rule, action, severity) in &self.builtin {
            if *action == Action::Allow || exempt(rule.id()) {
                continue;
            }
            if let Some(reason) = glance.ask(*rule) {
                let rule = rule.id().to_owned();
                decisions.push(Decision { rule, severity: *severity, action: *action, reason });
            }
        }
        let custom = matching.iter().filter(|rule| !exempt(&rule.id)).map(|rule| Decision {
            rule: rule.id.clone(),
            severity: rule.severity,
            action: rule.action,
            reason: rule.reason.clone(),
        });
        decisions.extend(custom);
        decisions
    }
}

impl CustomRule {
    fn compile(text: RuleText, room: &mut PatternRoom) -> Result<Self, RulesError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !(1..=64).contains(&text.id.len()) || !text.id.bytes().all(plain) {
            return Err(RulesError::Id(text.id));
        }
        if text.all.is_empty() {
            return Err(RulesError::Unconditional(text.id));
        }
        if text.all.len() > CONDITIONS_MAX {
            let problem = format!("{} conditions; at most {CONDITIONS_MAX} are allowed", text.all.len());
            return Err(RulesError::Condition { rule: text.id, problem });
        }
        let RuleText { id, action, severity, reason, types, exempts, all } = text;
        let conditions = all.into_iter().map(|condition| Condition::compile(condition, &id, room));
        let all = conditions.collect::<Result<_, _>>()?;
        let reason = if reason.is_empty() { format!("rule `{id}` matched") } else { reason };
        Ok(Self { id, action, severity, reason, types, exempts, all })
    }

    fn holds(&self, event: &Event) -> bool {
        let typed = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => event.kind.starts_with(prefix),
            None => event.kind == *pattern,
        };
        (self.types.is_empty() || self.types.iter().any(typed))
            && self.all.iter().all(|condition| condition.holds(&event.value))
    }
}
