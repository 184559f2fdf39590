//! One desk for both ways to the inbox: a gateway's admin listener, or the file of a stopped one. Both end in the same
//! functions of the inbox.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;

use super::Connection;
use crate::admin::wire::{EntriesOrder, ListQuery, Resumed, ShownEntry, Waiting};
use crate::app;
use crate::cli::admin::{AdminClient, Reach, reach};
use crate::config::Config;
use crate::domain::clock::Clock;
use crate::domain::ids::EntryId;
use crate::inbox::{Action, Inbox, ListedPage, Order, OrderStep, Selection, objects_of};
use crate::ledger::desk::{EVENT_OBJECTS_MAX, EventReport, EventWanted};

/// Most subscriptions named among the problems; the others are counted.
const SUBSCRIPTIONS_NAMED_MAX: u32 = 100;

pub(in crate::cli) struct Desk {
    reach: Reach,
    config: Config,
}

impl Desk {
    pub(in crate::cli) async fn open(connection: &Connection, config: &Config, clock: &Clock) -> anyhow::Result<Self> {
        let reach = match &connection.admin {
            Some(url) => Reach::Running(AdminClient::at(url, config)?),
            None => reach(config, clock).await?,
        };
        Ok(Self { reach, config: config.clone() })
    }

    /// Closes the file, if one was opened.
    pub(in crate::cli) async fn close(self) {
        if let Reach::Stopped(inbox, threads) = self.reach {
            drop(inbox);
            // If the waiting thread breaks, there is nothing left to report.
            let _ = tokio::task::spawn_blocking(move || threads.join()).await;
        }
    }

    pub(in crate::cli) async fn list(
        &self,
        selection: &Selection,
        after: Option<EntryId>,
        limit: usize,
        reveal: bool,
    ) -> anyhow::Result<ListedPage> {
        match &self.reach {
            Reach::Running(client) => {
                let query = ListQuery { selection: selection.clone(), after, limit, reveal };
                client.get(&format!("/admin/entries?{query}")).await
            }
            Reach::Stopped(inbox, _) => Ok(inbox.list(selection, after, limit, reveal).await?),
        }
    }

    /// `None` if there is no such entry.
    pub(super) async fn story(&self, entry: EntryId, reveal: bool) -> anyhow::Result<Option<ShownEntry>> {
        match &self.reach {
            Reach::Running(client) => client.get(&format!("/admin/entries/{entry}?reveal={reveal}")).await.map(Some),
            Reach::Stopped(inbox, _) => {
                let Some(story) = inbox.story(entry, reveal).await? else { return Ok(None) };
                let ledger = self.event(inbox, entry, &story.entry.event_id).await?;
                let ledger_fault = ledger.is_none().then(|| "ledger_unavailable".to_owned());
                let ledger = ledger.map(|report| if reveal { report } else { report.masked() });
                Ok(Some(ShownEntry { story, ledger, ledger_fault }))
            }
        }
    }

    /// What the ledger has about the event of an entry; `None` if it does not answer.
    async fn event(&self, inbox: &Inbox, entry: EntryId, event: &str) -> anyhow::Result<Option<EventReport>> {
        let body = inbox.bodies(vec![entry], usize::MAX).await?.into_iter().next().flatten();
        let objects = body.map(|body| objects_of(&body, EVENT_OBJECTS_MAX)).unwrap_or_default();
        let Ok(ledger) = app::open_ledger(&self.config, inbox.clock()).await else { return Ok(None) };
        Ok(ledger.event(&EventWanted::new(event, objects)).await.ok())
    }

    pub(super) async fn problems(&self) -> anyhow::Result<Waiting> {
        match &self.reach {
            Reach::Running(client) => client.get("/admin/problems").await,
            Reach::Stopped(inbox, _) => {
                let problems = inbox.problems().await?;
                let ledger = app::open_ledger(&self.config, inbox.clock()).await.ok();
                let access = match ledger {
                    Some(ledger) => ledger.attention(SUBSCRIPTIONS_NAMED_MAX).await.ok(),
                    None => None,
                };
                Ok(Waiting { problems, access })
            }
        }
    }

    /// The next steps of a change. The answering side decides how many at once.
    pub(super) async fn operate(
        &self,
        selection: &Selection,
        order: &Order,
        dry_run: bool,
        after: Option<EntryId>,
    ) -> anyhow::Result<OrderStep> {
        match &self.reach {
            Reach::Running(client) => {
                let path = match order.action {
                    Action::Replay => "/admin/entries/replay",
                    Action::Release => "/admin/entries/release",
                    Action::Drop => "/admin/entries/drop",
                    Action::Refetch => "/admin/entries/refetch",
                };
                let (selection, by, note) = (selection.clone(), order.by.clone(), order.note.clone());
                // An earlier check made sure that the selection is complete.
                client.post(path, &EntriesOrder { selection, all: true, by, note, dry_run, after }).await
            }
            Reach::Stopped(inbox, _) if order.action == Action::Refetch => {
                let refetcher = app::reconcile::refetcher(&self.config, inbox.clone())?;
                let refetcher = refetcher.context("set STRIPE_SECRET_KEY: events are fetched from Stripe")?;
                Ok(refetcher.operate(selection, order, dry_run, after).await?)
            }
            Reach::Stopped(inbox, _) => Ok(inbox.operate(selection, order, dry_run, after).await?),
        }
    }

    /// Tells the ledger of drops. A running gateway does so by itself.
    pub(super) async fn tell_drops(&self) -> anyhow::Result<()> {
        let Reach::Stopped(inbox, _) = &self.reach else { return Ok(()) };
        if let Err(error) = app::tell_drops(&self.config, inbox).await {
            writeln!(
                std::io::stderr(),
                "the ledger does not know of it yet ({error}); the gateway tells it when it starts"
            )?;
        }
        Ok(())
    }

    pub(super) async fn resume(&self) -> anyhow::Result<ExitCode> {
        match &self.reach {
            Reach::Running(client) => {
                let resumed: Resumed = client.post("/admin/resume", &()).await?;
                let said = if resumed.was_paused {
                    "the gateway tries one entry now; when the ledger takes it, all others follow"
                } else {
                    "the gateway was not paused; entries that waited for another try are tried now"
                };
                writeln!(std::io::stdout(), "{said}")?;
            }
            Reach::Stopped(..) => {
                writeln!(std::io::stdout(), "no gateway runs here, so nothing is paused: start the gateway")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
