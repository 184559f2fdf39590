//! `findings`: what does not add up, and paid subscriptions that give no user access.

use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use crate::app;
use crate::config::Sources;
use crate::domain::clock::{Clock, Timestamp};
use crate::ledger::report::{FindingLine, FindingsWanted, REPORT_LINES_MAX, Severity, Unowned};

/// Arguments of `findings`.
#[derive(Clone, Debug, clap::Args)]
pub struct FindingsArgs {
    /// Only findings with this code, such as `invoice_total` or `no_access`.
    #[arg(long)]
    pub code: Option<String>,

    /// Only findings of this severity.
    #[arg(long, value_enum)]
    pub severity: Option<SeverityArg>,

    /// Only findings about this object.
    #[arg(long, value_name = "ID")]
    pub subject: Option<String>,

    /// Most findings.
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// How bad, on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SeverityArg {
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warning,
    /// Look now.
    Critical,
}

impl From<SeverityArg> for Severity {
    fn from(severity: SeverityArg) -> Self {
        match severity {
            SeverityArg::Info => Self::Info,
            SeverityArg::Warning => Self::Warning,
            SeverityArg::Critical => Self::Critical,
        }
    }
}

/// Code of a finding that no single event tells, but that is true now: a subscription entitles and gives no user access.
const NO_ACCESS: &str = "no_access";

#[derive(Debug, Serialize)]
struct Document<'a> {
    /// What is true now.
    present: Vec<&'a Unowned>,
    /// What events showed, the latest first.
    findings: &'a [FindingLine],
}

/// Said where the list is cut.
const MORE: &str = "there is more: a larger --limit shows it, up to 10000, or --code and --subject ask for less";

/// Whether `found` lines are more than are shown, or as many as the ledger names at most.
fn is_cut(found: usize, most: usize) -> bool {
    found > most || u32::try_from(found).is_ok_and(|found| found >= REPORT_LINES_MAX)
}

/// Asks the ledger and prints its answer.
pub async fn run(args: FindingsArgs, sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    let config = crate::cli::tools(sources)?;
    let ledger = app::open_ledger(&config, &clock).await?;
    let limit = args.limit.min(REPORT_LINES_MAX);
    let severity = args.severity.map(Severity::from);
    let wanted = FindingsWanted { code: args.code.clone(), severity, subject: args.subject.clone() };
    // One more than is shown, to find out whether there are more.
    let mut findings = ledger.findings(&wanted, limit.saturating_add(1).min(REPORT_LINES_MAX)).await?;
    let attention = ledger.attention(REPORT_LINES_MAX).await?;
    let asked = args.code.as_deref().is_none_or(|code| code == NO_ACCESS)
        && severity.is_none_or(|severity| severity == Severity::Critical);
    let fits = |one: &&Unowned| {
        let subject = args.subject.as_deref();
        asked && subject.is_none_or(|subject| subject == one.id || one.customer_id.as_deref() == Some(subject))
    };
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut present: Vec<&Unowned> = attention.unowned.iter().filter(fits).collect();
    let is_more = is_cut(findings.len(), most) || is_cut(present.len(), most);
    findings.truncate(most);
    present.truncate(most);
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &Document { present, findings: &findings })?;
        writeln!(out)?;
        if is_more {
            eprintln!("note: {MORE}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    if present.is_empty() && findings.is_empty() {
        writeln!(out, "no findings")?;
    }
    for one in present {
        let customer = one.customer_id.as_deref().unwrap_or("no customer");
        writeln!(out, "critical  {NO_ACCESS:<22}  {}  {} of {customer}: {}", one.id, one.status, one.reason.advice())?;
    }
    for line in &findings {
        let at = Timestamp::from_millis(line.created_ms);
        let FindingLine { code, severity, subject, detail, event_id, event_type, .. } = line;
        writeln!(out, "{:<8}  {code:<22}  {subject}  {detail}  ({event_type} {event_id}, {at})", severity.as_str())?;
    }
    if is_more {
        writeln!(out, "{MORE}")?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_cut_is_told_as_that_also_at_the_ledgers_own_bound() {
        let bound = usize::try_from(REPORT_LINES_MAX).unwrap();
        assert_eq!([0, 100, 101].map(|found| is_cut(found, 100)), [false, false, true]);
        assert_eq!([bound - 1, bound].map(|found| is_cut(found, bound)), [false, true]);
        assert!(MORE.contains(&REPORT_LINES_MAX.to_string()));
    }
}
