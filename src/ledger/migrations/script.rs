//! What is sent to the database around the files: how a run begins, and the whole of one as a single file.
//!
//! The file that [`print()`] makes and the runner use the same statements, so that both end in the same database.

use serde_json::{Value, json};

use super::files::{ALL, Kind, LEFT, PREPARE, RECORD, RETIRE};
use super::role::RoleName;

/// What a run should leave behind, besides the files.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Whether a new database begins in shadow mode, with its public tables untouched. An existing one stays in its mode.
    pub shadow: bool,
    /// The role of `serve` and `bee`, which may then call what they call. Roles named earlier keep that right.
    pub runtime_role: Option<RoleName>,
}

/// The transaction of a run. What another run has committed must be seen once the lock is held, whatever the role's default is.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Key of the advisory lock under which one migration runs at a time: "gateway" in ASCII.
const LOCK: i64 = 0x0067_6174_6577_6179;

/// The release that has these files, without anything after its three numbers.
pub(super) const RELEASE: &str = concat!(
    env!("CARGO_PKG_VERSION_MAJOR"),
    ".",
    env!("CARGO_PKG_VERSION_MINOR"),
    ".",
    env!("CARGO_PKG_VERSION_PATCH")
);

/// The beginning of a run, within its transaction: bounds, the lock, and what the database should have in the end. A
/// migration that cannot lock a busy table gives up, so that the table's readers do not queue behind it.
pub(super) fn begin(wanted: &Wanted) -> String {
    let shadow = if wanted.shadow { "on" } else { "off" };
    // The name of a role has no character that could end a literal.
    let runtime = wanted.runtime_role.as_ref().map_or("", RoleName::as_str);
    format!(
        "SET LOCAL lock_timeout = '15s';\n\
         SET LOCAL statement_timeout = '10min';\n\
         SELECT pg_catalog.pg_advisory_xact_lock({LOCK});\n\
         -- A database that is new to the gateway begins in this mode; another stays in its own.\n\
         SELECT pg_catalog.set_config('colony_gateway.shadow', '{shadow}', true);\n\
         -- Who may call what `serve` and `bee` call, beside those who may already.\n\
         SELECT pg_catalog.set_config('colony_gateway.runtime_role', '{runtime}', true);\n\
         SELECT pg_catalog.set_config('colony_gateway.shipment', $shipment$\n{:#}\n$shipment$, true);\n",
        shipment()
    )
}

/// Every file with its checksum. It consists of names and digits, so that it fits between dollar quotes.
fn shipment() -> Value {
    let migrations = ALL.iter().filter_map(|file| match file.kind {
        Kind::Tables { version } => Some(json!({"version": version, "name": file.name, "checksum": file.checksum()})),
        Kind::View | Kind::Function | Kind::Privileges => None,
    });
    let definitions = ALL.iter().filter_map(|file| {
        let kind = file.kind.listed()?;
        Some(json!({"name": file.name, "kind": kind, "checksum": file.checksum()}))
    });
    json!({
        "release": RELEASE,
        "migrations": migrations.collect::<Vec<_>>(),
        "definitions": definitions.collect::<Vec<_>>(),
    })
}

/// The whole run as one file for `psql` or Supabase's tool, in one transaction. It may run again.
pub fn print(wanted: &Wanted) -> String {
    let before = |kind| matches!(kind, Kind::Tables { .. });
    let within = |kind| matches!(kind, Kind::View | Kind::Function);
    let after = |kind| kind == Kind::Privileges;
    format!(
        "-- The database of colony-gateway {RELEASE}: printed by `colony-gateway migrate --print`. It may run again.\n\n\
         {BEGIN};\n\n{}{}{}{}{}{}{}{}\nCOMMIT;\n",
        begin(wanted),
        texts(before),
        section("what changed is removed", RETIRE),
        texts(within),
        section("what is here is recorded", RECORD),
        texts(after),
        section("public.subscriptions", PREPARE),
        section("what a large public.subscriptions still lacks: indexes that are built beside its writers", LEFT),
    )
}

fn texts(wanted: impl Fn(Kind) -> bool) -> String {
    ALL.iter().filter(|file| wanted(file.kind)).map(|file| section(&file.label(), file.sql)).collect()
}

fn section(title: &str, sql: &str) -> String {
    format!("\n-- ======== {title}\n\n{sql}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_list_of_files_ends_its_quotes() {
        let list = shipment().to_string();
        assert!(!list.contains('$') && !list.contains('\''), "{list}");
    }

    #[test]
    fn what_is_printed_holds_each_file_once_within_one_transaction() {
        let printed = print(&Wanted::default());
        assert!(ALL.iter().all(|file| printed.matches(file.sql).count() == 1));
        assert_eq!((printed.matches("\nBEGIN ISOLATION").count(), printed.matches("\nCOMMIT;\n").count()), (1, 1));
        assert!(printed.ends_with("\nCOMMIT;\n"));
    }
}
