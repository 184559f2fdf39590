//! House rules that the compiler does not know: who may import whom, and how files look.
//!
//! A rule that is in the way is a question about the design; the tables below are its answer.

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/tree.rs"]
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use imports::{Import, imports, module_of};
use lexer::{Production, production, tokens};
use tree::{SourceFile, repository, rust_files};

const CRATE: &str = "colony_gateway";

/// Crates of the workspace whose importers the table names too.
const CRATES: [&str; 1] = ["colonies"];

/// Modules that any other may import.
const LEAVES: [&str; 4] = ["config", "domain", "outbound", "telemetry"];

/// What each module may import besides the leaves and itself. A longer path allows only what is below it.
const MAY_IMPORT: [(&str, &[&str]); 23] = [
    ("", &["cli", "lifecycle"]),
    // Shows all of it, and is on no event's way.
    (
        "admin",
        &[
            "bees",
            "colonies",
            "dispatch",
            "door",
            "inbox",
            "job",
            "ledger",
            "lifecycle",
            "reconcile",
            "revenue",
            "stripe",
        ],
    ),
    (
        "app",
        &[
            "admin",
            "backup",
            "bees",
            "colonies",
            "console",
            "dispatch",
            "door",
            "inbox",
            "job",
            "ledger",
            "lifecycle",
            "notify",
            "pipeline",
            "postgres::Address",
            "reconcile",
            "revenue",
            "stripe",
        ],
    ),
    // Knows the files of both as files: locks, formats, checks.
    ("backup", &["inbox", "ledger"]),
    ("bees", &["colonies", "job", "pipeline", "ledger", "lifecycle"]),
    // Subcommands wire nothing: `app` hands them what they show, and they name its types. `simulate` and `dev` make
    // traffic themselves.
    // `keys` and `colony` are about nothing but the colony, and `dev` brings a server along.
    (
        "cli",
        &[
            "admin::wire",
            "app",
            "backup",
            "colonies",
            "inbox",
            "job",
            "ledger",
            "lifecycle",
            "postgres::Link",
            "reconcile",
        ],
    ),
    // Settings are parsed into the types of those who use them, so that nothing is checked twice.
    (
        "config",
        &[
            "domain",
            "outbound",
            "postgres::Address",
            "revenue::grace",
            "stripe::endpoint",
            "telemetry::logging",
            "telemetry::trace",
        ],
    ),
    // Pages of what it shows; orders go through `admin`.
    ("console", &["admin", "bees", "dispatch", "door", "inbox", "ledger", "lifecycle", "reconcile", "revenue"]),
    ("dispatch", &["colonies", "inbox", "job", "pipeline", "ledger"]),
    // An identifier that entries carry.
    ("domain", &["colonies::ProcessId"]),
    ("door", &["inbox", "stripe", "lifecycle"]),
    ("inbox", &["postgres", "stripe"]),
    ("job", &["colonies"]),
    ("ledger", &["postgres", "revenue::order", "revenue::rows", "revenue::verdict"]),
    ("lifecycle", &[]),
    // Is told what is open, and asks nobody.
    ("notify", &["lifecycle"]),
    ("outbound", &[]),
    // The way to a database, which both stores take. What a fault means is theirs to say.
    ("postgres", &[]),
    // What pumps and bees share.
    ("pipeline", &["revenue", "ledger"]),
    // Asks Stripe, writes to the inbox and applies to the ledger: a second way in beside the door, and no part of it.
    ("reconcile", &["inbox", "ledger", "lifecycle", "revenue", "stripe"]),
    ("revenue", &["stripe"]),
    ("stripe", &[]),
    ("telemetry", &["domain", "outbound"]),
];

/// What the request path must not reach, not even through others.
const BEYOND_THE_DOOR: [&str; 8] = ["admin", "bees", "colonies", "console", "dispatch", "job", "ledger", "reconcile"];

/// Files of one folder that need each other, in a circle. Nothing may be added here.
const CIRCLES: [(&str, &[&str]); 0] = [];

/// Longest file, in lines without tests.
const LINES_MAX: usize = 400;

/// Files that may be longer, and why.
const LONG_FILES: [(&str, &str); 0] = [];

/// Macros and attributes that do not belong into the repository.
const FORBIDDEN: [(&str, &[&str]); 5] = [
    ("allow instead of expect with a reason", &["#", "[", "allow"]),
    ("allow instead of expect with a reason", &["#", "!", "[", "allow"]),
    ("unfinished code", &["todo", "!"]),
    ("unfinished code", &["unimplemented", "!"]),
    ("a debugging aid", &["dbg", "!"]),
];

/// Beginnings of paths that exist on one machine only; in parts, so that this file does not hold them.
const MACHINE_PATHS: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("C:\\", "Users"),
];

/// Whether a whole file under `src` is a test.
fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Everything that a person wrote in Rust: of the gateway, its tests and its crates.
fn all_rust_files() -> impl Iterator<Item = SourceFile> {
    ["src", "tests", "crates"].into_iter().flat_map(rust_files)
}

/// Files under `src` without their tests, by path below `src`.
fn sources() -> Vec<(String, Production)> {
    rust_files("src")
        .into_iter()
        .filter(|file| !is_test_file(&file.path))
        .map(|file| (file.path["src/".len()..].to_owned(), production(&file.text)))
        .collect()
}

/// Why the import is against the rules, if it is.
fn violation(file: &str, import: &Import) -> Option<String> {
    let from = module_of(file).first().cloned().unwrap_or_default();
    let to = import.path.first()?;
    if *to == from || LEAVES.contains(&to.as_str()) && !LEAVES.contains(&from.as_str()) {
        return None;
    }
    let path = import.path.join("::");
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(module, _)| *module == from) else {
        return Some(format!("src/{file}: the module {from} is not in the table of tests/tidy.rs"));
    };
    let is_below = |allowed: &&str| path == **allowed || path.starts_with(&format!("{allowed}::"));
    if allowed.iter().any(is_below) {
        return None;
    }
    Some(format!("src/{file}:{}: {from} must not import {path}", import.line))
}

/// Modules that can be reached from `start` over imports.
fn reachable(edges: &BTreeMap<String, BTreeSet<String>>, start: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![start.to_owned()];
    while let Some(module) = open.pop() {
        if reached.insert(module.clone()) {
            open.extend(edges.get(&module).into_iter().flatten().cloned());
        }
    }
    reached
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}\n", found.join("\n  "));
}

#[test]
fn every_module_imports_only_what_the_design_lets_it() {
    let found: Vec<String> = sources()
        .iter()
        .flat_map(|(file, code)| {
            imports(&code.tokens, file, CRATE, &CRATES)
                .into_iter()
                .filter_map(|import| violation(file, &import))
                .collect::<Vec<_>>()
        })
        .collect();
    assert_none("imports against the table in tests/tidy.rs", &found);
}

#[test]
fn the_request_path_never_reaches_the_broker_the_bees_or_the_ledger() {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, code) in sources() {
        let Some(from) = module_of(&file).first().cloned() else { continue };
        // The name of a process is no way to reach the server that gave it.
        let targets = imports(&code.tokens, &file, CRATE, &CRATES)
            .into_iter()
            .filter(|import| import.path != ["colonies", "ProcessId"])
            .filter_map(|import| import.path.first().cloned());
        edges.entry(from).or_default().extend(targets);
    }
    let reached = reachable(&edges, "door");
    let found: Vec<String> =
        BEYOND_THE_DOOR.iter().filter(|module| reached.contains(**module)).map(|m| (*m).to_owned()).collect();
    assert_none("the door reaches", &found);
}

#[test]
fn no_files_of_a_folder_need_each_other() {
    let mut found = Vec::new();
    for (folder, files) in circles::circles(&sources(), CRATE) {
        let excused: &[&str] = CIRCLES.iter().find(|(known, _)| *known == folder).map_or(&[], |(_, members)| members);
        if files.iter().any(|file| !excused.contains(&file.as_str())) {
            found.push(format!("src/{folder}: {}", files.into_iter().collect::<Vec<_>>().join(", ")));
        }
    }
    assert_none("files that need each other, in a circle", &found);
}

#[test]
fn every_file_says_what_it_is_for() {
    let files = all_rust_files();
    let found: Vec<String> = files.filter(|file| !file.text.starts_with("//! ")).map(|file| file.path).collect();
    assert_none("files that do not begin with //!", &found);
}

#[test]
fn modules_are_files_of_their_name() {
    let files = all_rust_files();
    let found: Vec<String> = files.filter(|file| file.path.ends_with("/mod.rs")).map(|file| file.path).collect();
    assert_none("name.rs beside name/ instead of", &found);
}

#[test]
fn files_stay_short() {
    let is_excused = |path: &str| LONG_FILES.iter().any(|(file, _)| *file == path);
    let mut found = Vec::new();
    for (file, code) in sources() {
        let path = format!("src/{file}");
        match (code.lines > LINES_MAX, is_excused(&path)) {
            (true, false) => found.push(format!("{path}: {} lines without tests, at most {LINES_MAX}", code.lines)),
            (false, true) => found.push(format!("{path}: needs no exception any more")),
            _ => {}
        }
    }
    let files: Vec<String> = rust_files("src").into_iter().map(|file| file.path).collect();
    let gone = LONG_FILES.iter().filter(|(path, _)| !files.iter().any(|file| file == path));
    found.extend(gone.map(|(path, _)| format!("{path}: is not there any more")));
    assert_none("long files", &found);
}

#[test]
fn nothing_unfinished_is_left_behind() {
    let mut found = Vec::new();
    for file in all_rust_files() {
        found.extend(forbidden(&file));
    }
    assert_none("not for the repository", &found);
}

fn forbidden(file: &SourceFile) -> Vec<String> {
    let tokens = tokens(&file.text);
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        for (what, pattern) in FORBIDDEN {
            let rest = &tokens[at..];
            if rest.len() >= pattern.len() && rest.iter().zip(pattern).all(|(token, part)| token.is(part)) {
                found.push(format!("{}:{}: {what}", file.path, tokens[at].line));
            }
        }
    }
    found
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    let mut found = Vec::new();
    for file in repository() {
        for (number, line) in file.text.lines().enumerate() {
            if MACHINE_PATHS.iter().any(|path| line.contains(path)) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    assert_none("paths of one machine", &found);
}

#[test]
fn tests_are_named_for_behaviour() {
    let mut found = Vec::new();
    for file in all_rust_files() {
        let tokens = tokens(&file.text);
        let names = tokens.windows(2).filter(|pair| pair[0].is("fn")).map(|pair| &pair[1]);
        let badly = names.filter(|name| name.text.starts_with(concat!("test", "_")));
        found.extend(badly.map(|name| format!("{}:{}: {}", file.path, name.line, name.text)));
    }
    assert_none("the prefix of these names says nothing", &found);
}

/// Names of the crates under a table of the manifest, as code writes them.
fn dependencies(manifest: &str, table: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().expect("Cargo.toml is TOML");
    let names = manifest.get(table).and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys);
    names.map(|name| name.replace('-', "_")).collect()
}

/// Names that stand at the beginning of a path or behind `use`: of crates, among others.
fn leading_names(file: &SourceFile) -> BTreeSet<String> {
    let tokens = tokens(&file.text);
    let leads = |at: &usize| {
        let before = at.checked_sub(1).map(|before| tokens[before].text.as_str());
        let after = tokens.get(at + 1).map(|after| after.text.as_str());
        before != Some("::") && (after == Some("::") || before == Some("use"))
    };
    (0..tokens.len()).filter(leads).map(|at| tokens[at].text.clone()).collect()
}

#[test]
fn every_dependency_is_used() {
    let mut found = Vec::new();
    for file in repository() {
        let Some(package) = file.path.strip_suffix("Cargo.toml").filter(|package| *package != "fuzz/") else {
            continue;
        };
        let names = |folder: &str| -> BTreeSet<String> {
            rust_files(&format!("{package}{folder}")).iter().flat_map(leading_names).collect()
        };
        let (src, tests) = (names("src"), names("tests").into_iter().chain(names("benches")).collect::<BTreeSet<_>>());
        let unused = dependencies(&file.text, "dependencies").into_iter().filter(|name| !src.contains(name));
        let unused_by_tests = dependencies(&file.text, "dev-dependencies")
            .into_iter()
            .filter(|name| !src.contains(name) && !tests.contains(name));
        found.extend(unused.chain(unused_by_tests).map(|name| format!("{}: {name}", file.path)));
    }
    assert_none("dependencies that nothing uses", &found);
}

mod rules {
    //! The rules themselves can fail.

    use super::*;

    fn import(path: &str) -> Import {
        Import { path: path.split("::").map(str::to_owned).collect(), line: 1 }
    }

    fn file(text: &str) -> SourceFile {
        SourceFile { path: "src/a.rs".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn an_import_against_the_table_is_found() {
        for (from, path) in [
            ("door/webhook.rs", "ledger::Outcome"),
            ("job/keys.rs", "revenue::verdict"),
            ("inbox.rs", "colonies::client::Client"),
            ("ledger/sqlite.rs", "revenue::guardian::Guardian"),
            ("cli/dev.rs", "stripe::signature::verify"),
            ("main.rs", "app::run"),
            ("domain/clock.rs", "config::Config"),
            ("telemetry/metrics.rs", "config::Config"),
            ("config/settings.rs", "lifecycle::Shutdown"),
            ("newcomer.rs", "stripe"),
        ] {
            assert!(violation(from, &import(path)).is_some(), "{from} may import {path}");
        }
    }

    #[test]
    fn an_import_that_the_table_allows_is_not() {
        for (from, path) in [
            ("door/webhook.rs", "inbox::Receipt"),
            ("door/webhook.rs", "door::problem::Problem"),
            ("ledger/sqlite.rs", "revenue::rows::Version"),
            ("job.rs", "domain::clock::Clock"),
            ("job.rs", "colonies::messages::Process"),
            ("main.rs", "cli"),
        ] {
            assert_eq!(violation(from, &import(path)), None);
        }
    }

    #[test]
    fn what_is_reached_through_others_is_found() {
        let edges = [("door", "inbox"), ("inbox", "stripe"), ("stripe", "ledger")];
        let edges = edges.map(|(from, to)| (from.to_owned(), BTreeSet::from([to.to_owned()])));
        assert!(reachable(&BTreeMap::from(edges), "door").contains("ledger"));
    }

    #[test]
    fn unfinished_code_is_found_but_not_in_comments() {
        assert_eq!(forbidden(&file("fn a() { todo!() } // dbg!(x)")).len(), 1);
        assert_eq!(forbidden(&file("#![allow(x)]\n#[allow(dead_code)]\nfn a() { dbg!(1) }")).len(), 3);
        assert_eq!(forbidden(&file("#[expect(dead_code, reason = \"todo!()\")] fn allow() {}")).len(), 0);
    }

    #[test]
    fn use_of_a_dependency_is_told_from_a_name() {
        assert!(leading_names(&file("use bytes::Bytes;")).contains("bytes"));
        assert!(leading_names(&file("let a = hex::encode(b);")).contains("hex"));
        assert!(!leading_names(&file("let hex = my::hex::encode(b); // hex::x")).contains("hex"));
        assert_eq!(dependencies("[dependencies]\nserde-json = \"1\"", "dependencies"), ["serde_json"]);
    }
}
