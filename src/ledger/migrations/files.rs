//! The files of `migrations/`, in the order in which they run.

use sha2::{Digest, Sha256};

/// What kind a file is, and so when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tables: a numbered file that runs once.
    Tables { version: i64 },
    /// A view of the schema `gateway`, made anew when its text changed.
    View,
    /// A function of the schema `gateway`, or an entry in `public`, made anew when its text changed.
    Function,
    /// Who may do what; runs after the others whenever one of them did.
    Privileges,
}

impl Kind {
    /// Name in `gateway.definitions`; nothing for a numbered file, which is not listed there.
    pub(super) const fn listed(self) -> Option<&'static str> {
        match self {
            Self::Tables { .. } => None,
            Self::View => Some("view"),
            Self::Function => Some("function"),
            Self::Privileges => Some("privileges"),
        }
    }
}

/// One file of `migrations/`.
#[derive(Debug)]
pub struct File {
    pub kind: Kind,
    /// The name of what it defines, with its schema; for a numbered file, the name after the number.
    pub name: &'static str,
    /// The statements.
    pub sql: &'static str,
}

impl File {
    /// SHA-256 of the statements, as hexadecimal text.
    pub fn checksum(&self) -> String {
        hex::encode(Sha256::digest(self.sql.as_bytes()))
    }

    /// The name for people: `0001_tables`, or that of the definition.
    pub fn label(&self) -> String {
        match self.kind {
            Kind::Tables { version } => format!("{version:04}_{}", self.name),
            Kind::View | Kind::Function | Kind::Privileges => self.name.to_owned(),
        }
    }
}

macro_rules! file {
    (view $name:literal) => {
        file!(Kind::View, concat!("gateway.", $name), concat!("views/", $name))
    };
    (function $name:literal) => {
        file!(Kind::Function, concat!("gateway.", $name), concat!("functions/", $name))
    };
    (entry $name:literal) => {
        file!(Kind::Function, concat!("public.", $name), concat!("entries/", $name))
    };
    ($kind:expr, $name:expr, $path:expr) => {
        File { kind: $kind, name: $name, sql: include_str!(concat!("../../../migrations/", $path, ".sql")) }
    };
}

macro_rules! files {
    ($($what:ident $name:literal),* $(,)?) => {
        &[
            file!(Kind::Tables { version: 1 }, "tables", "0001_tables"),
            file!(Kind::Tables { version: 2 }, "identity", "0002_identity"),
            file!(Kind::Tables { version: 3 }, "retention", "0003_retention"),
            file!(Kind::Tables { version: 4 }, "form", "0004_form"),
            file!(Kind::Tables { version: 5 }, "recurring_history", "0005_recurring_history"),
            $(file!($what $name),)*
            file!(Kind::Privileges, "privileges", "privileges"),
        ]
    };
}

/// Every file. SQL definitions come after those they use, because the database checks them when it makes them.
pub const ALL: &[File] = files![
    // For people and reports.
    view "subscription_grants",
    view "subscription_owners",
    view "subscription_access",
    view "active_subscriptions",
    view "recurring_revenue",
    view "counted_revenue",
    view "daily_revenue",
    // For other functions.
    function "columns_of",
    function "is_shadow",
    function "agree",
    function "millis",
    // Who else may write the public tables, and how they are used.
    function "user_policies",
    function "users_write",
    function "is_guarded",
    function "subscriptions_form",
    function "projection",
    // The public table that legacy readers query.
    function "user_id_type",
    function "names_users",
    function "left_to_build",
    function "index_subscriptions",
    function "guard_subscriptions",
    function "prepare_subscriptions",
    // What users have, and showing it.
    function "owners",
    function "subscriptions_of",
    function "set_recheck",
    function "best_of_users",
    function "fan_subscriptions",
    function "base_type",
    function "fits",
    function "as_public",
    function "platform_tier",
    function "words_taken",
    function "status_words",
    function "shown_status",
    function "user_column",
    function "wait_for",
    function "shown_release",
    function "shown_refused",
    function "shown_subscriptions",
    function "shown_user_rows",
    function "shown_subscription_tiers",
    function "shown_user_profiles",
    function "shown",
    function "form_stamp",
    function "form_in_force",
    function "show_without",
    function "show_now",
    function "show_parts",
    function "show",
    function "project",
    function "refresh",
    // Erasing a person.
    function "fingerprint",
    function "ids_in",
    function "users_in",
    function "reduced_object",
    function "reduced_event",
    function "ids_of",
    function "events_of_erased",
    function "without_personal_data",
    function "erase_find",
    function "erase_mark",
    function "erase_events",
    function "erase_rows",
    function "erase",
    // A batch.
    function "event_of",
    function "changing_events",
    function "judge",
    function "keep_contents",
    function "overlaid",
    function "alike",
    function "distance",
    function "endings_by_count",
    function "endings",
    function "told",
    function "last_of",
    function "rank_of",
    function "moments_before",
    function "complete",
    function "keep_only",
    function "take_kept",
    function "settle",
    function "settle_all",
    function "set_grace",
    function "touched",
    function "touched_users",
    function "merge_doubts",
    function "merge_truth",
    function "merge_money",
    function "record_events",
    function "with_payloads",
    function "await_standby",
    function "apply_batch",
    // Payloads that are no longer kept.
    function "needed_payloads",
    function "expire_payloads",
    // Counting again.
    function "recount_events",
    function "recount_differing",
    function "recount_stands",
    function "recount_money",
    function "recount_mend",
    function "recount",
    // Reports and comparing with Stripe.
    function "is_dropped",
    function "summary",
    function "subscription_lines",
    function "weak_policies",
    function "attention",
    function "finding_lines",
    function "known_events",
    function "witness",
    function "subscription_facts",
    function "subscriptions_after",
    function "take_lease",
    // Persons, events and money, for people.
    function "person_customers",
    function "person_subscriptions",
    function "person",
    function "business",
    function "subscription_page",
    function "event_report",
    function "note_recurring",
    function "desk",
    // Shadow mode.
    function "note_before",
    function "give_back_rows",
    function "give_back",
    function "set_shadow",
    function "plain_word",
    function "field_differences",
    function "cause_of",
    function "would_show",
    function "others_subscriptions",
    function "others_tiers",
    function "others_profiles",
    function "shadow_differences",
    function "shadow_report",
    function "old_owners",
    function "rehearse",
    // What a REST layer may see.
    entry "gateway_apply_batch",
    entry "gateway_attention",
    entry "gateway_check",
    entry "gateway_desk",
    entry "gateway_erase",
    entry "gateway_expire_payloads",
    entry "gateway_findings",
    entry "gateway_is_shadow",
    entry "gateway_known_events",
    entry "gateway_old_owners",
    entry "gateway_recount",
    entry "gateway_refresh",
    entry "gateway_rehearse",
    entry "gateway_set_shadow",
    entry "gateway_shadow_report",
    entry "gateway_subscription_facts",
    entry "gateway_subscriptions",
    entry "gateway_subscriptions_after",
    entry "gateway_summary",
    entry "gateway_take_lease",
    entry "gateway_witness",
];

/// Removes definitions whose text changed; runs between the numbered files and the definitions.
pub(super) const RETIRE: &str = include_str!("../../../migrations/runner/retire.sql");

/// Records what the database then has; runs after the definitions.
pub(super) const RECORD: &str = include_str!("../../../migrations/runner/record.sql");

/// Makes or completes the public table that legacy readers query; runs at the end if one of [`PREPARING`] ran.
pub(super) const PREPARE: &str = "SELECT gateway.prepare_subscriptions();\n";

/// Shows what a run in a transaction leaves to build; at its end, for people who run it with another tool.
pub(super) const LEFT: &str =
    "SELECT what, statement AS \"run each by itself, outside a transaction\" FROM gateway.left_to_build();\n";

/// The files on which the shape of `public.subscriptions` depends.
pub(super) const PREPARING: [&str; 8] = [
    "tables",
    "gateway.subscriptions_form",
    "gateway.user_id_type",
    "gateway.names_users",
    "gateway.left_to_build",
    "gateway.index_subscriptions",
    "gateway.guard_subscriptions",
    "gateway.prepare_subscriptions",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_listed_once_and_defines_what_it_is_named_after() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut there = BTreeSet::new();
        for (below, schema) in [("views", "gateway."), ("functions", "gateway."), ("entries", "public.")] {
            for file in fs::read_dir(folder.join(below)).unwrap() {
                let file = file.unwrap().path();
                there.insert(format!("{schema}{}", file.file_stem().unwrap().to_str().unwrap()));
            }
        }
        let definitions = ALL.iter().filter(|file| matches!(file.kind, Kind::View | Kind::Function));
        let listed: Vec<&str> = definitions.clone().map(|file| file.name).collect();
        assert_eq!(listed.len(), there.len());
        assert_eq!(listed.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), there);
        for file in definitions {
            let what = if file.kind == Kind::View { "VIEW" } else { "FUNCTION" };
            let made: Vec<&str> = file.sql.lines().filter(|line| line.starts_with("CREATE OR REPLACE ")).collect();
            assert_eq!(made.len(), 1, "{}: one definition a file", file.name);
            let begins = [" ", "("].map(|end| format!("CREATE OR REPLACE {what} {}{end}", file.name));
            assert!(begins.iter().any(|begin| made[0].starts_with(begin)), "{}: {}", file.name, made[0]);
        }
    }

    #[test]
    fn entries_are_named_in_the_privileges_and_run_with_an_empty_search_path() {
        let privileges = ALL.iter().find(|file| file.kind == Kind::Privileges).unwrap();
        for entry in ALL.iter().filter(|file| file.name.starts_with("public.")) {
            let quoted = format!("'{}'", entry.name.trim_start_matches("public."));
            assert!(privileges.sql.contains(&quoted), "{quoted} is not in privileges.sql");
            assert!(entry.sql.contains("SECURITY DEFINER SET search_path = ''"), "{}", entry.name);
        }
    }

    #[test]
    fn a_view_calls_no_function_of_the_gateway_so_that_these_can_be_replaced() {
        for view in ALL.iter().filter(|file| file.kind == Kind::View) {
            for function in ALL.iter().filter(|file| file.kind == Kind::Function) {
                assert!(!view.sql.contains(&format!("{}(", function.name)), "{} calls {}", view.name, function.name);
            }
        }
    }

    #[test]
    fn numbers_of_files_grow_and_what_prepares_is_there() {
        let versions: Vec<i64> = ALL
            .iter()
            .filter_map(|file| match file.kind {
                Kind::Tables { version } => Some(version),
                Kind::View | Kind::Function | Kind::Privileges => None,
            })
            .collect();
        assert!(versions.is_sorted_by(|one, next| one < next), "{versions:?}");
        assert!(PREPARING.iter().all(|name| ALL.iter().any(|file| file.name == *name)));
    }
}
