//! `reference`: pages of the manual that the program makes itself, `docs/reference/*.md`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, Command, ValueEnum};

use crate::config::reference;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Page {
    /// Every setting.
    Settings,
    /// Every command with its options.
    Commands,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct ReferenceArgs {
    /// Which page.
    page: Page,
}

/// Prints the page.
pub fn run(args: ReferenceArgs, command: Command) -> anyhow::Result<ExitCode> {
    let page = match args.page {
        Page::Settings => reference::page(),
        Page::Commands => commands_page(command),
    };
    std::io::stdout().write_all(page.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The page of all commands, from the `--help` of each.
pub fn commands_page(command: Command) -> String {
    let mut text = String::from(
        "# Commands\n\n\
         `colony-gateway reference commands` prints this page from the program itself: what `--help` says of each command.\n",
    );
    let mut command = shown(command);
    command.build();
    describe(&command, "", &mut text);
    text
}

/// Without the values that this machine's environment has.
fn shown(command: Command) -> Command {
    let command = command.mut_args(|argument| argument.hide_env_values(true));
    command.mut_subcommands(shown)
}

fn describe(command: &Command, above: &str, text: &mut String) {
    let name = format!("{above}{}", command.get_name());
    let help = command.clone().render_long_help().to_string();
    let _ = write!(text, "\n## `{name}`\n\n```text\n");
    for line in help.trim_end().lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.push_str("```\n");
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    for command in commands {
        describe(command, &format!("{name} "), text);
    }
}
