//! `keys generate`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::{RoleName, public_file_name, refuse_exposed};
use crate::domain::secret::Secret;
use crate::job::keys::files::{self, Access, KeyFileError};
use crate::job::keys::{KeyPair, Role, env_file};

/// Arguments of `keys generate`.
#[derive(Clone, Debug, clap::Args)]
pub struct GenerateArgs {
    /// Which keys. Without any, all of them.
    #[arg(value_enum)]
    pub roles: Vec<RoleName>,

    /// Write each key to a separate file in this directory, readable only by its owner. Existing keys stay. Without it, print
    /// the keys, but never into a file that others can read.
    #[arg(long, value_name = "DIRECTORY")]
    pub dir: Option<PathBuf>,
}

pub(super) fn run(args: &GenerateArgs) -> anyhow::Result<ExitCode> {
    let wanted = |role: &Role| args.roles.is_empty() || args.roles.iter().any(|name| name.role() == *role);
    let roles: Vec<Role> = Role::ALL.into_iter().filter(wanted).collect();
    let mut out = std::io::stdout().lock();
    let Some(directory) = &args.dir else {
        refuse_exposed(&out)?;
        let pairs = roles.into_iter().map(KeyPair::generate).collect::<Result<Vec<_>, _>>();
        let pairs = pairs.context("the operating system gives no randomness")?;
        out.write_all(env_file(&pairs).expose().as_bytes())?;
        eprintln!("These are secrets. Keep them in a file that only the gateway's user can read (umask 077).");
        return Ok(ExitCode::SUCCESS);
    };
    let directory = &std::path::absolute(directory)?;
    writeln!(out, "# Set these, for the gateway and where they are needed:")?;
    for role in roles {
        let (pair, path, made) = files::ensure_in(directory, role)?;
        let verb = if made { "made" } else { "kept" };
        writeln!(out, "\n# {verb} the {} key, {}", role.as_str(), pair.public)?;
        writeln!(out, "{}_FILE={}", role.secret_variable(), path.display())?;
        match role {
            Role::Attestation | Role::Sealing => {
                let public = directory.join(public_file_name(role));
                match files::write_new(&public, &Secret::new(pair.public), Access::Everybody) {
                    Ok(()) | Err(KeyFileError::Exists { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
                let variable = role.public_variable().unwrap_or_default();
                writeln!(out, "{variable}_FILE={}", public.display())?;
            }
            Role::Server | Role::Colony | Role::User | Role::Executor => {
                if let Some(variable) = role.public_variable() {
                    writeln!(out, "{variable}={}", pair.public)?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
