//! `check`: one report of every component.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use crate::app::check::{self, CheckReport, CheckStatus};
use crate::config::{Config, Sources};
use crate::domain::clock::Clock;

pub const EXIT_CODES: &str = "Exit codes:
  0  healthy
  1  degraded: works, and something needs a look
  2  down: something does not work, or the configuration is refused

With --ready: 0 ready, 1 not ready. It asks the admin listener of `serve` or `bee` on this machine and nothing else, within 3 s,
and reads nothing of the configuration but where that is (GATEWAY_ADMIN_LISTEN).

Components: gateway and inbox (of the process that runs here, or the file of one that is stopped), colony, bees and
their heartbeats, ledger, Stripe key and webhook endpoint, clock, ages of key files, disk, configuration. Each is asked
under a deadline, and nothing is changed anywhere.";

/// Arguments of `check`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct CheckArgs {
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,

    /// Only ask the process on this machine whether it is ready, for health checks of containers. Prints only why it is not
    /// ready.
    #[arg(long, conflicts_with = "json")]
    pub ready: bool,
}

/// Makes and prints the report.
pub async fn run(args: CheckArgs, sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    if args.ready {
        return Ok(ready(sources).await);
    }
    let config = Config::for_tools(sources)?;
    crate::outbound::install_crypto();
    let report = Box::pin(check::run(&config, &clock)).await;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        let plain = sources.environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
        write!(out, "{}", table(&report, out.is_terminal() && !plain))?;
    }
    Ok(ExitCode::from(report.status.exit_code()))
}

/// For a health check, container engines know only the exit codes 0 and 1, so a refused setting is 1 here too.
async fn ready(sources: &Sources) -> ExitCode {
    let refused: anyhow::Error = match Config::admin_listen(sources) {
        Ok(address) => match check::ready(address).await {
            Ok(()) => return ExitCode::SUCCESS,
            Err(not_ready) => not_ready.into(),
        },
        Err(fault) => fault.into(),
    };
    eprintln!("not ready: {refused}");
    ExitCode::FAILURE
}

/// The report for people.
fn table(report: &CheckReport, colour: bool) -> String {
    let width = |text: fn(&check::Diagnosis) -> &str| {
        report.components.iter().map(|finding| text(finding).len()).max().unwrap_or_default()
    };
    let (names, states) = (width(|finding| finding.component), width(|finding| finding.status.as_str()));
    let mut text = String::new();
    for finding in &report.components {
        let status = format!("{:<states$}", finding.status.as_str());
        let status = if colour { painted(&status, finding.status) } else { status };
        // It may hold names and words of a server, which must not steer the terminal.
        let detail = finding.detail.replace(|letter: char| letter.is_control() && letter != '\n', " ");
        let _ = writeln!(text, "{:<names$}  {status}  {detail}", finding.component);
        if let Some(action) = &finding.action {
            let _ = writeln!(text, "{:<names$}  {:<states$}  -> {action}", "", "");
        }
    }
    let all = report.status.as_str();
    let all = if colour { painted(all, report.status) } else { all.to_owned() };
    let _ = writeln!(text, "\n{all}");
    text
}

fn painted(text: &str, status: CheckStatus) -> String {
    let colour = match status {
        CheckStatus::NotConfigured => "2",
        CheckStatus::Ok => "32",
        CheckStatus::Degraded => "33",
        CheckStatus::Down => "31",
    };
    format!("\x1b[{colour}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_coloured_only_when_asked() {
        let finding = |component, status, action: Option<&str>| check::Diagnosis {
            component,
            status,
            detail: "seen".to_owned(),
            action: action.map(str::to_owned),
        };
        let components =
            vec![finding("gateway", CheckStatus::Ok, None), finding("disk", CheckStatus::Degraded, Some("make room"))];
        let report = CheckReport { status: CheckStatus::Degraded, version: "1", checked_at: String::new(), components };
        let plain = table(&report, false);
        assert_eq!(
            plain,
            "gateway  ok        seen\ndisk     degraded  seen\n                   -> make room\n\ndegraded\n"
        );
        assert!(table(&report, true).contains("\x1b[33mdegraded\x1b[0m"));
    }
}
