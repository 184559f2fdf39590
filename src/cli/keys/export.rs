//! `keys export`: the secrets of a configuration for a place of deployment.
//!
//! It writes secrets to private files or to a pipe, to a terminal only if asked, and never puts one on a command line.

mod formats;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;

use self::formats::{env, file_name, kubernetes, one_line, quoted};
use super::refuse_exposed;
use crate::config::{Config, GivenSecret, Sources};
use crate::domain::secret::Secret;
use crate::job::keys::files::{self, Access};

pub(super) const FORMATS: &str = "Formats:
  env         NAME=value lines, to --out FILE (mode 0600) or to a pipe
  systemd     one file a secret in the directory --out (mode 0700), and the lines of the unit that use them; with
              --encrypt they are encrypted for this machine by systemd-creds
  kubernetes  a manifest of a Secret, to --out FILE or to a pipe (`… | kubectl apply -f -`)
  github      commands of `gh` that read each secret from a file; secrets that have no file are written to --out

Secrets of [[endpoint]] tables are not exported: they have files of their own.";

/// Arguments of `keys export`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExportArgs {
    /// For which place.
    #[arg(long, value_enum)]
    pub format: Format,

    /// File (env, kubernetes) or directory (systemd, github) to write. Existing files stay, and are an error.
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,

    /// Only these secrets, by the names of their variables.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,

    /// Encrypt credentials for this machine (systemd).
    #[arg(long)]
    pub encrypt: bool,

    /// Name of the Secret (kubernetes).
    #[arg(long, default_value = "colony-gateway")]
    pub name: String,

    /// Namespace of the Secret (kubernetes).
    #[arg(long)]
    pub namespace: Option<String>,

    /// Print secrets even if the output is a terminal.
    #[arg(long)]
    pub reveal: bool,
}

/// Places of deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A file of environment variables.
    Env,
    /// Credentials of a systemd unit.
    Systemd,
    /// A manifest.
    Kubernetes,
    /// Secrets of a repository at GitHub.
    Github,
}

pub(super) fn run(args: &ExportArgs, sources: &Sources) -> anyhow::Result<ExitCode> {
    ensure!(!args.encrypt || args.format == Format::Systemd, "--encrypt is for --format systemd");
    let mut secrets = Config::secrets(sources)?;
    if let Some(unknown) = args.only.iter().find(|name| !secrets.iter().any(|secret| secret.variable == **name)) {
        bail!("{unknown} is not set; `colony-gateway config show` lists what is");
    }
    secrets.retain(|secret| args.only.is_empty() || args.only.iter().any(|name| name == secret.variable));
    ensure!(!secrets.is_empty(), "no secret is set: there is nothing to export");
    match args.format {
        Format::Env => hand_out(args, &env(&secrets)?)?,
        Format::Kubernetes => hand_out(args, &kubernetes(&secrets, &args.name, args.namespace.as_deref())?)?,
        Format::Systemd => systemd(args, &secrets)?,
        Format::Github => github(args, &secrets)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to a private file, or to standard output unless that is a terminal.
fn hand_out(args: &ExportArgs, text: &Secret) -> anyhow::Result<()> {
    if let Some(path) = &args.out {
        files::write_new(path, text, Access::Owner)?;
        eprintln!("written to {}, readable by its owner alone", path.display());
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    ensure!(
        args.reveal || !out.is_terminal(),
        "these are secrets: name a file with --out, pipe them on, or show them here with --reveal"
    );
    refuse_exposed(&out)?;
    out.write_all(text.expose().as_bytes())?;
    Ok(())
}

fn directory(args: &ExportArgs) -> anyhow::Result<PathBuf> {
    let path = args.out.as_ref().context("name the directory to write with --out")?;
    let path = std::path::absolute(path)?;
    files::private_directory(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

fn systemd(args: &ExportArgs, secrets: &[GivenSecret]) -> anyhow::Result<()> {
    let directory = directory(args)?;
    let mut out = std::io::stdout().lock();
    let setting = if args.encrypt { "LoadCredentialEncrypted" } else { "LoadCredential" };
    writeln!(out, "# For [Service], in a drop-in of the unit:")?;
    for secret in secrets {
        let name = file_name(secret);
        let path = if args.encrypt { directory.join(format!("{name}.cred")) } else { directory.join(&name) };
        if args.encrypt {
            encrypt(&name, &one_line(secret), &path)?;
        } else {
            files::write_new(&path, &one_line(secret), Access::Owner)?;
        }
        writeln!(out, "{setting}={name}:{}", path.display())?;
        writeln!(out, "Environment={}_FILE=%d/{name}", secret.variable)?;
    }
    Ok(())
}

/// Lets `systemd-creds` encrypt a secret, which it reads from a pipe.
fn encrypt(name: &str, secret: &Secret, path: &Path) -> anyhow::Result<()> {
    ensure!(!path.exists(), "{} exists; move it away if it is not needed", path.display());
    let mut child = Command::new("systemd-creds")
        .args(["encrypt", "--name", name, "-"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run systemd-creds, which comes with systemd 250 and later; export without --encrypt")?;
    let written = child.stdin.take().context("no pipe to systemd-creds")?.write_all(secret.expose().as_bytes());
    ensure!(child.wait()?.success() && written.is_ok(), "systemd-creds did not encrypt {name}");
    Ok(())
}

fn github(args: &ExportArgs, secrets: &[GivenSecret]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for secret in secrets {
        let path = match (&secret.file, &args.out) {
            (Some(file), _) => std::path::absolute(file)?,
            (None, Some(_)) => {
                let path = directory(args)?.join(file_name(secret));
                files::write_new(&path, &one_line(secret), Access::Owner)?;
                path
            }
            (None, None) => bail!(
                "{} comes from the environment, and a command must not hold it: name a directory for its file with --out",
                secret.variable
            ),
        };
        writeln!(out, "gh secret set {} < {}", secret.variable, quoted(&path.display().to_string()))?;
    }
    Ok(())
}
