//! Orders about entries and looks at bodies, for the admin API and the console, which take them from operators.
//!
//! Guarantees: each leaves an audit line in the log, whichever way it ends, and all but a viewer's dry runs one beside the entries;
//! work on many entries leaves the inbox's writer to webhooks between its steps.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Control;
use crate::admin::audit::{Act, Audit};
use crate::admin::who::Who;
use crate::config::OperatorRole;
use crate::domain::ids::EntryId;
use crate::door::Problem;
use crate::inbox::{Action, EntryStory, InboxError, Order, OrderStep, Refusal, Selection, is_reference};

/// Steps of one request. For more, the client asks again from where it ended.
const STEPS_MAX: usize = 5;

/// Pause between two steps, so that webhooks come first.
pub(super) const STEP_PAUSE: Duration = Duration::from_millis(20);

/// One audit line, written when the work ends for any reason, even if the request was given up.
pub(super) struct OrderAudit<'a> {
    pub(super) kept: &'a Audit,
    pub(super) who: &'a Who,
    pub(super) order: &'a Order,
    pub(super) selection: &'a Selection,
    pub(super) dry_run: bool,
    pub(super) matched: usize,
    pub(super) changed: usize,
    pub(super) refused: BTreeMap<Refusal, usize>,
}

impl Drop for OrderAudit<'_> {
    fn drop(&mut self) {
        let Self { kept, who, order, selection, dry_run, matched, changed, refused } = self;
        tracing::info!(
            target: "audit",
            action = order.action.as_str(),
            who = &*who.name,
            peer = who.peer(),
            selection = told(selection),
            by = order.by,
            note = order.note,
            dry_run,
            matched,
            changed,
            refused = refused.values().sum::<usize>(),
            "admin"
        );
        // Only a bounded number of deeds is kept, and a viewer's looks must not push out what operators did.
        if *dry_run && who.role != OperatorRole::Operator {
            return;
        }
        let would = if *dry_run { "would change" } else { "changed" };
        let changed = if *dry_run { *matched - refused.values().sum::<usize>() } else { *changed };
        let act =
            Act::new(order.action.as_str(), told(selection)).with_result(format!("{would} {changed} of {matched}"));
        kept.note(who, Act { dry_run: *dry_run, note: order.note.as_deref(), ..act });
    }
}

/// A selection for the log, without persons.
pub(super) fn told(selection: &Selection) -> String {
    serde_json::to_string(&without_people(selection)).unwrap_or_default()
}

/// Whether an id may be that of a user, because it looks like neither a Stripe id nor a process of the colony.
pub fn may_be_a_user(id: &str) -> bool {
    let is_process = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    !is_process && !is_reference(id)
}

/// Whether a person may ask for these entries. A viewer must not see whose an event is, and so may not select by user.
///
/// # Errors
/// [`Problem::Forbidden`] for a viewer whose selection names a user, or what may be one.
pub fn may_select(who: &Who, selection: &Selection) -> Result<(), Problem> {
    if selection.users.is_empty() && !selection.refs.iter().any(|id| may_be_a_user(id)) {
        return Ok(());
    }
    who.may_reveal()
}

pub(super) fn without_people(selection: &Selection) -> Selection {
    let hidden = |ids: &[String], hides: fn(&str) -> bool| {
        ids.iter().map(|id| if hides(id) { "(redacted)".to_owned() } else { id.clone() }).collect()
    };
    let (users, refs) = (hidden(&selection.users, |_| true), hidden(&selection.refs, may_be_a_user));
    Selection { users, refs, ..selection.clone() }
}

/// Whether an order makes sense, whatever it finds.
pub(super) fn check(selection: &Selection, all: bool, order: &Order) -> Result<(), Problem> {
    let invalid = |detail: String| Err(Problem::Invalid { detail });
    if let Err(error) = selection.check() {
        return invalid(error.to_string());
    }
    if selection.is_empty() && !all {
        return invalid("nothing is selected: name entries, or say \"all\": true".to_owned());
    }
    if order.action == Action::Drop && order.note.as_deref().is_none_or(|note| note.trim().is_empty()) {
        return invalid("a drop needs a note that says why".to_owned());
    }
    Ok(())
}

impl<'a> OrderAudit<'a> {
    pub(super) fn new(
        kept: &'a Audit,
        who: &'a Who,
        order: &'a Order,
        selection: &'a Selection,
        dry_run: bool,
    ) -> Self {
        Self { kept, who, order, selection, dry_run, matched: 0, changed: 0, refused: BTreeMap::new() }
    }

    /// Adds the results of a step.
    pub(super) fn add(&mut self, step: &OrderStep) {
        self.matched += step.entries.len();
        for entry in &step.entries {
            match entry.refused {
                Some(refusal) => *self.refused.entry(refusal).or_default() += 1,
                None => self.changed += usize::from(!self.dry_run),
            }
        }
    }
}

impl Control {
    /// Carries out an order for the next entries of a selection, a bounded number of them, and returns where to continue.
    ///
    /// # Errors
    /// If the inbox does not answer, or the order needs a Stripe key that is not configured.
    pub async fn order(
        &self,
        who: &Who,
        selection: &Selection,
        order: &Order,
        dry_run: bool,
        after: Option<EntryId>,
    ) -> Result<OrderStep, Problem> {
        let mut audit = OrderAudit::new(&self.audit, who, order, selection, dry_run);
        // A refetch asks Stripe about each entry while the caller waits, so one step is enough.
        let goes_on = |steps| steps < STEPS_MAX && order.action != Action::Refetch;
        self.walk(&mut audit, after, goes_on).await
    }

    /// What an order would do to everything that a selection means, or to as much as can be looked at in this time.
    ///
    /// # Errors
    /// Those of [`Self::order`].
    pub async fn preview(
        &self,
        who: &Who,
        selection: &Selection,
        order: &Order,
        most: Duration,
    ) -> Result<OrderStep, Problem> {
        let mut audit = OrderAudit::new(&self.audit, who, order, selection, true);
        let clock = self.context.inbox.clock();
        let began = clock.instant();
        self.walk(&mut audit, None, |_| clock.instant().duration_since(began) <= most).await
    }

    /// Makes one step after the other, as long as `goes_on` agrees to the number of steps made.
    async fn walk(
        &self,
        audit: &mut OrderAudit<'_>,
        after: Option<EntryId>,
        goes_on: impl Fn(usize) -> bool + Send,
    ) -> Result<OrderStep, Problem> {
        let mut total = OrderStep { entries: Vec::new(), next: after };
        let mut steps = 0;
        loop {
            let step = self.step(audit.selection, audit.order, audit.dry_run, total.next).await?;
            audit.add(&step);
            total.entries.extend(step.entries);
            total.next = step.next;
            steps += 1;
            if total.next.is_none() || !goes_on(steps) {
                return Ok(total);
            }
            tokio::time::sleep(STEP_PAUSE).await;
        }
    }

    /// One step of an order, counted.
    pub(super) async fn step(
        &self,
        selection: &Selection,
        order: &Order,
        dry_run: bool,
        after: Option<EntryId>,
    ) -> Result<OrderStep, Problem> {
        let step: Result<OrderStep, InboxError> = match (order.action, &self.refetch) {
            (Action::Refetch, None) => return Err(Problem::NotConfigured),
            (Action::Refetch, Some(refetch)) => refetch.operate(selection, order, dry_run, after).await,
            _ => self.context.inbox.operate(selection, order, dry_run, after).await,
        };
        let step = step.map_err(Problem::InboxUnavailable)?;
        if !dry_run {
            let interventions = self.context.instruments.metrics.interventions.of(order.action.as_str());
            interventions.increment(step.changed() as u64);
        }
        Ok(step)
    }

    /// Everything about one entry, including its body; `None` if no entry has this number. The audit line keeps `reason`.
    ///
    /// # Errors
    /// If this operator may not see bodies, or the inbox does not answer.
    pub async fn reveal(&self, who: &Who, entry: EntryId, reason: Option<&str>) -> Result<Option<EntryStory>, Problem> {
        who.may_reveal()?;
        let story = self.context.inbox.story(entry, true).await.map_err(Problem::InboxUnavailable)?;
        if story.is_some() {
            let (by, peer) = (&*who.name, who.peer());
            tracing::info!(
                target: "audit", action = "reveal", who = by, peer, entry = entry.0, entries = 1, reason, "admin"
            );
            self.audit.note(who, Act { note: reason, ..Act::new("reveal", format!("entry {entry}")) });
        }
        Ok(story)
    }
}
