//! The inbox from a file into a database, or back: both are opened, with no gateway on the file.

use std::path::Path;

use anyhow::Context as _;

use super::finish_restore;
use super::former::{self, name_of};
use super::options::{database_options, inbox_options};
use crate::config::Config;
use crate::domain::clock::Clock;
use crate::domain::counted::counted;
use crate::domain::secret::Secret;
use crate::inbox::{FILE_NAME, Inbox, InboxThreads, MoveError, Moved, MovedTo, counts_in, is_half_filled};

/// Which of the two is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The file.
    ToDatabase,
    /// The database.
    FromDatabase,
}

/// An inbox with the name that people know it by.
struct Place {
    inbox: Inbox,
    threads: InboxThreads,
    name: String,
}

impl Place {
    /// The inbox file of the data directory. Makes it if it is missing.
    async fn file(config: &Config, clock: &Clock) -> anyhow::Result<Self> {
        finish_restore(config)?;
        let (options, clock) = (inbox_options(config), clock.clone());
        let name = std::path::absolute(options.directory.join(FILE_NAME))?.display().to_string();
        let opened = tokio::task::spawn_blocking(move || Inbox::open_for_move(&options, clock)).await?;
        let (inbox, threads) = opened.map_err(MoveError::Open)?;
        Ok(Self { inbox, threads, name })
    }

    fn database(config: &Config, url: &Secret, clock: &Clock) -> anyhow::Result<Self> {
        let (inbox, threads) = Inbox::shared(&database_options(config, url), clock.clone()).map_err(MoveError::Open)?;
        Ok(Self { inbox, threads, name: name_of(url)? })
    }

    async fn close(self) {
        let Self { inbox, threads, .. } = self;
        drop(inbox);
        // If the waiting thread breaks, there is nothing left to report.
        let _ = tokio::task::spawn_blocking(move || threads.join()).await;
    }
}

/// Deliveries in the file beside the database would be left behind.
fn refuse_spilled(config: &Config) -> anyhow::Result<()> {
    former::refuse_left_spill(config)?;
    let Some(directory) = config.inbox.spill_dir.as_ref().filter(|directory| directory.join(FILE_NAME).exists()) else {
        return Ok(());
    };
    let counts = counts_in(directory)?;
    let standing = counts.backlog() + counts.dead + counts.quarantined;
    anyhow::ensure!(
        standing == 0,
        "{} in {} that the database does not have yet: start the gateway until `colony-gateway check` shows \
         none there, then move",
        counted(standing, "delivery stands", "deliveries stand"),
        directory.display()
    );
    Ok(())
}

fn url(config: &Config) -> anyhow::Result<&Secret> {
    config.inbox.url.as_ref().context("name the database: give its URL, or set GATEWAY_INBOX_URL")
}

/// Carries all of one inbox into the other, and reports its progress. Returns the names of both.
///
/// # Errors
/// If one of them cannot be opened or fails. The same call continues with the rest.
pub async fn transfer(
    config: &Config,
    direction: Direction,
    clock: &Clock,
    told: impl Fn(Moved),
) -> anyhow::Result<(Moved, String, String)> {
    refuse_spilled(config)?;
    let database = Place::database(config, url(config)?, clock)?;
    let file = Place::file(config, clock).await?;
    let (from, into) = match direction {
        Direction::ToDatabase => (file, database),
        Direction::FromDatabase => (database, file),
    };
    let names = (from.name.clone(), into.name.clone());
    let moved = from.inbox.move_into(&into.inbox, (&from.name, &into.name), told).await;
    from.close().await;
    into.close().await;
    let moved = moved?;
    if direction == Direction::FromDatabase {
        former::forget(config);
    }
    Ok((moved, names.0, names.1))
}

/// Gives up a move that has begun, on the side that was being left and in the file of the data directory if that was being
/// filled. With `is_lost`, also gives up a finished move, unless its destination is found. Returns where the entries were
/// going, if something was given up.
///
/// # Errors
/// If the inbox that was being left cannot be opened, or the move was finished.
pub async fn give_up(
    config: &Config,
    direction: Direction,
    clock: &Clock,
    is_lost: bool,
) -> anyhow::Result<Option<MovedTo>> {
    match direction {
        Direction::ToDatabase => {
            let file = Place::file(config, clock).await?;
            // If no database is configured, a finished move cannot be verified.
            let database = config.inbox.url.as_ref().map(|url| Place::database(config, url, clock)).transpose()?;
            let given_up = leave_off(&file, database.as_ref(), is_lost).await;
            file.close().await;
            if let Some(database) = database {
                database.close().await;
            }
            given_up
        }
        Direction::FromDatabase => {
            // The file goes first, because a lost database gives up nothing.
            let arrival = give_up_arrival(config, clock).await?;
            // Without a file, a finished move cannot be verified.
            let has_file = config.inbox.data_dir.join(FILE_NAME).exists();
            let file = if has_file { Some(Place::file(config, clock).await?) } else { None };
            let database = Place::database(config, url(config)?, clock)?;
            let given_up = leave_off(&database, file.as_ref(), is_lost).await;
            database.close().await;
            if let Some(file) = file {
                file.close().await;
            }
            Ok(given_up?.or(arrival))
        }
    }
}

/// Gives up leaving `left` for `there`.
async fn leave_off(left: &Place, there: Option<&Place>, is_lost: bool) -> anyhow::Result<Option<MovedTo>> {
    let asked = there.map(|place| (&place.inbox, place.name.as_str()));
    match left.inbox.give_up_move(&left.name, asked).await {
        Err(MoveError::Elsewhere { to, .. }) if is_lost => {
            // The file at the same path may be another one; its own number tells.
            anyhow::ensure!(
                there.is_some_and(|there| there.name == to.place) || !Path::new(&to.place).exists(),
                "nothing was given up: {} is there. Name its directory with GATEWAY_DATA_DIR and move the inbox back, or put the file away",
                to.place
            );
            Ok(left.inbox.give_up_lost_move(&left.name, asked).await?)
        }
        Err(MoveError::Into { .. }) if is_lost => Ok(left.inbox.give_up_lost_move(&left.name, asked).await?),
        given_up => Ok(given_up?),
    }
}

/// Lets gateways work with the file of the data directory, although not everything has arrived that was expected.
async fn give_up_arrival(config: &Config, clock: &Clock) -> anyhow::Result<Option<MovedTo>> {
    let directory = &config.inbox.data_dir;
    if !directory.join(FILE_NAME).exists() || !is_half_filled(directory)? {
        return Ok(None);
    }
    let file = Place::file(config, clock).await?;
    let was_filled = file.inbox.give_up_arrival().await;
    let to = MovedTo { place: file.name.clone(), is_done: false };
    file.close().await;
    Ok(was_filled?.then_some(to))
}
