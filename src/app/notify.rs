//! What needs a person, looked at for messages: the inbox, the health board, the ages of keys, the last comparison with Stripe.
//!
//! It looks and never follows, beside the way of an event and of every component: what it is slow with, or cannot find out, holds
//! up nothing. What people were told of is kept in a file beside the inbox, so that a restart does not tell it again.

mod turns;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::turns::Turns;
use super::attention::Latest;
use super::check::keys;
use crate::config::{Config, ConsoleUrl, NotifyConfig, WatchedFile};
use crate::dispatch::Context;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::counted::{counted, lasting};
use crate::inbox::{Inbox, ProblemGroup, StateName};
use crate::lifecycle::{Shutdown, Supervisor};
use crate::notify::{
    Matter, MatterKind, Message, Outbox, SetupError, Standing, Told, Tracker, channels, digest, outbox,
};
use crate::reconcile::Handle;
use crate::telemetry::health::{Board, Level};

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// A look may take at most this part of the time.
const SHARE: u32 = 20;

/// How many looks pass between two at the ages of keys.
const KEY_LOOKS: u64 = 600;

/// File in the data directory that records the messages people have received.
const FILE_NAME: &str = "notifications.json";

/// Components whose matters are reported under another kind, or that belong to the messages themselves.
const NOT_TOLD: [&str; 3] = ["problems", "access", outbox::COMPONENT];

/// Starts looking and sending, if messages are sent anywhere. The returned error is about the settings.
pub(super) fn start(
    config: &Config,
    context: &Context,
    (access, reconcile): (Latest, Option<Handle>),
    supervisor: &mut Supervisor,
    shutdown: &Shutdown,
) -> Result<(), SetupError> {
    if !config.notify.is_on() {
        return Ok(());
    }
    let (outbox, workers) = Outbox::new(channels(&config.notify)?, &name(&config.notify), &context.instruments);
    for worker in workers {
        supervisor.start(worker.name(), worker.run(shutdown.clone()));
    }
    let file = config.inbox.data_dir.join(FILE_NAME);
    let watch = Watch {
        inbox: context.inbox.clone(),
        board: context.instruments.board.clone(),
        clock: context.instruments.clock.clone(),
        settings: config.notify.clone(),
        console: config.http.console_url.clone(),
        files: config.files.clone(),
        access,
        reconcile,
        outbox,
        tracker: Tracker::new(config.notify.after, told(&file)),
        turns: Turns::default(),
        looks: 0,
        file,
        started: context.instruments.clock.now(),
        problems: BTreeMap::new(),
        problems_are_whole: true,
        commits: None,
        keys: BTreeMap::new(),
        unsaved: false,
    };
    supervisor.start("notifications", watch.run(shutdown.clone()));
    Ok(())
}

/// Sends one message through every channel, at once and without a queue. Returns the result of each channel.
pub async fn test(config: &Config, clock: &Clock) -> Result<Vec<(&'static str, Result<(), String>)>, SetupError> {
    let message = Message::test(clock.now());
    let gateway = name(&config.notify);
    let mut results = Vec::new();
    for channel in channels(&config.notify)? {
        let sent = channel.send(&message, &gateway, clock).await;
        results.push((channel.name(), sent.map_err(|error| error.said)));
    }
    Ok(results)
}

/// The name of this gateway in messages.
fn name(settings: &NotifyConfig) -> String {
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    settings.name.clone().unwrap_or_else(host)
}

/// The matters that people were told of before. If the file cannot be read, they are told again.
fn told(file: &Path) -> Vec<Told> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "notifications: cannot read what was sent before");
            return Vec::new();
        }
    };
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Entries that wait for a person for one reason.
fn problem(group: &ProblemGroup) -> Standing {
    let ProblemGroup { state, code, event_type, count, sample_entry, sample_reason, .. } = group;
    let (events, are) = if *count == 1 { ("event", "is") } else { ("events", "are") };
    let state = match state {
        StateName::Quarantined => "held back",
        _ => "given up",
    };
    let entry = sample_entry.map(|entry| format!(" The last is entry {entry}")).unwrap_or_default();
    let why = sample_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let last = if entry.is_empty() { entry } else { format!("{entry}{why}.") };
    Standing {
        title: format!("{event_type} waits for a person ({code})"),
        detail: format!("{count} {events} ({event_type}) {are} {state} as {code}. Nothing is lost.{last}"),
        action: "`colony-gateway inbox problems` says what to do.".to_owned(),
    }
}

struct Watch {
    inbox: Inbox,
    board: Board,
    clock: Clock,
    settings: NotifyConfig,
    /// The console's address, for links.
    console: Option<ConsoleUrl>,
    files: Vec<WatchedFile>,
    access: Latest,
    reconcile: Option<Handle>,
    outbox: Outbox,
    tracker: Tracker,
    turns: Turns,
    looks: u64,
    file: PathBuf,
    started: Timestamp,
    /// The entries that wait for a person, as of `commits`.
    problems: BTreeMap<Matter, Standing>,
    /// Whether these are all.
    problems_are_whole: bool,
    commits: Option<u64>,
    keys: BTreeMap<Matter, Standing>,
    /// Whether the file lags behind what people were told.
    unsaved: bool,
}

impl Watch {
    /// Runs until draining begins.
    async fn run(mut self, shutdown: Shutdown) -> Result<(), Infallible> {
        let mut wait = LOOK;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.draining() => return Ok(()),
            }
            let started = self.clock.instant();
            if self.looks.is_multiple_of(KEY_LOOKS) {
                self.look_at_keys().await;
            }
            self.looks = self.looks.wrapping_add(1);
            self.look().await;
            wait = LOOK.max(self.clock.instant().duration_since(started) * SHARE);
        }
    }

    async fn look(&mut self) {
        let now = self.clock.now();
        let mut unknown = Vec::new();
        let mut open = self.components();
        let problems_are_whole = self.look_at_problems().await;
        if problems_are_whole != Some(true) {
            unknown.push(MatterKind::Problem);
        }
        if problems_are_whole.is_some() {
            open.extend(self.problems.clone());
        }
        let access = self.access.matters(&self.tracker.followed(MatterKind::Access));
        if !access.as_ref().is_some_and(|access| access.is_whole) {
            unknown.push(MatterKind::Access);
        }
        open.extend(access.map(|access| access.matters).unwrap_or_default());
        match self.inbox.counts().await {
            Ok(counts) => open.extend(self.backlog(counts.oldest, counts.backlog(), now)),
            Err(_) => unknown.push(MatterKind::Backlog),
        }
        match self.silence(now).await {
            Some(silence) => open.extend(silence),
            None => unknown.push(MatterKind::NoWebhook),
        }
        open.extend(self.keys.clone());
        open.extend(self.missed());
        let before = self.tracker.told();
        let news = self.tracker.look(&open, &unknown, now);
        for mut message in digest(self.turns.mine(&self.inbox, &mut self.tracker, news).await) {
            message.link = self.console.as_ref().map(|console| console.link(message.page()));
            self.outbox.send(&message);
        }
        let told = self.tracker.told();
        self.unsaved |= told != before;
        // Only matters that were sent or given up are kept as told. After a crash before that, people are told again.
        if self.outbox.is_idle() {
            self.turns.sent(&self.inbox).await;
            self.unsaved = self.unsaved && !self.save().await;
        }
        if unknown.is_empty() {
            let moments = (self.started, now);
            self.turns.forget(&self.inbox, (open.keys(), &told), (self.looks, self.settings.after), moments).await;
        }
    }

    /// Updates what waits for a person. Returns whether that is all: of very many groups the inbox lists only the largest, and
    /// one that is not listed may still be open. `None` if the inbox does not answer.
    async fn look_at_problems(&mut self) -> Option<bool> {
        let commits = self.inbox.stats().commits();
        // In a shared inbox, other gateways write too.
        if self.commits == Some(commits) && !self.inbox.is_shared() {
            return Some(self.problems_are_whole);
        }
        let problems = self.inbox.problems().await.ok()?;
        self.problems_are_whole = problems.are_whole();
        self.problems = problems
            .groups
            .iter()
            .map(|group| {
                (Matter::new(MatterKind::Problem, format!("{} {}", group.code, group.event_type)), problem(group))
            })
            .collect();
        self.commits = Some(commits);
        Some(self.problems_are_whole)
    }

    /// Components with trouble. The inbox is not one on the board.
    fn components(&self) -> BTreeMap<Matter, Standing> {
        let mut open = BTreeMap::new();
        for (name, component) in self.board.read() {
            if component.status == Level::Ok || NOT_TOLD.contains(&name) {
                continue;
            }
            let title = format!("{name} is {}", component.status.as_str());
            let action = "`colony-gateway check` says what to do.".to_owned();
            let standing = Standing { title, detail: component.detail, action };
            open.insert(Matter::new(MatterKind::Component, name), standing);
        }
        if !self.inbox.stats().writable() {
            let standing = Standing {
                title: "the inbox takes no writes".to_owned(),
                detail: if self.inbox.takes_deliveries() {
                    "Webhooks are stored in inbox.spill_dir until it takes writes again; no entry is worked on."
                        .to_owned()
                } else {
                    "Webhooks are answered 503, and Stripe repeats them.".to_owned()
                },
                action: "`colony-gateway check` says whether its disk is full or broken, or its database away."
                    .to_owned(),
            };
            open.insert(Matter::new(MatterKind::Component, "inbox"), standing);
        }
        open
    }

    fn backlog(&self, oldest: Option<Timestamp>, waiting: u64, now: Timestamp) -> Option<(Matter, Standing)> {
        let age = now.since(oldest?);
        let is_old = self.settings.backlog.is_some_and(|limit| age > limit);
        is_old.then(|| {
            let standing = Standing {
                title: format!("entries wait for more than {}", lasting(age)),
                detail: format!(
                    "{} way. Nothing is lost; access comes late.",
                    counted(waiting, "entry is on its", "entries are on their")
                ),
                action: "Look at the ledger, the colony and the bees with `colony-gateway check`.".to_owned(),
            };
            (Matter::new(MatterKind::Backlog, "oldest"), standing)
        })
    }

    /// Whether no webhook came for too long; `None` if the inbox does not answer.
    async fn silence(&self, now: Timestamp) -> Option<BTreeMap<Matter, Standing>> {
        let Some(limit) = self.settings.no_webhook else { return Some(BTreeMap::new()) };
        let newest = self.inbox.newest(1).await.ok()?;
        // Before the first webhook, the time since the start counts.
        let last = newest.first().map_or(self.started, |newest| newest.received);
        let silent = now.since(last);
        let standing = || {
            Standing {
            title: format!("no webhook for {}", lasting(silent)),
            detail: format!("The last event came at {}.", Timestamp::from_seconds(last.seconds())),
            action: "Look at the endpoint in Stripe's dashboard (`colony-gateway check` asks for it), and at the proxy before the \
                     gateway. `colony-gateway reconcile` fetches what was missed."
                .to_owned(),
        }
        };
        Some(
            (silent > limit).then(|| (Matter::new(MatterKind::NoWebhook, "silence"), standing())).into_iter().collect(),
        )
    }

    /// Events that never arrived, according to the last comparison.
    fn missed(&self) -> Option<(Matter, Standing)> {
        let status = self.reconcile.as_ref()?.status();
        let (ended, report) = (status.ended?, status.report?);
        let events = report.events.filter(|events| events.missing > 0 && !report.dry_run)?;
        let standing = Standing {
            title: format!("{} never arrived", counted(events.missing, "event of Stripe's", "events of Stripe's")),
            detail: format!("The comparison with Stripe found what was missing and took in {}.", events.inserted),
            action: "Look at the endpoint in Stripe's dashboard: does it fail, or was it switched off?".to_owned(),
        };
        Some((Matter::new(MatterKind::MissedEvents, ended), standing))
    }

    async fn look_at_keys(&mut self) {
        let (files, now) = (self.files.clone(), self.clock.now());
        let Ok(due) = tokio::task::spawn_blocking(move || keys::due(&files, now)).await else { return };
        let standing = |setting: &str, days: u64| Standing {
            title: format!("{setting} is due to be rotated"),
            detail: format!("Its file is {} old.", counted(days, "day", "days")),
            action: "The runbook has a section for each key (\"Keys\").".to_owned(),
        };
        self.keys = due
            .into_iter()
            .map(|(setting, days)| (Matter::new(MatterKind::KeyDue, setting), standing(setting, days)))
            .collect();
    }

    /// Saves what people were told of. Returns false if that fails.
    async fn save(&self) -> bool {
        let (file, told) = (self.file.clone(), self.tracker.told());
        let saved = tokio::task::spawn_blocking(move || {
            crate::domain::private::Replacement::prepare(&file)?.finish(&serde_json::to_vec(&told)?)
        });
        match saved.await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "notifications: cannot note what was sent");
                false
            }
            Err(_) => false,
        }
    }
}
