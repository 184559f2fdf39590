//! `shadow begin|claim|report|end`: running beside another system, and taking over from it.

mod report;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Subcommand;

use self::report::Finds;
use super::migrate::connect;
use super::{SOMETHING_LEFT, deeds, left_to_build};
use crate::admin::wire::{CommandAction, CommandDeed};
use crate::app;
use crate::app::evidence::Gathered;
use crate::app::shadow::Prediction;
use crate::config::{Config, ConfigError, Sources};
use crate::domain::clock::Clock;
use crate::domain::counted::counted;
use crate::ledger::report::{NotShown, StateOfRecord};
use crate::ledger::shadow::GivenBack;

/// What to do.
///
/// In shadow mode the gateway (`GATEWAY_MODE=shadow`) stores, checks and records every event and writes no public table.
/// A database that `migrate` makes under `GATEWAY_MODE=shadow` is in shadow mode from the first; another is switched, by the role
/// that owns the schema (`GATEWAY_LEDGER_OWNER_URL`) or by the service role.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ShadowCommand {
    /// Switch the database to shadow mode, in which no public table is written. After a takeover, this removes the rows that the
    /// gateway made, restores those that it replaced, and lists the rest. Restart the gateways with `GATEWAY_MODE=shadow`; until
    /// then the database takes nothing from them, and their entries wait.
    Begin,
    /// Look for the users of payers whom no event names: in Stripe's checkout sessions (with `STRIPE_SECRET_KEY`), and in rows of the
    /// old tables that users cannot write. These findings weigh less than events. The exit code is 3 if payers without a user remain,
    /// and 1 if Stripe did not list all sessions.
    Claim,
    /// Say what a takeover would change, for whom and why, and rehearse it to find users whom the public tables would refuse. Ends with
    /// go (exit code 0), or with no go (3) if a paying user would not get access or the old system did not cause a difference.
    Report(ReportArgs),
    /// Switch the database to live and write what users have to the public tables. First says how many users that is, and stops if
    /// some who pay would not get access. Restart the gateways with `GATEWAY_MODE=live` afterwards; until then their entries wait. You
    /// can run it again. The exit code is 1 if it stopped, and 3 if it took over and more users cannot be shown than
    /// `shadow report` predicted.
    End(EndArgs),
}

/// Arguments of `shadow end`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct EndArgs {
    /// Take over even if some who pay would not get access.
    #[arg(long)]
    pub anyway: bool,
}

/// Arguments of `shadow report`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct ReportArgs {
    /// Differences shown one by one, at most 10000; all are counted.
    #[arg(long, default_value = "50")]
    pub most: u32,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Refuses a Stripe key that is set but useless: without Stripe's answers, weaker evidence would decide who has access.
fn needs_its_key(sources: &Sources) -> Result<(), ConfigError> {
    Config::secret(sources, "STRIPE_SECRET_KEY").map(drop)
}

pub async fn run(command: ShadowCommand, sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    let config = Config::for_owner(sources)?;
    crate::cli::tell_unusable(&config);
    let ledger = app::open_ledger_for_a_person(&config, &clock).await?;
    let Some(is_shadow) = ledger.is_shadow().await? else {
        anyhow::bail!("the embedded ledger has no public tables: set DATABASE_URL, or SUPABASE_URL and its key");
    };
    let mut out = std::io::stdout().lock();
    match command {
        ShadowCommand::Begin => {
            let switched = ledger.set_shadow(true).await?;
            let was = if is_shadow { "was already" } else { "is now" };
            writeln!(out, "the database {was} in shadow mode: start the gateways with GATEWAY_MODE=shadow")?;
            match switched.given_back {
                Some(given_back) => print_given_back(&mut out, &given_back)?,
                None if !is_shadow => writeln!(out, "nothing was taken over here, so there is nothing to give back")?,
                None => {}
            }
            deeds::keep(&config, sources, &clock, told(CommandAction::ShadowBegin, None)).await;
        }
        ShadowCommand::Claim => {
            needs_its_key(sources)?;
            let gathered = app::evidence::gather(&config, &*ledger, &clock).await?;
            print_gathered(&mut out, &gathered)?;
            let found = format!("found {}, left {}", gathered.sessions + gathered.rows, gathered.left_total);
            deeds::keep(&config, sources, &clock, told(CommandAction::ShadowClaim, Some(found))).await;
            return Ok(match gathered.left_total {
                0 => ExitCode::SUCCESS,
                _ if gathered.fault.is_some() => ExitCode::FAILURE,
                _ => ExitCode::from(SOMETHING_LEFT),
            });
        }
        ShadowCommand::End(args) => {
            if is_shadow {
                needs_its_key(sources)?;
                print_gathered(&mut out, &app::evidence::gather(&config, &*ledger, &clock).await?)?;
            }
            let (code, transactions) = take_over(&mut out, &config, &*ledger, is_shadow, args).await?;
            if let Some(transactions) = transactions {
                let written = format!("live; transactions: {transactions}");
                deeds::keep(&config, sources, &clock, told(CommandAction::ShadowEnd, Some(written))).await;
            }
            return Ok(code);
        }
        ShadowCommand::Report(args) => {
            let report = ledger.shadow_report(args.most).await?;
            let attention = ledger.attention(args.most).await?;
            let prediction = if is_shadow { app::shadow::predict(&*ledger).await? } else { Prediction::default() };
            let finds = Finds { report, attention, prediction };
            if args.json {
                serde_json::to_writer_pretty(&mut out, &finds.to_json())?;
                writeln!(out)?;
            } else {
                report::print(&mut out, &finds)?;
            }
            let goes = finds.obstacles().is_empty();
            return Ok(if goes { ExitCode::SUCCESS } else { ExitCode::from(SOMETHING_LEFT) });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reports which users the evidence beside events names, and which subscriptions remain.
fn print_gathered(out: &mut impl std::io::Write, gathered: &Gathered) -> std::io::Result<()> {
    let Gathered { sessions, rows, unasked, fault, left, left_total } = gathered;
    if sessions + rows > 0 {
        writeln!(
            out,
            "found users in {} of Stripe's and in {} of the old tables",
            counted(*sessions, "checkout session", "checkout sessions"),
            counted(*rows, "row", "rows")
        )?;
    }
    if let Some(fault) = fault {
        let subscriptions = counted(*unasked, "subscription", "subscriptions");
        writeln!(out, "Stripe did not list the sessions of {subscriptions}: {fault}")?;
    }
    if *left_total > 0 {
        let named: Vec<&str> = left.iter().take(3).map(|one| one.id.as_str()).collect();
        writeln!(
            out,
            "{} no user, such as {}: give each to a user with `colony-gateway bind`",
            counted(*left_total, "subscription is paid for and names", "subscriptions are paid for and name"),
            named.join(", ")
        )?;
    }
    Ok(())
}

/// Reports what is as it was before the takeover, and what is not.
fn print_given_back(out: &mut impl std::io::Write, given_back: &GivenBack) -> std::io::Result<()> {
    let GivenBack { removed, restored, kept, kept_users, left } = given_back;
    writeln!(
        out,
        "{} before the takeover; removed: {removed}",
        counted(*restored, "row of the public tables is as it was", "rows of the public tables are as they were")
    )?;
    if *kept > 0 {
        let named = kept_users.len() as u64;
        let more = if *kept > named { format!(" and {} more", kept - named) } else { String::new() };
        let users = counted(*kept, "user has", "users have");
        writeln!(out, "{users} bought, changed or ended something since, so that these rows stay as they are:")?;
        writeln!(out, "  {}{more}", kept_users.join(", "))?;
    }
    for thing in left {
        writeln!(out, "not undone: {thing}")?;
    }
    Ok(())
}

/// A deed for the audit.
fn told(action: CommandAction, result: Option<String>) -> CommandDeed {
    CommandDeed { action, what: "the database".to_owned(), result, note: None }
}

/// Says how many it concerns, and takes over. Also returns how many transactions that took, if it took over.
async fn take_over(
    out: &mut impl std::io::Write,
    config: &Config,
    ledger: &dyn StateOfRecord,
    is_shadow: bool,
    args: EndArgs,
) -> anyhow::Result<(ExitCode, Option<u64>)> {
    let prediction = if is_shadow { app::shadow::predict(ledger).await? } else { Prediction::default() };
    if is_shadow {
        let (refused, unowned) = (prediction.refused.len(), prediction.unowned);
        writeln!(
            out,
            "{} would be written; {refused} of them cannot be shown completely; {} no user access",
            counted(prediction.users, "user", "users"),
            counted(unowned, "subscription is paid for and gives", "subscriptions are paid for and give")
        )?;
        if !prediction.is_whole() && !args.anyway {
            writeln!(
                out,
                "nothing was changed: `colony-gateway shadow report` names them and says what to do; `--anyway` takes over all \
                 the same"
            )?;
            return Ok((ExitCode::FAILURE, None));
        }
    }
    ledger.set_shadow(false).await?;
    // Before users are shown: without its indexes, a large table would be searched for each of them.
    match connect(config).await {
        Ok(mut connection) => left_to_build::build(out, &mut connection).await?,
        Err(_) => left_to_build::print(out, &ledger.attention(0).await?.left)?,
    }
    let transactions = app::shadow::show_all(ledger, |_| {}).await?;
    let NotShown { entitled, others } = ledger.attention(0).await?.not_shown;
    let written = counted(transactions, "transaction", "transactions");
    writeln!(out, "the database is live; what users have was written in {written}")?;
    writeln!(out, "start the gateways with GATEWAY_MODE=live")?;
    if entitled + others > 0 {
        let users = counted(entitled + others, "user", "users");
        writeln!(out, "{users} cannot be shown yet: `colony-gateway inbox problems` says why")?;
    }
    let foreseen = usize::try_from(entitled + others).is_ok_and(|number| number <= prediction.refused.len());
    Ok((if foreseen { ExitCode::SUCCESS } else { ExitCode::from(SOMETHING_LEFT) }, Some(transactions)))
}
