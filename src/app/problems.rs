//! One alert per problem: says when the first entry of a kind waits for a person, and when the last one is gone.
//!
//! A kind is a code and an event type. What comes after the first is counted and not said again. The inbox is asked, not
//! followed, so that nothing is missed: neither what a crash left, nor what people did with the file.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::attention::{self, Latest};
use crate::config::ConsoleUrl;
use crate::dispatch::Context;
use crate::domain::counted::counted;
use crate::inbox::{AlertGroup, Inbox, ProblemCounts};
use crate::ledger::report::StateOfRecord;
use crate::lifecycle::{Shutdown, Supervisor};
use crate::notify::MatterKind;
use crate::telemetry::health::{Board, Level};
use crate::telemetry::metrics::{Metrics, problem_codes};

/// Name on the health board.
const COMPONENT: &str = "problems";

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// A look may take at most this part of the time: a slow one is followed by a longer wait.
const SHARE: u32 = 20;

/// How many kinds the health board names; the others are counted.
const NAMED_MAX: usize = 3;

/// Starts the watches over everything that waits for a person, in the inbox and in the ledger.
pub(super) async fn start(
    console: Option<&ConsoleUrl>,
    ledger: &Arc<dyn StateOfRecord>,
    context: &Context,
    supervisor: &mut Supervisor,
    shutdown: &Shutdown,
) -> Latest {
    let Context { inbox, instruments, .. } = context.clone();
    let watch = Watch::begin(inbox, instruments.metrics, instruments.board, console.map(page)).await;
    supervisor.start("problems", watch.run(shutdown.clone()));
    attention::start(console.map(page), ledger, context, supervisor, shutdown)
}

/// The page of the console that shows what waits for a person.
fn page(console: &ConsoleUrl) -> String {
    console.link(MatterKind::Problem.page())
}

struct Watch {
    inbox: Inbox,
    metrics: Arc<Metrics>,
    board: Board,
    open: ProblemCounts,
    commits: Option<u64>,
    /// The console's page about them.
    page: Option<String>,
}

impl Watch {
    /// Notes what waited before the start. That was reported when it happened.
    async fn begin(inbox: Inbox, metrics: Arc<Metrics>, board: Board, page: Option<String>) -> Self {
        let mut watch = Self { inbox, metrics, board, open: ProblemCounts::new(), commits: None, page };
        match watch.inbox.problem_counts().await {
            Ok(counts) => {
                if !counts.is_empty() {
                    let (problems, entries) = (counts.len(), counts.values().sum::<u64>());
                    tracing::warn!(
                        problems,
                        entries,
                        console = watch.page,
                        "problems of an earlier run still wait for a person: `inbox problems`"
                    );
                }
                let open: BTreeSet<String> = counts.keys().map(name).collect();
                if let Err(error) = watch.inbox.forget_alerts(AlertGroup::Problems, open.clone()).await {
                    warn(&error);
                }
                watch.inbox.alerts_to_say(AlertGroup::Problems, open, BTreeSet::new()).await;
                watch.open = counts;
            }
            Err(error) => warn(&error),
        }
        watch.publish();
        watch
    }

    /// Runs until draining begins.
    async fn run(mut self, shutdown: Shutdown) -> Result<(), Infallible> {
        let mut wait = LOOK;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.draining() => return Ok(()),
            }
            let started = self.inbox.clock().instant();
            self.look().await;
            wait = LOOK.max(self.inbox.clock().instant().duration_since(started) * SHARE);
        }
    }

    async fn look(&mut self) {
        let commits = self.inbox.stats().commits();
        // In a shared inbox, other gateways write too.
        if self.commits == Some(commits) && !self.inbox.is_shared() {
            return;
        }
        match self.inbox.problem_counts().await {
            Ok(counts) => {
                let before = std::mem::replace(&mut self.open, counts);
                self.say(&changes(&before, &self.open)).await;
                self.commits = Some(commits);
                self.publish();
            }
            Err(error) => warn(&error),
        }
    }

    /// Reports changes, unless another gateway has.
    async fn say(&self, changes: &[Change<'_>]) {
        let of = |is_opened: bool| {
            let these = changes.iter().filter(move |change| matches!(change, Change::Opened { .. }) == is_opened);
            these.map(Change::name).collect()
        };
        let to_say = self.inbox.alerts_to_say(AlertGroup::Problems, of(true), of(false)).await;
        let to_say = changes.iter().filter(|change| to_say.contains(&change.name()));
        to_say.for_each(|change| change.say(self.page.as_deref()));
    }

    fn publish(&self) {
        let mut by_code: BTreeMap<&str, u32> = problem_codes().into_iter().map(|code| (code, 0)).collect();
        for (code, _) in self.open.keys() {
            let code = if by_code.contains_key(code.as_str()) { code } else { "other" };
            *by_code.entry(code).or_default() += 1;
        }
        for (code, kinds) in by_code {
            self.metrics.problems.set(code, f64::from(kinds));
        }
        let (level, detail) = tell(&self.open);
        self.board.set(COMPONENT, level, detail, self.inbox.clock().now());
    }
}

fn warn(error: &crate::inbox::InboxError) {
    tracing::warn!(error = error as &dyn std::error::Error, "the inbox cannot be asked what waits for a person");
}

/// The text for the health board.
fn tell(open: &ProblemCounts) -> (Level, String) {
    if open.is_empty() {
        return (Level::Ok, "nothing waits for a person".to_owned());
    }
    let named: Vec<String> =
        open.iter().take(NAMED_MAX).map(|((code, kind), count)| format!("{count} {kind} ({code})")).collect();
    let more = open.len().saturating_sub(NAMED_MAX);
    let rest = if more > 0 { format!(" and {}", counted(more, "more kind", "more kinds")) } else { String::new() };
    let wait = if open.len() == 1 && open.values().sum::<u64>() == 1 { "waits" } else { "wait" };
    (Level::Degraded, format!("{}{rest} {wait} for a person: `inbox problems` says what to do", named.join(", ")))
}

#[derive(Debug, PartialEq, Eq)]
enum Change<'a> {
    Opened { code: &'a str, event_type: &'a str, entries: u64 },
    Resolved { code: &'a str, event_type: &'a str },
}

/// The name by which gateways tell the alert about a kind apart.
fn name((code, event_type): &(String, String)) -> String {
    format!("{code}:{event_type}")
}

impl Change<'_> {
    fn name(&self) -> String {
        let (Self::Opened { code, event_type, .. } | Self::Resolved { code, event_type }) = self;
        format!("{code}:{event_type}")
    }

    fn say(&self, console: Option<&str>) {
        match self {
            Self::Opened { code, event_type, entries } => {
                tracing::error!(
                    code,
                    event_type,
                    entries,
                    console,
                    "problem opened: entries wait for a person; see `inbox problems`"
                );
            }
            Self::Resolved { code, event_type } => tracing::info!(code, event_type, "problem resolved"),
        }
    }
}

fn changes<'a>(before: &'a ProblemCounts, now: &'a ProblemCounts) -> Vec<Change<'a>> {
    let opened = now.iter().filter(|(kind, _)| !before.contains_key(*kind));
    let opened = opened.map(|((code, event_type), entries)| Change::Opened { code, event_type, entries: *entries });
    let resolved = before.keys().filter(|kind| !now.contains_key(*kind));
    opened.chain(resolved.map(|(code, event_type)| Change::Resolved { code, event_type })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(kinds: &[(&str, &str, u64)]) -> ProblemCounts {
        kinds.iter().map(|(code, kind, count)| (((*code).to_owned(), (*kind).to_owned()), *count)).collect()
    }

    #[test]
    fn a_kind_is_said_once_when_it_opens_and_once_when_it_is_resolved() {
        let (none, one, more) = (counts(&[]), counts(&[("age", "x", 1)]), counts(&[("age", "x", 9), ("age", "y", 2)]));
        let opened = |event_type, entries| Change::Opened { code: "age", event_type, entries };
        assert_eq!(changes(&none, &one), [opened("x", 1)]);
        assert_eq!(changes(&one, &more), [opened("y", 2)]);
        assert_eq!(changes(&more, &one), [Change::Resolved { code: "age", event_type: "y" }]);
        assert_eq!(changes(&more, &more), []);
    }

    #[test]
    fn the_board_names_a_few_kinds() {
        assert_eq!(tell(&counts(&[])).0, Level::Ok);
        let (level, detail) = tell(&counts(&[("a", "w", 1), ("a", "x", 2), ("b", "y", 3), ("c", "z", 4)]));
        assert_eq!(level, Level::Degraded);
        assert!(detail.starts_with("1 w (a), 2 x (a), 3 y (b) and 1 more kind wait"), "{detail}");
    }
}
