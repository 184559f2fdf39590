//! What a database has of the files, and what it lacks.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::files::{ALL, File, Kind, PREPARING};
use super::role::Caller;
use super::script::RELEASE;
use crate::ledger::{LedgerError, LedgerErrorKind};

/// How many missing files an error names; it counts the others.
const NAMED_MAX: usize = 5;

/// How a file stands in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The database has it, with this program's text.
    Applied,
    /// The database lacks it: it would run.
    Pending,
    /// The database has another text: it would be replaced.
    Changed,
    /// This program does not have this definition: it would be removed.
    Gone,
    /// A numbered file that was edited after it ran.
    Edited,
}

/// One line of a plan.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// The file or definition, as people call it.
    pub label: String,
    pub standing: Standing,
}

/// The answer of `public.gateway_check`.
#[derive(Debug, Default, Deserialize)]
pub struct Installed {
    /// Numbers of the files that ran.
    pub(super) migrations: Vec<i64>,
    /// The checksums that each definition has had, the present one last.
    pub(super) definitions: BTreeMap<String, Vec<String>>,
    /// The release whose definitions these are.
    pub(super) release: Option<String>,
    /// Encoding of the database.
    pub(in crate::ledger) encoding: Option<String>,
    /// The caller; functions of earlier releases do not tell it.
    pub(in crate::ledger) caller: Option<Caller>,
}

impl Installed {
    /// Whether a later release than this program's has migrated the database. Its definitions also serve this one.
    pub(super) fn is_later(&self) -> bool {
        let numbers = |release: &str| release.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>();
        self.release.as_deref().is_some_and(|release| numbers(release) > numbers(RELEASE))
    }

    /// Whether the database has this text of the file, or had it before a later one.
    fn has_had(&self, file: &File) -> bool {
        match file.kind {
            Kind::Tables { version } => self.migrations.contains(&version),
            Kind::View | Kind::Function | Kind::Privileges => {
                let checksum = file.checksum();
                self.is_later() || self.definitions.get(file.name).is_some_and(|had| had.contains(&checksum))
            }
        }
    }

    /// The files that this program needs and the database has never had.
    pub(super) fn missing(&self) -> impl Iterator<Item = &'static File> {
        ALL.iter().filter(|file| !self.has_had(file))
    }
}

/// The error that a ledger reports, and for which `serve` refuses to start, when files are missing.
pub(in crate::ledger) fn missing_error(ledger: &'static str, installed: &Installed) -> Option<LedgerError> {
    let missing: Vec<String> = installed.missing().map(File::label).collect();
    let named = missing.get(..NAMED_MAX).unwrap_or(&missing).join(", ");
    let others = match missing.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    (!missing.is_empty()).then(|| {
        let message = format!(
            "migrations are missing: {named}{others}; run `colony-gateway migrate` as the role that owns the \
             schema, or run what `colony-gateway migrate --print` prints with your own tool"
        );
        LedgerError::new(ledger, LedgerErrorKind::Schema, message)
    })
}

/// The error of a database without the function that tells the migrations: none of them has run.
pub(in crate::ledger) fn none_ran(ledger: &'static str, error: LedgerError) -> LedgerError {
    match missing_error(ledger, &Installed::default()) {
        Some(missing) if error.kind == LedgerErrorKind::Schema => missing.caused_by(error),
        Some(_) | None => error,
    }
}

/// What the runner's tables hold.
#[derive(Debug, Default)]
pub(super) struct RunnerRecord {
    /// Number and checksum of each file that ran.
    pub(super) migrations: BTreeMap<i64, String>,
    /// Checksum of each definition.
    pub(super) definitions: BTreeMap<String, String>,
    /// The release that recorded them.
    pub(super) release: Option<String>,
}

impl RunnerRecord {
    /// How a file stands.
    pub(super) fn standing(&self, file: &File) -> Standing {
        let (found, other) = match file.kind {
            Kind::Tables { version } => (self.migrations.get(&version), Standing::Edited),
            Kind::View | Kind::Function | Kind::Privileges => (self.definitions.get(file.name), Standing::Changed),
        };
        match found {
            None => Standing::Pending,
            Some(checksum) if *checksum == file.checksum() => Standing::Applied,
            Some(_) => other,
        }
    }

    /// Every file, and every definition in the database that no file has.
    pub(super) fn steps(&self) -> Vec<Step> {
        if self.is_later() {
            let applied = |file: &File| Step { label: file.label(), standing: Standing::Applied };
            return ALL.iter().map(applied).collect();
        }
        let files = ALL.iter().map(|file| Step { label: file.label(), standing: self.standing(file) });
        let gone = self.definitions.keys().filter(|name| ALL.iter().all(|file| file.name != name.as_str()));
        files.chain(gone.map(|name| Step { label: name.clone(), standing: Standing::Gone })).collect()
    }

    /// Whether a later release has migrated the database. Then this one has nothing to do.
    pub(super) fn is_later(&self) -> bool {
        Installed { release: self.release.clone(), ..Installed::default() }.is_later()
    }

    /// Whether `public.subscriptions` has to be prepared again once these are applied.
    pub(super) fn prepares(&self) -> bool {
        let mut deciding = ALL.iter().filter(|file| PREPARING.contains(&file.name));
        !self.is_later() && deciding.any(|file| self.standing(file) != Standing::Applied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> RunnerRecord {
        let mut recorded = RunnerRecord { release: Some(RELEASE.to_owned()), ..RunnerRecord::default() };
        for file in ALL {
            match file.kind {
                Kind::Tables { version } => drop(recorded.migrations.insert(version, file.checksum())),
                Kind::View | Kind::Function | Kind::Privileges => {
                    recorded.definitions.insert(file.name.to_owned(), file.checksum());
                }
            }
        }
        recorded
    }

    fn standing_of(recorded: &RunnerRecord, label: &str) -> Standing {
        recorded.steps().into_iter().find(|step| step.label == label).expect("a step of this name").standing
    }

    #[test]
    fn each_file_stands_by_its_checksum() {
        let mut recorded = complete();
        assert!(recorded.steps().iter().all(|step| step.standing == Standing::Applied));
        recorded.definitions.insert("gateway.judge".to_owned(), "00".to_owned());
        recorded.definitions.remove("gateway.show");
        recorded.definitions.insert("gateway.decide".to_owned(), "00".to_owned());
        recorded.migrations.insert(1, "00".to_owned());
        assert_eq!(standing_of(&recorded, "gateway.judge"), Standing::Changed);
        assert_eq!(standing_of(&recorded, "gateway.show"), Standing::Pending);
        assert_eq!(standing_of(&recorded, "gateway.decide"), Standing::Gone);
        assert_eq!(standing_of(&recorded, "0001_tables"), Standing::Edited);
        assert_eq!(standing_of(&recorded, "gateway.project"), Standing::Applied);
    }

    #[test]
    fn public_subscriptions_is_prepared_when_its_functions_change_and_not_for_others() {
        let mut recorded = complete();
        recorded.definitions.insert("gateway.judge".to_owned(), "00".to_owned());
        assert!(!recorded.prepares());
        recorded.definitions.insert("gateway.guard_subscriptions".to_owned(), "00".to_owned());
        assert!(recorded.prepares());
    }

    #[test]
    fn a_database_of_a_later_release_is_left_as_it_is() {
        let mut recorded = complete();
        recorded.definitions.insert("gateway.judge".to_owned(), "00".to_owned());
        recorded.release = Some("999.0.10".to_owned());
        assert!(recorded.steps().iter().all(|step| step.standing == Standing::Applied));
        assert!(!recorded.prepares());
    }

    fn installed() -> Installed {
        let recorded = complete();
        Installed {
            migrations: recorded.migrations.into_keys().collect(),
            definitions: recorded.definitions.into_iter().map(|(name, it)| (name, vec![it])).collect(),
            release: recorded.release,
            encoding: None,
            caller: None,
        }
    }

    #[test]
    fn missing_files_are_named() {
        assert!(missing_error("postgres", &installed()).is_none());
        let mut lacking = installed();
        lacking.definitions.remove("gateway.judge");
        let error = missing_error("postgres", &lacking).expect("one is missing");
        assert_eq!(error.kind, LedgerErrorKind::Schema);
        assert!(error.message.contains("gateway.judge"), "{error}");
        assert!(!error.message.contains("0001_tables") && !error.message.contains("more"), "{error}");
        let error = missing_error("postgres", &Installed::default()).expect("all are missing");
        let others = ALL.len() - NAMED_MAX;
        assert!(
            error.message.contains("0001_tables") && error.message.contains(&format!("and {others} more")),
            "{error}"
        );
    }

    #[test]
    fn a_program_goes_on_with_definitions_that_came_after_its_own_and_not_with_those_before() {
        let mut lacking = installed();
        let own = lacking.definitions["gateway.judge"][0].clone();
        lacking.definitions.insert("gateway.judge".to_owned(), vec!["00".to_owned()]);
        assert!(missing_error("postgres", &lacking).is_some());
        lacking.definitions.insert("gateway.judge".to_owned(), vec![own, "00".to_owned()]);
        assert!(missing_error("postgres", &lacking).is_none());
        lacking.definitions.clear();
        lacking.release = Some("999.0.0".to_owned());
        assert!(missing_error("postgres", &lacking).is_none(), "a later release made this database");
        lacking.release = Some("0.0.0".to_owned());
        assert!(missing_error("postgres", &lacking).is_some());
    }
}
