//! Everything that a running process can be given anew: keys, tokens and rules.
//!
//! Each is taken as a whole or refused as a whole; what is refused leaves the old one in use, and the log says why.

use std::sync::Arc;

use colonies::client::Member;

use super::colony;
use crate::admin::Operators;
use crate::config::{Config, InForce, LedgerConfig, changed_by_restart};
use crate::domain::clock::Clock;
use crate::domain::renewable::Renewable;
use crate::job::attestation::{Signer, Verifier};
use crate::job::sealing::Recipients;
use crate::ledger::Renewal;
use crate::ledger::report::StateOfRecord;
use crate::revenue::guardian::Guardian;
use crate::stripe::api::StripeApi;
use crate::stripe::endpoint::Endpoint;
use crate::stripe::signature::SigningSecret;
use crate::telemetry::metrics::Metrics;

/// Keys of the colony route.
#[derive(Clone, Debug)]
pub(super) struct ColonyKeys {
    pub(super) member: Renewable<Member>,
    pub(super) signer: Renewable<Signer>,
    pub(super) recipients: Renewable<Option<Recipients>>,
}

/// The running parts that can take new secrets.
#[derive(Clone, Debug)]
pub(super) struct Renewables {
    pub(super) guardian: Arc<Guardian>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) operators: Option<Operators>,
    pub(super) stripe: Option<Arc<StripeApi>>,
    pub(super) ledger: Arc<dyn StateOfRecord>,
    pub(super) colony: Option<ColonyKeys>,
    pub(super) verifier: Option<Arc<Verifier>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    /// The settings as they are shown.
    pub(super) settings: InForce,
}

/// The result of reading settings again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Renewed {
    /// Settings whose new values are in use.
    pub(super) taken: Vec<&'static str>,
    /// Settings that changed but need a restart.
    pub(super) needs_restart: Vec<&'static str>,
    /// The first setting that was refused, and why.
    pub(super) refused: Option<String>,
}

/// What became of one secret; `None` if it did not change.
type Taken = anyhow::Result<Option<Renewal>>;

impl Renewables {
    /// Makes the keys in use known to the metrics, so that one that is never used shows too, and likewise the console's
    /// address.
    pub(super) fn announce(&self) {
        if let Some(url) = &self.settings.latest().http.console_url {
            self.metrics.know_console(url.as_str());
        }
        for endpoint in &self.endpoints {
            for secret in endpoint.secrets.get().iter() {
                self.metrics.know_key("webhook", secret.fingerprint());
            }
        }
        for key in self.verifier.iter().flat_map(|verifier| verifier.keys()) {
            self.metrics.know_key("attestation", key.kid());
        }
    }

    /// The rules are read each time: their file may have changed under the same name.
    fn rules(&self, old: &Config, new: &Config) -> Taken {
        match &new.revenue.guardian_rules {
            Some(path) => Ok(self.guardian.reload_file(path)?.then_some(Renewal::Done)),
            // The file that was named before stays in force.
            None => Ok(old.revenue.guardian_rules.is_some().then_some(Renewal::NeedsRestart)),
        }
    }

    /// An endpoint's secrets all change at once, so that during an overlap both are accepted.
    fn webhook_secrets(&self, old: &Config, new: &Config) -> Option<Renewal> {
        // Bees receive nothing, even if the environment that they share with a gateway names endpoints.
        if self.endpoints.is_empty() {
            return None;
        }
        let names = |endpoints: &[Endpoint]| -> Vec<_> {
            endpoints.iter().map(|endpoint| (endpoint.name.clone(), endpoint.paths.clone())).collect()
        };
        let prints =
            |endpoint: &Endpoint| -> Vec<_> { endpoint.secrets.get().iter().map(SigningSecret::fingerprint).collect() };
        if names(&self.endpoints) != names(&new.endpoints) {
            // Endpoints of which a restart was asked before are no news.
            let all =
                |config: &Config| (names(&config.endpoints), config.endpoints.iter().map(prints).collect::<Vec<_>>());
            return (all(old) != all(new)).then_some(Renewal::NeedsRestart);
        }
        let mut changed = None;
        for (running, wanted) in self.endpoints.iter().zip(&new.endpoints) {
            if prints(running) != prints(wanted) {
                running.secrets.set(wanted.secrets.get());
                changed = Some(Renewal::Done);
            }
        }
        changed
    }

    fn operators(&self, old: &Config, new: &Config) -> Option<Renewal> {
        let (old, new) = (&old.http, &new.http);
        if old.admin_token == new.admin_token && old.operators == new.operators {
            return None;
        }
        match &self.operators {
            Some(operators) if operators.renew(new) => Some(Renewal::Done),
            // Paths behind a token appear or disappear only at a start.
            _ => Some(Renewal::NeedsRestart),
        }
    }

    fn stripe_key(&self, old: &Config, new: &Config) -> Taken {
        match (&self.stripe, &new.stripe.key) {
            _ if old.stripe.key == new.stripe.key => Ok(None),
            (Some(api), Some(key)) => {
                api.renew(key)?;
                Ok(Some(Renewal::Done))
            }
            _ => Ok(Some(Renewal::NeedsRestart)),
        }
    }

    fn ledger(&self, old: &Config, new: &Config) -> Taken {
        match (&old.ledger, &new.ledger) {
            (LedgerConfig::Sqlite { path: old }, LedgerConfig::Sqlite { path: new }) if old == new => Ok(None),
            (LedgerConfig::Postgres { url: old, .. }, LedgerConfig::Postgres { url: new, .. }) => {
                if old == new {
                    Ok(None)
                } else {
                    Ok(Some(self.ledger.renew(new)?))
                }
            }
            (
                LedgerConfig::Supabase { url: old_url, key: old, .. },
                LedgerConfig::Supabase { url: new_url, key: new, .. },
            ) if old_url == new_url => {
                if old == new {
                    Ok(None)
                } else {
                    Ok(Some(self.ledger.renew(new)?))
                }
            }
            _ => Ok(Some(Renewal::NeedsRestart)),
        }
    }

    /// With `ATTESTATION_PUBKEYS`, only that list and the process's own key are trusted. Without it, a former key of this
    /// process stays trusted for as long as a job that it attested may be under way.
    fn trust(&self, old: &Config, new: &Config) -> Taken {
        let (old, new) = (&old.colony, &new.colony);
        let same = old.attestation_pubkeys == new.attestation_pubkeys && old.attestation_key == new.attestation_key;
        let Some(verifier) = &self.verifier else { return Ok(None) };
        if same {
            return Ok(None);
        }
        let keys = colony::trusted(new)?;
        if new.attestation_pubkeys.is_some() {
            verifier.renew(keys)?;
        } else {
            // By then, a job that no bee took has gone the direct route, and one that was taken still has its lease.
            verifier.replace(keys, self.clock.now().plus(new.fallback_after + new.lease))?;
        }
        Ok(Some(Renewal::Done))
    }

    fn signer(&self, old: &Config, new: &Config) -> Taken {
        match &self.colony {
            _ if old.colony.attestation_key == new.colony.attestation_key => Ok(None),
            Some(keys) if new.colony.attestation_key.is_some() => {
                keys.signer.set(colony::signer(&new.colony)?);
                Ok(Some(Renewal::Done))
            }
            // Separate bees sign nothing.
            None => Ok(None),
            Some(_) => Ok(Some(Renewal::NeedsRestart)),
        }
    }

    /// The recipients of sealed jobs. Bees read their own opening keys again, if these are in a file.
    fn recipients(&self, old: &Config, new: &Config) -> Taken {
        let (old, new) = (&old.colony, &new.colony);
        let same = old.sealing_pubkeys == new.sealing_pubkeys && old.sealing_key == new.sealing_key;
        let Some(keys) = &self.colony else { return Ok(None) };
        if same {
            return Ok(None);
        }
        keys.recipients.set(colony::recipients(new)?);
        Ok(Some(Renewal::Done))
    }

    /// Bees whose key came from the environment keep it until a restart.
    fn opening_key(&self, old: &Config, new: &Config) -> Option<Renewal> {
        let is_read_again = new.colony.sealing_key_file.is_some() && old.colony.sealing_key_file.is_some();
        let changed = old.colony.sealing_key != new.colony.sealing_key;
        (self.verifier.is_some() && changed && !is_read_again).then_some(Renewal::NeedsRestart)
    }

    fn user(&self, old: &Config, new: &Config) -> Taken {
        match (&self.colony, &new.colony.user_key) {
            _ if old.colony.user_key == new.colony.user_key => Ok(None),
            (Some(keys), given @ Some(_)) => {
                let key = colony::key(given.as_ref(), "COLONIES_USER_PRVKEY", "")?;
                let renewed = keys.member.get().with_key(key);
                keys.member.set(renewed);
                Ok(Some(Renewal::Done))
            }
            (None, _) => Ok(None),
            (Some(_), None) => Ok(Some(Renewal::NeedsRestart)),
        }
    }

    /// Takes over the differences between two configurations.
    pub(super) fn renew(&self, old: &Config, new: &Config) -> Renewed {
        // Trust comes before signatures: no job may be signed with a key that the bees beside do not know yet.
        let results = [
            ("revenue.guardian_rules", self.rules(old, new)),
            ("STRIPE_WEBHOOK_SECRET", Ok(self.webhook_secrets(old, new))),
            (operators_setting(old, new), Ok(self.operators(old, new))),
            ("STRIPE_SECRET_KEY", self.stripe_key(old, new)),
            (ledger_setting(new), self.ledger(old, new)),
            ("ATTESTATION_PUBKEYS", self.trust(old, new)),
            ("ATTESTATION_PRVKEY", self.signer(old, new)),
            ("SEALING_PUBKEYS", self.recipients(old, new)),
            ("SEALING_PRVKEY", Ok(self.opening_key(old, new))),
            ("COLONIES_USER_PRVKEY", self.user(old, new)),
            ("COLONIES_COLONY_PRVKEY", Ok(fixed(old.colony.colony_key.as_ref(), new.colony.colony_key.as_ref()))),
            ("REDIS_URL", Ok(fixed(old.heartbeat.as_ref(), new.heartbeat.as_ref()))),
            ("notify", Ok(fixed(Some(&old.notify), Some(&new.notify)))),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", Ok(fixed(old.traces.as_ref(), new.traces.as_ref()))),
        ];
        let mut renewed = Renewed::default();
        for (setting, result) in results {
            match result {
                Ok(None) => {}
                Ok(Some(Renewal::Done)) => {
                    renewed.taken.push(setting);
                    tracing::info!(setting, "taken over");
                }
                Ok(Some(Renewal::NeedsRestart)) => {
                    renewed.needs_restart.push(setting);
                    tracing::warn!(setting, "changed: restart the process, the old one stays in use until then");
                }
                Err(error) => {
                    let error: &(dyn std::error::Error + 'static) = &*error;
                    let why = || format!("{setting}: {}", crate::domain::causes::chain(error));
                    renewed.refused.get_or_insert_with(why);
                    tracing::error!(setting, error, "refused, the old one stays in use");
                }
            }
        }
        for (key, setting) in changed_by_restart(old, new) {
            let room = key.split('.').next().unwrap_or(key);
            let is_told = [key, room, setting].iter().any(|name| renewed.needs_restart.contains(name));
            if !is_told {
                renewed.needs_restart.push(setting);
                tracing::warn!(setting, "changed: restart the process, the old one stays in use until then");
            }
        }
        self.announce();
        renewed
    }
}

/// A value that only a restart changes.
fn fixed<T: PartialEq>(old: Option<&T>, new: Option<&T>) -> Option<Renewal> {
    (old != new).then_some(Renewal::NeedsRestart)
}

/// Which of the two operator settings changed.
fn operators_setting(old: &Config, new: &Config) -> &'static str {
    if old.http.operators == new.http.operators { "GATEWAY_ADMIN_TOKEN" } else { "GATEWAY_OPERATORS" }
}

const fn ledger_setting(config: &Config) -> &'static str {
    match config.ledger {
        LedgerConfig::Sqlite { .. } => "ledger.sqlite_path",
        LedgerConfig::Postgres { .. } => "DATABASE_URL",
        LedgerConfig::Supabase { .. } => "SUPABASE_SERVICE_ROLE_KEY",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Sources;
    use crate::domain::clock::Timestamp;
    use crate::domain::ids::ProcessId;
    use crate::job::attestation::{Claim, Rejection};
    use crate::ledger::sqlite::SqliteLedger;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_280_627);
    const CLAIM: Claim<'_> =
        Claim { colony: "rec", ledger: "l", submitter: "s", function: "f", encoding: "", args: &["{}"] };

    /// Settings of a gateway with this attestation key and this list of trusted keys, if given.
    fn settings(key: &Signer, trusted: Option<&Signer>) -> Config {
        let mut environment: std::collections::BTreeMap<String, String> =
            [("STRIPE_WEBHOOK_SECRET".to_owned(), "whsec_one".to_owned())].into();
        environment.insert("ATTESTATION_PRVKEY".to_owned(), key.to_hex().expose().to_owned());
        if let Some(trusted) = trusted {
            environment.insert("ATTESTATION_PUBKEYS".to_owned(), trusted.public().to_hex());
        }
        Config::for_serve(&Sources { environment: environment.into_iter().collect(), file: None }).unwrap()
    }

    fn renewables(verifier: Verifier, config: &Config, clock: &Clock, directory: &std::path::Path) -> Renewables {
        Renewables {
            guardian: Arc::default(),
            endpoints: Vec::new(),
            operators: None,
            stripe: None,
            ledger: Arc::new(SqliteLedger::open(&directory.join("ledger.db"), clock.clone()).unwrap()),
            colony: None,
            verifier: Some(Arc::new(verifier)),
            metrics: Metrics::new(),
            clock: clock.clone(),
            settings: InForce::new(config),
        }
    }

    #[test]
    fn a_key_of_attestations_that_was_replaced_is_believed_for_as_long_as_its_jobs_may_be_on_their_way() {
        let (directory, clock) = (tempfile::tempdir().unwrap(), Clock::manual(NOW));
        let (old, new) = (Signer::generate().unwrap(), Signer::generate().unwrap());
        let (before, after) = (settings(&old, None), settings(&new, None));
        let running = renewables(colony::verifier(&before.colony).unwrap(), &before, &clock, directory.path());
        assert_eq!(running.renew(&before, &after).refused, None);
        let verdict = |signer: &Signer| {
            let attestation = signer.attest(CLAIM, NOW).unwrap();
            let process = ProcessId::new("p");
            running.verifier.as_ref().unwrap().verify(&attestation, CLAIM, &process, clock.now()).map(|_| ())
        };
        let overlap = after.colony.fallback_after + after.colony.lease;
        clock.advance(overlap);
        assert_eq!((verdict(&old), verdict(&new)), (Ok(()), Ok(())));
        clock.advance(Duration::from_secs(1));
        assert_eq!((verdict(&old), verdict(&new)), (Err(Rejection::UnknownKey), Ok(())));
    }

    #[test]
    fn a_list_of_trusted_keys_ends_the_trust_in_all_others_at_once() {
        let (directory, clock) = (tempfile::tempdir().unwrap(), Clock::manual(NOW));
        let (old, new) = (Signer::generate().unwrap(), Signer::generate().unwrap());
        let (before, after) = (settings(&old, Some(&old)), settings(&new, Some(&new)));
        let running = renewables(colony::verifier(&before.colony).unwrap(), &before, &clock, directory.path());
        assert_eq!(running.renew(&before, &after).refused, None);
        let verdict = running.verifier.as_ref().unwrap().verify(
            &old.attest(CLAIM, NOW).unwrap(),
            CLAIM,
            &ProcessId::new("p"),
            NOW,
        );
        assert_eq!(verdict, Err(Rejection::UnknownKey));
    }
}
