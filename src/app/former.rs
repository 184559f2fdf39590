//! Where the inbox of a gateway was when it last ran, noted in its data directory, so that a start with other settings sees what
//! they leave behind.
//!
//! Guarantees: no gateway starts while acknowledged deliveries stand in a file that it would no longer bring to its database. A start
//! without the database says that entries may be left there, until a person has seen to them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::domain::clock::Clock;
use crate::domain::private;
use crate::domain::secret::Secret;
use crate::inbox::{FILE_NAME, OpenError, claim, counts_in};
use crate::postgres::Address;
use crate::telemetry::health::{Board, Level};

/// Component of `/health` for a database that the settings no longer name.
pub(super) const COMPONENT: &str = "former inbox";

/// Name of the note in the data directory.
const NOTE: &str = "inbox.place";

/// The places of an inbox in a database, as a gateway last used them.
#[derive(Debug, Deserialize, Serialize, PartialEq, Eq)]
struct Noted {
    /// Hosts and name of the database.
    database: String,
    /// Directory of the file beside it.
    spill: Option<PathBuf>,
}

/// A file beside a database that the settings no longer name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftSpill {
    pub(super) directory: PathBuf,
    /// Deliveries in it that the database does not have.
    pub(super) left: u64,
}

/// Hosts and database of a URL.
pub(super) fn name_of(url: &Secret) -> anyhow::Result<String> {
    let address = Address::read(url.expose())?;
    let place = address.place().unwrap_or_else(|| "this machine".to_owned());
    Ok(format!("{place}/{}", address.database()))
}

/// What the settings say; `None` without a database.
fn wanted(config: &Config) -> Option<Noted> {
    let database = name_of(config.inbox.url.as_ref()?).ok()?;
    Some(Noted { database, spill: config.inbox.spill_dir.as_deref().map(absolute) })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The note; `None` if it is missing or cannot be read.
fn noted(config: &Config) -> Option<Noted> {
    serde_json::from_slice(&std::fs::read(config.inbox.data_dir.join(NOTE)).ok()?).ok()
}

/// The file beside a database that a gateway used here before and would not use with these settings. Changes nothing, and blocks.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn left_spill(config: &Config) -> Result<Option<LeftSpill>, OpenError> {
    let named = config.inbox.spill_dir.as_deref().map(absolute);
    let before = noted(config).and_then(|noted| noted.spill).filter(|before| Some(before) != named.as_ref());
    let Some(directory) = before.filter(|directory| directory.join(FILE_NAME).exists()) else { return Ok(None) };
    let counts = counts_in(&directory)?;
    let left = counts.backlog() + counts.dead + counts.quarantined;
    Ok((left > 0).then_some(LeftSpill { directory, left }))
}

/// Refuses settings with which acknowledged deliveries would never come into the database.
///
/// # Errors
/// If there are such deliveries, or if that cannot be found out.
pub(super) fn refuse_left_spill(config: &Config) -> Result<(), OpenError> {
    let Some(LeftSpill { directory, left }) = left_spill(config)? else { return Ok(()) };
    // Another gateway of this data directory has it, and empties it.
    if matches!(claim(&directory), Err(OpenError::Locked { .. })) {
        return Ok(());
    }
    Err(OpenError::LeftBeside { path: directory.join(FILE_NAME), left })
}

/// What is said of a database that a gateway used here before, where the settings name none.
pub(super) fn left_database(config: &Config) -> Option<String> {
    if config.inbox.url.is_some() {
        return None;
    }
    let Noted { database, .. } = noted(config)?;
    let note = config.inbox.data_dir.join(NOTE);
    Some(format!(
        "the inbox was in {database}, and GATEWAY_INBOX_URL is not set any more: entries that are not settled there wait, unless \
         other gateways work on them. Set it again, or bring them here with `colony-gateway inbox move --from`; if nothing is \
         needed from there, remove {}",
        note.display()
    ))
}

/// Says at the start of a gateway which database its settings leave, and notes the one that they name.
pub(super) fn tell_and_note(config: &Config, board: &Board, clock: &Clock) {
    if let Some(left) = left_database(config) {
        tracing::warn!("{left}");
        board.set(COMPONENT, Level::Degraded, left, clock.now());
    }
    let Some(wanted) = wanted(config) else { return };
    let before = noted(config);
    // While a gateway that has the file before still ends, the note is about that file.
    if before.as_ref() == Some(&wanted) || left_spill(config).is_ok_and(|left| left.is_some()) {
        return;
    }
    if let Some(Noted { database, .. }) = before.filter(|before| before.database != wanted.database) {
        tracing::warn!(
            before = database,
            now = wanted.database,
            "inbox: GATEWAY_INBOX_URL names another address than at the last start. If that is another database, entries that are \
             not settled in the one before wait for gateways that work on it"
        );
    }
    match write(&config.inbox.data_dir, &wanted) {
        Err(error) if wanted.spill.is_some() => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "inbox: the place of inbox.spill_dir cannot be noted in the data directory: empty it before you change the setting"
            );
        }
        // A gateway that keeps nothing on its disk need not have one.
        Ok(()) | Err(_) => {}
    }
}

fn write(directory: &Path, noted: &Noted) -> std::io::Result<()> {
    private::directory(directory)?;
    private::Replacement::prepare(&directory.join(NOTE))?.finish(&serde_json::to_vec(noted)?)
}

/// The database was left in order, so that nothing is left in it.
pub(super) fn forget(config: &Config) {
    if let Err(error) = std::fs::remove_file(config.inbox.data_dir.join(NOTE))
        && error.kind() != std::io::ErrorKind::NotFound
    {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "inbox: the note of its former place cannot be removed from the data directory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn config(data: &Path, settings: &[(&str, &str)]) -> Config {
        let data = data.display().to_string();
        let ours = [("GATEWAY_DATA_DIR", &*data), ("DATABASE_URL", "postgres://u@localhost/x")];
        let environment = ours.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::for_tools(&Sources { environment: environment.collect(), file: None }).unwrap()
    }

    #[test]
    fn a_database_is_named_without_its_password() {
        let name = |url: &str| name_of(&Secret::new(url)).unwrap();
        assert_eq!(name("postgres://u:hunter2@db.example.com/x?sslmode=verify-full"), "db.example.com:5432/x");
        assert_eq!(name("postgres://u:hunter2@a:1,b:2/x"), "a:1,b:2/x");
        assert_eq!(name("postgres://u@localhost"), "localhost:5432/u");
    }

    #[test]
    fn a_start_without_the_database_says_so_until_it_was_left_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let shared = config(directory.path(), &[("GATEWAY_INBOX_URL", "postgres://u:hunter2@localhost/one")]);
        let alone = config(directory.path(), &[]);
        let (board, clock) = (Board::default(), Clock::system());
        tell_and_note(&alone, &board, &clock);
        assert_eq!(left_database(&alone), None, "it never had another");
        tell_and_note(&shared, &board, &clock);
        assert_eq!(left_database(&shared), None);
        tell_and_note(&alone, &board, &clock);
        let said = left_database(&alone).unwrap();
        assert!(said.contains("localhost:5432/one") && !said.contains("hunter2"), "{said}");
        forget(&alone);
        assert_eq!(left_database(&alone), None);
    }
}
