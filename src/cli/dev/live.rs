//! The live line: what was received, applied and held back, what waits, and how long acknowledgements take.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _, stdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cli::traffic::{Latencies, Stats};
use crate::domain::clock::Clock;
use crate::inbox::Inbox;
use crate::ledger::report::StateOfRecord;

/// Time between two updates on a terminal.
const REDRAW: Duration = Duration::from_millis(500);

const LINE: Duration = Duration::from_secs(5);

pub(super) struct Live {
    inbox: Inbox,
    ledger: Arc<dyn StateOfRecord>,
    stats: Option<Arc<Stats>>,
    clock: Clock,
    terminal: bool,
    before: Mutex<Option<Latencies>>,
}

impl Live {
    pub(super) fn new(inbox: Inbox, ledger: Arc<dyn StateOfRecord>, stats: Option<Arc<Stats>>, clock: Clock) -> Self {
        Self { inbox, ledger, stats, clock, terminal: stdout().is_terminal(), before: Mutex::new(None) }
    }

    /// Shows the line again and again. Never ends by itself.
    pub(super) async fn show(&self) {
        let mut tick = tokio::time::interval(if self.terminal { REDRAW } else { LINE });
        tick.tick().await;
        loop {
            tick.tick().await;
            let line = self.line().await;
            let mut out = stdout().lock();
            // A closed terminal is no reason to stop serving.
            let _ = if self.terminal { write!(out, "\r\x1b[2K{line}") } else { writeln!(out, "{line}") };
            let _ = out.flush();
        }
    }

    pub(super) fn finish(&self) {
        if self.terminal {
            println!();
        }
    }

    async fn line(&self) -> String {
        let counts = self.inbox.counts().await.unwrap_or_default();
        let received = self.inbox.stats().appended();
        let recorded = self.ledger.summary(1).await.map(|summary| summary.counts).unwrap_or_default();
        let applied = recorded.events.saturating_sub(recorded.quarantined);
        let mut line = format!(
            "received {received}  applied {applied}  quarantined {}  dead {}  backlog {}",
            counts.quarantined,
            counts.dead,
            counts.backlog()
        );
        if let Some(oldest) = counts.oldest {
            let age = self.clock.now().since(oldest).as_secs_f64();
            let _ = write!(line, "  oldest {age:.1} s");
        }
        if let Some(p99) = self.p99() {
            let p99 = p99.as_secs_f64() * 1000.0;
            let _ = write!(line, "  p99 {p99:.1} ms");
        }
        line
    }

    /// For the acknowledgements since the previous line.
    fn p99(&self) -> Option<Duration> {
        let latencies = self.stats.as_ref()?.snapshot().latencies;
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = before.as_ref().map(|before| latencies.since(before));
        let p99 = recent.as_ref().unwrap_or(&latencies).quantile(990);
        *before = Some(latencies);
        p99
    }
}
