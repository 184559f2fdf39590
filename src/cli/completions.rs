//! `completions` and `man`: what packages install beside the program, made from the command line itself.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

pub const NOTES: &str = "For the shell that you are in:
  bash   source <(colony-gateway completions bash)
  zsh    colony-gateway completions zsh > \"${fpath[1]}/_colony-gateway\"
  fish   colony-gateway completions fish > ~/.config/fish/completions/colony-gateway.fish";

#[derive(Clone, Copy, Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// Directory for the pages, such as /usr/local/share/man/man1.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Prints the script.
pub fn completions(args: CompletionsArgs, mut command: Command) -> anyhow::Result<ExitCode> {
    // The generator takes output errors for bugs of the program. A reader that has seen enough is not one.
    let (name, mut script) = (command.get_name().to_owned(), Vec::new());
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for the program and for each command.
pub fn man(args: &ManArgs, command: Command) -> anyhow::Result<ExitCode> {
    let directory = &args.directory;
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    clap_mangen::generate_to(command, directory)
        .with_context(|| format!("cannot write pages into {}", directory.display()))?;
    Ok(ExitCode::SUCCESS)
}
