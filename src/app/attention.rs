//! One alert per reason for which paid subscriptions give no user access: reports the first such subscription, and when the
//! last is gone.
//!
//! It asks the ledger instead of following events, so that writes of other programs count as well. A look costs the ledger a
//! walk over its subscriptions, so the wait between two looks grows with the time that a look takes.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::dispatch::Context;
use crate::domain::clock::Clock;
use crate::domain::counted::counted;
use crate::inbox::{AlertGroup, Inbox};
use crate::ledger::report::{Attention, REPORT_LINES_MAX, Reason, StateOfRecord};
use crate::lifecycle::{Shutdown, Supervisor};
use crate::notify::{Matter, MatterKind, Standing};
use crate::revenue::rows::Severity;
use crate::telemetry::health::{Board, Level};
use crate::telemetry::instruments::Instruments;
use crate::telemetry::metrics::Metrics;

/// Name on the health board.
const COMPONENT: &str = "access";

/// Subject of the alert about users whom the public tables do not show.
const NOT_SHOWN: &str = "not_shown";

/// The matter of all subscriptions that no message names.
const MORE: &str = "more";

/// Shortest wait between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// A look may take at most this part of the time.
const SHARE: u32 = 100;

/// How many subscriptions the health board and alerts name; the others are counted.
pub(super) const NAMED_MAX: u32 = 3;

/// How many subscriptions messages name one by one; the others are counted.
const TOLD_MAX: usize = 100;

/// How many subscriptions a look asks for. A subscription of which people were told is over only if it is not among all of them, so a
/// look asks for far more than messages name.
const LOOKED_AT_MAX: u32 = REPORT_LINES_MAX;

/// What the ledger last reported, for messages to people; `None` while it does not answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Latest(Arc<Mutex<Option<Attention>>>);

impl Latest {
    fn set(&self, attention: Option<Attention>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = attention;
    }

    /// The open matters, one per subscription: each gets its own message. `followed` are the subscriptions that messages name
    /// already. `None` if they are not known.
    pub(super) fn matters(&self, followed: &BTreeSet<String>) -> Option<Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|attention| matters(attention, followed))
    }
}

/// What is open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) matters: BTreeMap<Matter, Standing>,
    /// Whether these are all. If they are not, one that is missing may still be open.
    pub(super) is_whole: bool,
}

fn matters(attention: &Attention, followed: &BTreeSet<String>) -> Open {
    let all: u64 = attention.reasons.values().sum();
    let is_whole = all <= attention.unowned.len() as u64;
    // One that messages name keeps its place, because others that come before it do not end it.
    let (known, others): (Vec<_>, Vec<_>) = attention.unowned.iter().partition(|one| followed.contains(&one.id));
    let taken = if is_whole {
        known.len()
    } else {
        followed.iter().filter(|key| ![MORE, NOT_SHOWN].contains(&key.as_str())).count()
    };
    let free = TOLD_MAX.saturating_sub(taken);
    let named: Vec<_> = known.into_iter().chain(others.into_iter().take(free)).collect();
    let mut open = BTreeMap::new();
    for one in &named {
        let standing = Standing {
            title: format!("{} is paid for and gives no user access ({})", one.id, one.reason),
            detail: format!("It is a subscription of {}.", one.customer_id.as_deref().unwrap_or("no customer")),
            action: format!("To do: {}.", one.reason.advice()),
        };
        open.insert(Matter::new(MatterKind::Access, &one.id), standing);
    }
    let rest = all.saturating_sub(named.len().max(taken) as u64);
    if rest > 0 {
        let standing = Standing {
            title: "many more subscriptions are paid for and give no user access".to_owned(),
            detail: format!("Subscriptions that no message names: {rest}."),
            action: "`colony-gateway inbox problems` lists them, and says what to do.".to_owned(),
        };
        open.insert(Matter::new(MatterKind::Access, MORE), standing);
    }
    if let Some(said) = not_shown(attention) {
        let standing = Standing {
            title: "the public tables do not show some users correctly".to_owned(),
            detail: format!("{said}."),
            action: "`colony-gateway inbox problems` names them, and says what to do.".to_owned(),
        };
        open.insert(Matter::new(MatterKind::Access, NOT_SHOWN), standing);
    }
    Open { matters: open, is_whole }
}

/// Watches the ledger.
struct Watch {
    /// Decides which gateway reports what.
    inbox: Inbox,
    ledger: Arc<dyn StateOfRecord>,
    metrics: Arc<Metrics>,
    board: Board,
    clock: Clock,
    /// The console's page about it.
    page: Option<String>,
    latest: Latest,
}

/// Starts the watch.
pub(super) fn start(
    page: Option<String>,
    ledger: &Arc<dyn StateOfRecord>,
    context: &Context,
    supervisor: &mut Supervisor,
    shutdown: &Shutdown,
) -> Latest {
    let latest = Latest::default();
    let Instruments { metrics, board, clock, .. } = context.instruments.clone();
    let (inbox, ledger) = (context.inbox.clone(), Arc::clone(ledger));
    let watch = Watch { inbox, ledger, metrics, board, clock, page, latest: latest.clone() };
    supervisor.start("access", watch.run(shutdown.clone()));
    latest
}

impl Watch {
    /// Runs until draining begins.
    async fn run(self, shutdown: Shutdown) -> Result<(), Infallible> {
        let mut open: Option<Attention> = None;
        let mut wait = LOOK;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.draining() => return Ok(()),
            }
            let started = self.clock.instant();
            if let Ok(attention) = self.ledger.attention(LOOKED_AT_MAX).await {
                self.say(open.as_ref(), &attention).await;
                self.publish(&attention);
                self.latest.set(Some(attention.clone()));
                open = Some(attention);
            } else {
                // The component that writes to the ledger reports that it does not answer. Its last report may no longer be
                // true.
                self.board.clear(COMPONENT);
                self.latest.set(None);
            }
            wait = LOOK.max(self.clock.instant().duration_since(started) * SHARE);
        }
    }

    /// Reports changes, unless another gateway has. The first look forgets reported alerts that are over.
    async fn say(&self, before: Option<&Attention>, now: &Attention) {
        let names_now = names(now);
        if before.is_none()
            && let Err(error) = self.inbox.forget_alerts(AlertGroup::Access, names_now.clone()).await
        {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, "inbox does not tell which alerts were given");
        }
        let nothing = Attention::default();
        let before = before.unwrap_or(&nothing);
        let names_before = names(before);
        let opened = names_now.difference(&names_before).cloned().collect();
        let resolved = names_before.difference(&names_now).cloned().collect();
        let to_say = self.inbox.alerts_to_say(AlertGroup::Access, opened, resolved).await;
        say(before, now, &to_say, self.page.as_deref());
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
    fn publish(&self, attention: &Attention) {
        for reason in Reason::ALL {
            let number = attention.reasons.get(&reason).copied().unwrap_or(0);
            self.metrics.unowned.set(reason.as_str(), number as f64);
        }
        for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
            let number = attention.findings.get(&severity).copied().unwrap_or(0);
            self.metrics.findings.set(severity.as_str(), number as f64);
        }
        self.metrics.orphans.set(attention.orphans as f64);
        self.metrics.not_shown.set("entitled", attention.not_shown.entitled as f64);
        self.metrics.not_shown.set("none", attention.not_shown.others as f64);
        let (level, detail) = tell(attention);
        self.board.set(COMPONENT, level, detail, self.clock.now());
    }
}

/// The text for the health board and `check`.
pub(super) fn tell(attention: &Attention) -> (Level, String) {
    let said: Vec<String> = [unowned(attention), not_shown(attention)].into_iter().flatten().collect();
    if said.is_empty() {
        return (
            Level::Ok,
            "every subscription that gives access has a user, and the public tables show all".to_owned(),
        );
    }
    (Level::Degraded, format!("{}; `inbox problems` says what to do", said.join("; ")))
}

/// Users whom the public tables do not show correctly.
fn not_shown(attention: &Attention) -> Option<String> {
    let first = attention.waiting.first()?;
    Some(format!("{} ({})", attention.not_shown, first.fault))
}

fn unowned(attention: &Attention) -> Option<String> {
    let all: u64 = attention.reasons.values().sum();
    if all == 0 {
        return None;
    }
    let named: Vec<String> = attention
        .unowned
        .iter()
        .take(usize::try_from(NAMED_MAX).unwrap_or(usize::MAX))
        .map(|one| format!("{} of {} ({})", one.id, one.customer_id.as_deref().unwrap_or("no customer"), one.reason))
        .collect();
    let rest = all.saturating_sub(named.len() as u64);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let which = counted(all, "subscription is paid for and gives", "subscriptions are paid for and give");
    Some(format!("{which} no user access: {}{more}", named.join(", ")))
}

/// The names by which gateways tell alerts apart.
fn names(attention: &Attention) -> BTreeSet<String> {
    let reasons = attention.reasons.keys().map(|reason| reason.as_str().to_owned());
    reasons.chain((attention.not_shown.entitled > 0).then(|| NOT_SHOWN.to_owned())).collect()
}

/// Reports that the alerts named in `to_say` opened or are resolved.
fn say(before: &Attention, now: &Attention, to_say: &BTreeSet<String>, console: Option<&str>) {
    match (before.not_shown.entitled, now.not_shown.entitled) {
        _ if !to_say.contains(NOT_SHOWN) => {}
        (0, 1..) => tracing::error!(
            code = NOT_SHOWN,
            users = now.not_shown.entitled,
            fault = now.waiting.first().map(|one| one.fault.as_str()),
            console,
            "problem opened: users pay and the public tables do not show it; see `inbox problems`"
        ),
        (1.., 0) => tracing::info!(code = NOT_SHOWN, "problem resolved"),
        _ => {}
    }
    let before = &before.reasons;
    let is_to_say = |reason: &Reason| to_say.contains(reason.as_str());
    let opened = now.reasons.iter().filter(|(reason, _)| !before.contains_key(*reason) && is_to_say(reason));
    for (reason, subscriptions) in opened {
        let named = now.unowned.iter().find(|one| one.reason == *reason);
        tracing::error!(
            code = "no_access",
            reason = reason.as_str(),
            subscriptions,
            subscription = named.map(|one| one.id.as_str()),
            customer = named.and_then(|one| one.customer_id.as_deref()),
            console,
            "problem opened: subscriptions are paid for and give no user access; see `inbox problems`"
        );
    }
    for reason in before.keys().filter(|reason| !now.reasons.contains_key(*reason) && is_to_say(reason)) {
        tracing::info!(code = "no_access", reason = reason.as_str(), "problem resolved");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::ledger::report::NotShown;
    use crate::ledger::report::Unowned;
    use crate::ledger::shadow::Waiting;
    use crate::notify::{News, Tracker};

    #[test]
    fn the_board_names_subscription_and_customer_and_counts_the_rest() {
        assert_eq!(tell(&Attention::default()).0, Level::Ok);
        let unowned = Unowned {
            id: "sub_1".to_owned(),
            customer_id: Some("cus_1".to_owned()),
            account: None,
            livemode: true,
            status: "active".to_owned(),
            tier: None,
            user_id: None,
            reason: Reason::Unnamed,
        };
        let reasons = BTreeMap::from([(Reason::Unnamed, 4)]);
        let (level, detail) = tell(&Attention { unowned: vec![unowned], reasons, ..Attention::default() });
        assert_eq!(level, Level::Degraded);
        assert!(detail.contains("sub_1 of cus_1 (unnamed) and 3 more"), "{detail}");
    }

    fn unnamed(id: String) -> Unowned {
        Unowned {
            id,
            customer_id: None,
            account: None,
            livemode: true,
            status: "active".to_owned(),
            tier: None,
            user_id: None,
            reason: Reason::Unnamed,
        }
    }

    #[test]
    fn a_subscription_that_others_come_before_is_not_over() {
        let after = Duration::from_mins(1);
        let mut tracker = Tracker::new(after, Vec::new());
        let at = |minutes: i64| Timestamp::from_seconds(1_800_000_000 + minutes * 60);
        let look = |tracker: &mut Tracker, ids: std::ops::Range<usize>, all: u64, minutes| {
            let unowned = ids.map(|id| unnamed(format!("sub_{id:04}"))).collect();
            let reasons = BTreeMap::from([(Reason::Unnamed, all)]);
            let open =
                matters(&Attention { unowned, reasons, ..Attention::default() }, &tracker.followed(MatterKind::Access));
            let unknown: &[MatterKind] = if open.is_whole { &[] } else { &[MatterKind::Access] };
            let news = tracker.look(&open.matters, unknown, at(minutes));
            news.into_iter().map(|message| (message.news, message.title)).collect::<Vec<_>>()
        };
        look(&mut tracker, 500..700, 200, 0);
        assert_eq!(
            look(&mut tracker, 500..700, 200, 1).len(),
            TOLD_MAX + 1,
            "one a subscription, and one for the rest"
        );
        for minutes in 2..9 {
            let before = look(&mut tracker, 400..700, 300, minutes);
            assert_eq!(
                before,
                [],
                "a hundred that come before end no other, and are not named as long as these are open"
            );
        }
        let named: u64 = 400;
        assert_eq!(look(&mut tracker, 400..500, named, 10), [], "those that are not among the first may be open");
        assert_eq!(look(&mut tracker, 400..500, named, 20), []);
        look(&mut tracker, 400..699, 299, 30);
        look(&mut tracker, 400..699, 299, 40);
        look(&mut tracker, 400..599, 199, 50);
        let over = look(&mut tracker, 400..599, 199, 60);
        let over: Vec<_> = over.into_iter().filter(|(news, _)| *news == News::Resolved).collect();
        assert!(over.len() == 1 && over[0].1.starts_with("sub_0599 "), "{over:?}");
    }

    #[test]
    fn the_board_tells_of_users_whom_the_tables_do_not_show() {
        let waiting = Waiting {
            user_id: "u_1".to_owned(),
            subscription_id: Some("sub_1".to_owned()),
            entitles: true,
            fault: "no profile".to_owned(),
        };
        let not_shown = NotShown { entitled: 1, others: 2 };
        let (level, detail) = tell(&Attention { waiting: vec![waiting], not_shown, ..Attention::default() });
        assert_eq!(level, Level::Degraded);
        assert!(detail.contains("3 users (1 of whom pays)") && detail.contains("(no profile)"), "{detail}");
    }
}
