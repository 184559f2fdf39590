//! `notify test`: one message through every channel.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Subcommand;

use crate::app;
use crate::config::Sources;
use crate::domain::clock::Clock;

/// What to do with notifications.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum NotifyCommand {
    /// Send a message through every configured channel, and say which took it. The exit code is 1 if one did not.
    Test,
}

/// Runs the command.
pub async fn run(command: NotifyCommand, sources: &Sources, clock: &Clock) -> anyhow::Result<ExitCode> {
    let NotifyCommand::Test = command;
    let config = crate::cli::tools(sources)?;
    let results = app::notify::test(&config, clock).await?;
    anyhow::ensure!(
        !results.is_empty(),
        "no channel is set: set GATEWAY_NOTIFY_SLACK_URL, _DISCORD_URL, _TEAMS_URL, _WEBHOOK_URL or _SMTP_URL to the \
         gateway's value"
    );
    let mut out = std::io::stdout().lock();
    for (channel, result) in &results {
        match result {
            Ok(()) => writeln!(out, "{channel}  sent")?,
            Err(said) => writeln!(out, "{channel}  not sent: {said}")?,
        }
    }
    let is_good = results.iter().all(|(_, result)| result.is_ok());
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
