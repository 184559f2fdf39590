//! The settings of a running process: as it started, as they were read last, and what came of reading them again.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::{Config, Declared, Shown};
use crate::domain::clock::Timestamp;
use crate::domain::renewable::Renewable;

/// Variables of the settings that a running process takes over: secrets, rules, and at a hangup the route. All others keep
/// the values of the start.
const WITHOUT_RESTART: [&str; 13] = [
    "ATTESTATION_PRVKEY",
    "ATTESTATION_PUBKEYS",
    "COLONIES_USER_PRVKEY",
    "DATABASE_URL",
    "GATEWAY_ADMIN_TOKEN",
    "GATEWAY_GUARDIAN_RULES",
    "GATEWAY_OPERATORS",
    "SEALING_PRVKEY",
    "SEALING_PUBKEYS",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "SUPABASE_SERVICE_ROLE_KEY",
    "USE_COLONY_OS",
];

/// The settings that differ in `new` and that only a restart changes: their keys and variables. Secrets are not told apart.
pub fn changed_by_restart(old: &Config, new: &Config) -> Vec<(&'static str, &'static str)> {
    let before = |key: &str| old.shown.iter().find(|shown| shown.key == key);
    let differs = |shown: &&Shown| before(shown.key).is_none_or(|before| before.value != shown.value);
    let fixed = new.shown.iter().filter(differs).map(|shown| (shown.key, shown.variable));
    fixed.filter(|(_, variable)| !WITHOUT_RESTART.contains(variable)).collect()
}

/// What came of reading settings again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reread {
    pub at: Timestamp,
    /// `SIGHUP` or `a file changed`.
    pub cause: &'static str,
    /// Settings whose new values are in force.
    pub taken: Vec<&'static str>,
    /// Settings that changed and wait for a restart, those of earlier readings among them.
    pub needs_restart: Vec<&'static str>,
    /// Why something was refused; the old one stays in force.
    pub refused: Option<String>,
    /// Whether the route was turned as `USE_COLONY_OS` says, which is not `taken` where it stood so already.
    #[serde(skip)]
    pub took_route: bool,
}

/// The settings of a process. Clones share them.
#[derive(Clone, Debug)]
pub struct InForce {
    started: Arc<Config>,
    latest: Renewable<Config>,
    /// By each variable of [`WITHOUT_RESTART`] the reading whose value of it is in force.
    live: Renewable<BTreeMap<&'static str, Arc<Config>>>,
    reread: Renewable<Option<Reread>>,
}

/// A setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingLine {
    /// Dotted key in the file.
    pub key: &'static str,
    pub variable: &'static str,
    /// As it is in force; nothing where it is not set, `(redacted)` for a secret.
    pub value: Option<String>,
    /// Where it came from: `default`, `environment`, `file`, a file of its own, or `unset`.
    pub origin: String,
    pub default: Option<String>,
    /// What it is for, in Markdown.
    pub about: &'static str,
    /// Whether a change takes effect without a restart.
    pub is_live: bool,
    /// What it will be after a restart, where that differs; of one that is live, what was read and not taken over.
    pub after_restart: Option<String>,
}

impl Reread {
    /// Whether the value of a setting that was read is in force now.
    fn has_taken(&self, shown: &Shown) -> bool {
        let has = |name: &str| self.taken.contains(&name);
        has(shown.key)
            || has(shown.variable)
            || match shown.variable {
                // Both settings define the operators, and one is named for both.
                "GATEWAY_ADMIN_TOKEN" | "GATEWAY_OPERATORS" => has("GATEWAY_ADMIN_TOKEN") || has("GATEWAY_OPERATORS"),
                // Its public half is among the recipients of sealed jobs.
                "SEALING_PRVKEY" => has("SEALING_PUBKEYS") && !self.needs_restart.contains(&"SEALING_PRVKEY"),
                "USE_COLONY_OS" => self.took_route,
                _ => false,
            }
    }
}

impl InForce {
    pub fn new(config: &Config) -> Self {
        let started = Arc::new(config.clone());
        let live: BTreeMap<_, _> = WITHOUT_RESTART.map(|variable| (variable, Arc::clone(&started))).into();
        Self { latest: Renewable::new(Arc::clone(&started)), started, live: live.into(), reread: None.into() }
    }

    /// The settings of the start: the mode, the stores and the endpoints in force, with the secrets now in use.
    pub fn started(&self) -> &Config {
        &self.started
    }

    /// Settings in which the value of this variable is the one in force. Other values in them may not be.
    pub fn of(&self, variable: &str) -> Arc<Config> {
        Arc::clone(self.live.get().get(variable).unwrap_or(&self.started))
    }

    /// The settings as they were last read, including those that wait for a restart.
    pub fn latest(&self) -> Arc<Config> {
        self.latest.get()
    }

    /// The result of the last reading since the start.
    pub fn reread(&self) -> Option<Reread> {
        Option::clone(&self.reread.get())
    }

    /// Notes a reading. Without a configuration, it was refused as a whole.
    pub fn note(&self, reread: Reread, latest: Option<Config>) {
        let mut reread = reread;
        let before = self.reread().unwrap_or_default();
        for setting in before.needs_restart {
            if !reread.needs_restart.contains(&setting) {
                reread.needs_restart.push(setting);
            }
        }
        if let Some(latest) = latest {
            let latest = Arc::new(latest);
            let mut live = BTreeMap::clone(&self.live.get());
            for shown in latest.shown.iter().filter(|shown| reread.has_taken(shown)) {
                live.entry(shown.variable).and_modify(|holder| *holder = Arc::clone(&latest));
            }
            self.live.set(live);
            self.latest.set(latest);
        }
        self.reread.set(Some(reread));
    }

    /// Every setting, in the order of the manual.
    pub fn lines(&self) -> Vec<SettingLine> {
        let (declared, latest) = (Config::declared(), self.latest());
        let of = |shown: &[Shown], key: &str| shown.iter().find(|shown| shown.key == key).cloned();
        let line = |Declared { setting, default, .. }: Declared| {
            let is_live = WITHOUT_RESTART.contains(&setting.variable);
            let (in_force, read) =
                (of(&self.of(setting.variable).shown, setting.key)?, of(&latest.shown, setting.key)?);
            let after_restart = (in_force.value != read.value).then_some(read.value);
            let Shown { value, origin, .. } = in_force;
            let (key, variable, about) = (setting.key, setting.variable, setting.about);
            let value = Some(value).filter(|value| !value.is_empty());
            Some(SettingLine { key, variable, value, origin, default, about, is_live, after_restart })
        };
        declared.into_iter().filter_map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn read(variables: &[(&str, &str)]) -> Config {
        let given = [&[("STRIPE_WEBHOOK_SECRET", "whsec_one")], variables].concat();
        let environment = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::for_serve(&Sources { environment, file: None }).unwrap()
    }

    fn line(settings: &InForce, variable: &str) -> SettingLine {
        settings.lines().into_iter().find(|line| line.variable == variable).unwrap()
    }

    #[test]
    fn each_setting_that_only_a_restart_changes_is_named() {
        let old = read(&[("STRIPE_PRICE_GOLD", "price_1")]);
        let new = read(&[
            ("STRIPE_PRICE_GOLD", "price_1,price_2"),
            ("GATEWAY_PAST_DUE_GRACE", "*=14"),
            ("USE_COLONY_OS", "false"),
        ]);
        let mut named: Vec<&str> = changed_by_restart(&old, &new).into_iter().map(|(_, variable)| variable).collect();
        named.sort_unstable();
        assert_eq!(named, ["GATEWAY_PAST_DUE_GRACE", "STRIPE_PRICE_GOLD"]);
        assert_eq!(changed_by_restart(&new, &new), []);
    }

    #[test]
    fn what_a_running_process_takes_over_are_settings() {
        let declared = Config::declared();
        for variable in WITHOUT_RESTART {
            assert!(declared.iter().any(|one| one.setting.variable == variable), "{variable}");
        }
        assert_eq!(InForce::new(&read(&[])).lines().len(), declared.len());
    }

    #[test]
    fn a_setting_that_waits_for_a_restart_shows_both_values_and_no_secret_shows() {
        let settings = InForce::new(&read(&[("GATEWAY_SHUTDOWN_DEADLINE", "20s")]));
        let (then, rules) = (line(&settings, "GATEWAY_SHUTDOWN_DEADLINE"), line(&settings, "GATEWAY_GUARDIAN_RULES"));
        assert_eq!((then.value.as_deref(), then.origin.as_str(), then.is_live), (Some("20s"), "environment", false));
        assert_eq!((rules.value, rules.is_live, rules.after_restart), (None, true, None));
        let taken = vec!["revenue.guardian_rules"];
        let first = Reread { needs_restart: vec!["REDIS_URL"], taken, ..Reread::default() };
        let changed = [("GATEWAY_SHUTDOWN_DEADLINE", "30s"), ("GATEWAY_GUARDIAN_RULES", "/etc/rules")];
        settings.note(first, Some(read(&changed)));
        settings.note(Reread { taken: vec!["STRIPE_SECRET_KEY"], ..Reread::default() }, None);
        let (now, rules) = (line(&settings, "GATEWAY_SHUTDOWN_DEADLINE"), line(&settings, "GATEWAY_GUARDIAN_RULES"));
        assert_eq!((now.value.as_deref(), now.after_restart.as_deref()), (Some("20s"), Some("30s")));
        assert_eq!((rules.value.as_deref(), rules.after_restart), (Some("/etc/rules"), None));
        assert_eq!(settings.reread().unwrap().needs_restart, ["REDIS_URL"]);
        assert!(!format!("{:?}", settings.lines()).contains("whsec_one"));
    }

    #[test]
    fn what_was_read_and_not_taken_over_is_not_shown_as_in_force() {
        let settings = InForce::new(&read(&[("GATEWAY_GUARDIAN_RULES", "/etc/rules"), ("GATEWAY_MODE", "live")]));
        let refused = Reread { cause: "a file changed", refused: Some("the rules".to_owned()), ..Reread::default() };
        let changed =
            [("GATEWAY_GUARDIAN_RULES", "/etc/broken"), ("GATEWAY_MODE", "shadow"), ("USE_COLONY_OS", "false")];
        settings.note(refused.clone(), Some(read(&changed)));
        let shown = |variable| {
            let line = line(&settings, variable);
            (line.value, line.after_restart)
        };
        let of = |value: &str, after: &str| (Some(value.to_owned()), Some(after.to_owned()));
        assert_eq!(shown("GATEWAY_GUARDIAN_RULES"), of("/etc/rules", "/etc/broken"));
        assert_eq!(shown("GATEWAY_MODE"), of("live", "shadow"));
        let unset = (None, Some("false".to_owned()));
        assert_eq!(shown("USE_COLONY_OS"), unset, "the route is not taken over with a changed file");
        assert!(settings.started().shadow.is_none() && settings.latest().shadow.is_some());
        settings.note(refused, Some(read(&[("USE_COLONY_OS", "false")])));
        assert_eq!(shown("GATEWAY_GUARDIAN_RULES"), of("/etc/rules", ""), "without a path the old rules stay");
        let taken = vec!["revenue.guardian_rules"];
        settings.note(Reread { taken, took_route: true, ..Reread::default() }, Some(read(&changed)));
        assert_eq!(shown("GATEWAY_GUARDIAN_RULES"), (Some("/etc/broken".to_owned()), None));
        assert_eq!(shown("USE_COLONY_OS"), (Some("false".to_owned()), None));
    }
}
