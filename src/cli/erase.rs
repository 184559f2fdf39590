//! `erase`: removes a person's data from the inbox and the ledger.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;

use super::admin::{AdminClient, Reach, reach_all};
use super::{SOMETHING_LEFT, deeds};
use crate::admin::wire::{CommandAction, CommandDeed, EraseStepOrder};
use crate::app;
use crate::app::erase::{EraseRefused, ErasureOrder, ErasureReport, InboxSide, Refusal, erase};
use crate::config::Sources;
use crate::domain::clock::Clock;
use crate::domain::counted::counted;
use crate::inbox::{EraseStep, Inbox};
use crate::ledger::BoxFuture;
use crate::ledger::person::{Person, Subject};
use crate::telemetry::logging;

pub const NOTES: &str = "Erased: bodies in the inbox; payloads of events and raw objects of customers and subscriptions in the ledger (names, e-mail
and postal addresses, cards, metadata), except for ids, types and times; users that metadata names; the links from Stripe's
customers and subscriptions to the user.
Kept: the records that accounting needs, which are amounts, currencies, dates, states and Stripe's ids; and the rows of your own
tables. public.subscriptions then shows the user without a subscription; its row goes when you delete the user.
Refused: entries that are not settled, because no unapplied event may be lost. The command lists them and erases nothing. With
--include-unsettled it erases the rest; run it again when those entries are settled.

A tombstone stays: the SHA-256 of each id. If data of the person arrives later (a redelivery, a replay, `reconcile`), the ledger
records it without personal data and without the link, with the finding erased_person. The body of a later delivery stays in the
inbox for inbox.keep_bodies, or until you run this again. A person who comes back under the same id has no access until --forget
removes the tombstone.

If the inbox is in a database, the command first moves deliveries from this machine's inbox.spill_dir into it.

Out of reach, so take care of them yourself: Stripe (delete the customer there), backups, a Colonies server's history of
processes, SQLite's logs until the gateway restarts, old row versions in PostgreSQL until VACUUM, and inbox.spill_dir of gateways
elsewhere (run this again when their /health shows no deliveries there).

Works whether the gateway runs (with GATEWAY_ADMIN_TOKEN) or not. You can run it again at any time. The exit code is 3 if the
gateway has nothing of the person, and if --dry-run finds that the erasure would refuse.";

/// Arguments of `erase`.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("who").required(true).args(["user", "customer"])))]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct EraseArgs {
    /// A user of the app, with all of the user's customers and subscriptions.
    #[arg(long, value_name = "ID", value_parser = Subject::user)]
    pub user: Option<Subject>,

    /// One Stripe customer.
    #[arg(long, value_name = "cus_…", value_parser = Subject::customer)]
    pub customer: Option<Subject>,

    /// Say what would be erased, or why the erasure would refuse, and change nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// Why, for the audit line. Leave the person's name out of it.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// Erase the rest although entries of the person are not settled. These entries stay; run the command again later.
    #[arg(long)]
    pub include_unsettled: bool,

    /// Erase although the person still has active subscriptions.
    #[arg(long)]
    pub include_active: bool,

    /// The person has come back: remove the tombstone. Erased data stays erased.
    #[arg(long, conflicts_with_all = ["dry_run", "include_unsettled", "include_active"])]
    pub forget: bool,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Erases and reports what was erased.
pub async fn run(args: EraseArgs, sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    let config = crate::cli::tools(sources)?;
    logging::install(config.log.format, "warn,audit=info").context("log.format")?;
    let subject = args.user.clone().or_else(|| args.customer.clone()).context("name --user or --customer")?;
    let ledger = app::open_ledger(&config, &clock).await?;
    if args.forget {
        let marked = ledger.unmark_erased(&Person::of(&subject)).await?;
        audit("forget_erasure", &subject, args.reason.as_deref());
        let result = if marked > 0 { "taken away" } else { "there was none" };
        let told = CommandDeed {
            action: CommandAction::ForgetErasure,
            what: format!("{} {}", subject.kind(), subject.fingerprint()),
            result: Some(result.to_owned()),
            note: args.reason,
        };
        deeds::keep(&config, sources, &clock, told).await;
        let said = if marked > 0 { "the tombstone is taken away" } else { "there was no tombstone" };
        writeln!(std::io::stdout(), "{said}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let order = ErasureOrder {
        subject,
        dry_run: args.dry_run,
        include_unsettled: args.include_unsettled,
        include_active: args.include_active,
    };
    let report = match reach_all(&config, &clock).await? {
        Reach::Running(client) => erase(&Remote(client), &*ledger, &order).await,
        Reach::Stopped(inbox, threads) => {
            let side = Local(inbox);
            let report = erase(&side, &*ledger, &order).await;
            drop(side);
            tokio::task::spawn_blocking(move || threads.join()).await?;
            report
        }
    };
    if let Err(EraseRefused::Unsettled(report)) = &report
        && args.json
    {
        print_json(report)?;
    }
    let report = report?;
    if !report.dry_run {
        audit("erase", &order.subject, args.reason.as_deref());
        let (bodies, events) = (report.inbox_bodies, report.ledger_events);
        let told = CommandDeed {
            action: CommandAction::Erase,
            what: format!("{} {}", order.subject.kind(), report.fingerprint),
            result: Some(format!("bodies: {bodies}, payloads of events: {events}")),
            note: args.reason,
        };
        deeds::keep(&config, sources, &clock, told).await;
    }
    if args.json {
        print_json(&report)?;
    } else {
        print(&report, order.subject.kind())?;
    }
    let is_left = leads_nowhere(&report) || !report.would_refuse.is_empty();
    Ok(if is_left { ExitCode::from(SOMETHING_LEFT) } else { ExitCode::SUCCESS })
}

fn audit(action: &'static str, subject: &Subject, reason: Option<&str>) {
    let (kind, fingerprint) = (subject.kind(), subject.fingerprint());
    tracing::info!(target: "audit", action, kind, fingerprint, reason = reason.unwrap_or_default(), "command");
}

fn print_json(report: &ErasureReport) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, report)?;
    writeln!(out)?;
    Ok(())
}

/// Whether nothing is known of the person, now or before. Then the id may be wrong.
fn leads_nowhere(report: &ErasureReport) -> bool {
    let found = report.inbox_bodies + report.unsettled + report.ledger_events > 0;
    !found && report.ids.iter().sum::<usize>() <= 1 && !report.erased_before
}

fn print(report: &ErasureReport, kind: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let [users, customers, subscriptions, objects] = report.ids;
    writeln!(out, "{kind} {}", report.fingerprint)?;
    if report.erased_before {
        writeln!(out, "  was erased before; this is what has come since")?;
    }
    writeln!(
        out,
        "  leads to users: {users}, customers: {customers}, subscriptions: {subscriptions} ({} entitle), payments and other \
         objects: {objects}",
        report.entitling
    )?;
    writeln!(out, "{}", if report.dry_run { "would erase:" } else { "erased:" })?;
    let rows = report.ledger_rows;
    writeln!(out, "  inbox    bodies: {}", report.inbox_bodies)?;
    writeln!(out, "  ledger   payloads of events: {}", report.ledger_events)?;
    writeln!(out, "           reduced customers: {}, subscriptions: {}", rows.customers, rows.subscriptions)?;
    writeln!(out, "           links from Stripe's ids to the user: {}", rows.bindings)?;
    writeln!(out, "           amounts that no longer name the user, kept for accounting: {}", rows.revenue)?;
    if report.unsettled > 0 {
        let again = if report.dry_run { "would be left" } else { "were left (run this again then)" };
        writeln!(out, "entries that are not settled and {again}: {}", report.unsettled)?;
        for one in &report.unsettled_entries {
            writeln!(out, "  {} {} {} {}", one.entry, one.state, one.event_id, one.event_type)?;
        }
    }
    if !report.would_refuse.is_empty() {
        writeln!(out, "As ordered, the erasure would refuse and erase nothing:")?;
        for refusal in &report.would_refuse {
            writeln!(out, "  {}", advice(*refusal, report))?;
        }
    }
    if rows.not_shown > 0 {
        writeln!(out, "a public table could not be brought up to date: run this again")?;
    }
    if leads_nowhere(report) {
        writeln!(out, "The gateway has nothing of this {kind}: is the id right?")?;
        if !report.dry_run {
            writeln!(out, "It keeps a tombstone all the same; --forget removes it.")?;
        }
    }
    if !report.dry_run {
        writeln!(out, "Delete the customer at Stripe too; backups and old row versions age out by themselves.")?;
    }
    Ok(())
}

/// Why an erasure would refuse, and what to do about it.
fn advice(refusal: Refusal, report: &ErasureReport) -> String {
    match refusal {
        Refusal::Unsettled => format!(
            "{}: bring them to their end (`inbox list`, `inbox replay`), or erase the rest with --include-unsettled",
            counted(report.unsettled, "entry of the person is not settled", "entries of the person are not settled")
        ),
        Refusal::Active => format!(
            "{}: cancel at Stripe and wait for the events, or go on with --include-active, while Stripe goes on charging",
            counted(report.entitling, "subscription entitles the person", "subscriptions entitle the person")
        ),
    }
}

/// An inbox that is open here.
struct Local(Inbox);

impl InboxSide for Local {
    fn step<'a>(&'a self, person: &'a Person, after: i64, dry_run: bool) -> BoxFuture<'a, anyhow::Result<EraseStep>> {
        let person = person.clone();
        Box::pin(async move {
            let ids = person.ids();
            let step = self.0.erase_step(move |body| person.is_in(body), after, dry_run).await?;
            if !dry_run && (after == 0 || step.last.is_none()) {
                self.0.forget_references(ids).await?;
            }
            Ok(step)
        })
    }
}

/// The inbox of a running gateway.
struct Remote(AdminClient);

impl InboxSide for Remote {
    fn step<'a>(&'a self, person: &'a Person, after: i64, dry_run: bool) -> BoxFuture<'a, anyhow::Result<EraseStep>> {
        let order = EraseStepOrder { person: person.clone(), after, dry_run };
        Box::pin(async move { self.0.post("/admin/erase", &order).await })
    }
}
