//! `inbox export`: entries as JSON, one a line.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::Connection;
use super::desk::Desk;
use super::filter::Filter;
use crate::domain::clock::Clock;
use crate::domain::counted::counted;
use crate::inbox::{PAGE_ENTRIES_MAX, Selection};

/// Arguments of `inbox export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Write bodies too, with all personal data in them.
    #[arg(long)]
    reveal: bool,
    /// File to write, readable only by its owner; it must not exist yet. Without it, standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) connection: Connection,
    #[command(flatten)]
    pub(super) filter: Filter,
}

/// Writes the entries, newest first.
pub(super) async fn run(desk: &Desk, args: &ExportArgs, clock: &Clock) -> anyhow::Result<ExitCode> {
    let selection = args.filter.selection(clock)?;
    match &args.output {
        None => {
            write(desk, &selection, args.reveal, &mut std::io::stdout()).await?;
        }
        Some(path) => {
            let mut file = BufWriter::new(create(path)?);
            let entries = write(desk, &selection, args.reveal, &mut file).await?;
            let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            file.sync_all().with_context(|| format!("cannot write {}", path.display()))?;
            eprintln!("{} written to {}", counted(entries, "entry", "entries"), path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Creates a file that from the first moment only its owner can read.
fn create(path: &Path) -> anyhow::Result<std::fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).with_context(|| format!("cannot create {}; an export overwrites nothing", path.display()))
}

async fn write(desk: &Desk, selection: &Selection, reveal: bool, out: &mut impl Write) -> anyhow::Result<u64> {
    let (mut after, mut entries) = (None, 0);
    loop {
        let page = desk.list(selection, after, PAGE_ENTRIES_MAX, reveal).await?;
        for entry in &page.entries {
            serde_json::to_writer(&mut *out, entry)?;
            writeln!(out)?;
            entries += 1;
        }
        after = page.next;
        if after.is_none() {
            out.flush()?;
            return Ok(entries);
        }
    }
}
