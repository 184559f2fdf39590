//! What a large `public.subscriptions` lacks, for the commands that prepare it: building it, or saying what to run.

use std::collections::BTreeSet;
use std::io::Write;

use crate::ledger::migrations::{self, Built};
use crate::ledger::report::LeftToBuild;
use crate::postgres::Link;

/// Reports what the preparation of the table warned of. Then builds the rest beside the table's writers and reports what became of
/// each part. A part that cannot be built is no error:
/// everything works without it, and `check` reports it.
pub(super) async fn build(out: &mut impl Write, connection: &mut Link) -> anyhow::Result<()> {
    for warning in connection.take_warnings() {
        writeln!(out, "note: {warning}")?;
    }
    let mut told = Vec::new();
    migrations::build(connection, migrations::LOCK_MAX, |left, built| told.push(line(left, built))).await?;
    let mut said = BTreeSet::new();
    for line in told {
        // Replacing an index takes two statements.
        if said.insert(line.clone()) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

fn line(left: &LeftToBuild, built: &Built) -> String {
    let what = &left.what;
    match built {
        Built::Done => format!("{what:<48} built, beside the writers of public.subscriptions"),
        Built::ByAnother => format!("{what:<48} another session builds it"),
        Built::NotUnique => format!(
            "note: {what} is not there, as public.subscriptions has users with several platform rows, whom readers that expect one \
             row show as free: merge the rows, then run `colony-gateway migrate` again"
        ),
        Built::Failed(error) => format!("note: {what} is not there, everything else is: {error}"),
    }
}

/// Prints what to run, if there is no connection to run it over.
pub(super) fn print(out: &mut impl Write, left: &[LeftToBuild]) -> std::io::Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "public.subscriptions is large and is searched whole for each user until these have run, each by itself and outside a \
         transaction, as the role that owns the table (`colony-gateway migrate` with GATEWAY_LEDGER_OWNER_URL runs them):"
    )?;
    for statement in left.iter().filter_map(|left| left.statement.as_deref()) {
        writeln!(out, "{statement};")?;
    }
    Ok(())
}
