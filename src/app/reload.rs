//! What changes without a restart: at a hangup (SIGHUP) the route, secrets and rules; whenever the file of a secret or of
//! the rules changes, those alone.
//!
//! A setting in the environment cannot change under a running process; one in a file can. Settings that are refused change
//! nothing at all, and the log says why.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::secrets::{Renewables, Renewed};
use crate::config::{Config, ConfigError, FileMark, Reread, Sources, WatchedFile};
use crate::dispatch::switch::{RouteSwitch, Wish};
use crate::domain::causes::chain;
use crate::domain::clock::{Clock, Timestamp};
use crate::lifecycle::{Hangups, Notifier, Shutdown};
use crate::telemetry::health::{Board, Level};

/// Name on the health board, after settings were read again.
const COMPONENT: &str = "settings";

/// How often files are checked.
const LOOK: Duration = Duration::from_secs(2);

/// How a process reads its settings.
pub type ReadSettings = Box<dyn Fn(&Sources) -> Result<Config, ConfigError> + Send + Sync>;

/// The parts that a hangup or a changed file may change.
pub(super) struct Reload {
    pub(super) sources: Sources,
    pub(super) read: ReadSettings,
    /// Only a hangup changes it: a new key must not undo an operator's decision.
    pub(super) switch: Option<RouteSwitch>,
    pub(super) renewables: Renewables,
    pub(super) manager: Notifier,
    pub(super) board: Board,
    pub(super) clock: Clock,
}

/// Why settings are read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Hangup,
    File,
}

impl Reload {
    pub(super) async fn run(self, config: Config, mut hangups: Hangups, shutdown: Shutdown) -> Result<(), Infallible> {
        let this = Arc::new(self);
        let mut current = Arc::new(config);
        // While something is refused, later readings are still compared with the settings of before: otherwise the next one would
        // find no difference, and the refusal would be forgotten.
        let mut taken = Arc::clone(&current);
        let mut marks: Vec<Option<FileMark>> = current.files.iter().map(|file| file.mark).collect();
        loop {
            let why = tokio::select! {
                () = hangups.next() => Why::Hangup,
                () = tokio::time::sleep(LOOK) => Why::File,
                () = shutdown.draining() => return Ok(()),
            };
            let seen = this.look(&current).await;
            if why == Why::File && seen == marks {
                continue;
            }
            marks = seen;
            let (reload, old) = (Arc::clone(&this), Arc::clone(&taken));
            // This reads files, which may be slow.
            match tokio::task::spawn_blocking(move || reload.reload(why, &old)).await {
                Ok(Some((new, good))) => {
                    marks = new.files.iter().map(|file| file.mark).collect();
                    current = Arc::new(new);
                    if good {
                        taken = Arc::clone(&current);
                    }
                }
                Ok(None) => {}
                Err(_) => tracing::error!("settings cannot be read, nothing changed"),
            }
        }
    }

    /// Returns the marks of all files, and records their ages in the metrics.
    async fn look(self: &Arc<Self>, config: &Arc<Config>) -> Vec<Option<FileMark>> {
        let (this, config) = (Arc::clone(self), Arc::clone(config));
        let look = move || {
            let now = this.clock.now();
            config.files.iter().map(|file| this.mark(file, now)).collect()
        };
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }

    fn mark(&self, file: &WatchedFile, now: Timestamp) -> Option<FileMark> {
        let mark = FileMark::of(&file.path)?;
        if let Some(written) = mark.written {
            self.renewables.metrics.secret_age.of(file.setting).set(now.since(written).as_secs_f64());
        }
        Some(mark)
    }

    /// Reports on the board whether a restart would find valid settings.
    fn tell(&self, refused: Option<String>) {
        let now = self.clock.now();
        match refused {
            Some(why) => {
                let detail = format!("{why}. The old one stays in use, and a restart would fail");
                self.board.set(COMPONENT, Level::Degraded, detail, now);
            }
            None => drop(self.board.set(COMPONENT, Level::Ok, "read again", now)),
        }
    }

    /// Records the result of a reading, for display.
    fn note(&self, cause: &'static str, renewed: Renewed, took_route: bool, new: Option<&Config>) {
        let Renewed { taken, needs_restart, refused } = renewed;
        let reread = Reread { at: self.clock.now(), cause, taken, needs_restart, refused, took_route };
        self.renewables.settings.note(reread, new.cloned());
    }

    /// The new settings, if they can be used, and whether all of them were taken.
    fn reload(&self, why: Why, old: &Config) -> Option<(Config, bool)> {
        let counts = &self.renewables.metrics.reloads;
        let cause = match why {
            Why::Hangup => "SIGHUP",
            Why::File => "a file changed",
        };
        self.manager.reloading();
        let new = match (self.read)(&self.sources) {
            Ok(config) => config,
            Err(error) => {
                counts.of("refused").increment(1);
                self.note(cause, Renewed { refused: Some(chain(&error)), ..Renewed::default() }, false, None);
                let error = &error as &dyn std::error::Error;
                tracing::error!(cause, error, "settings refused, nothing changed; a restart would fail");
                self.tell(Some(chain(error)));
                self.manager.ready("settings refused, the old ones are in use");
                return None;
            }
        };
        let (mut changed, mut took_route) = (false, false);
        if let (Why::Hangup, Some(switch)) = (why, &self.switch) {
            changed = switch.set(Wish::from_use_colony(new.colony.enabled));
            // Without a route to the colony, which only a start makes, there is nothing to switch to.
            took_route = self.renewables.colony.is_some();
            tracing::info!(cause, use_colony = new.colony.enabled, changed, took_route, "settings read again");
        }
        let mut renewed = self.renewables.renew(old, &new);
        let told = if took_route { &mut renewed.taken } else { &mut renewed.needs_restart };
        told.extend(changed.then_some("USE_COLONY_OS"));
        let good = renewed.refused.is_none();
        self.tell(renewed.refused.clone());
        self.note(cause, renewed, took_route, Some(&new));
        counts.of(if good { "ok" } else { "refused" }).increment(1);
        self.manager.ready(if good { "settings read again" } else { "some settings refused, see the log" });
        Some((new, good))
    }
}
