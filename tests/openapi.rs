//! `openapi.yaml` says what the code does: problem codes, paths and the version.
//!
//! The document is read as text, line by line, in the form it is written in; its form as OpenAPI is not checked here.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::PathBuf;

const DOCUMENT: &str = include_str!("../openapi.yaml");
const PROBLEMS: &str = include_str!("../src/door/problem.rs");

/// The part of `text` between two marks.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(begin).unwrap_or_else(|| panic!("{begin:?} is missing"));
    rest.split_once(end).unwrap_or_else(|| panic!("{end:?} is missing after {begin:?}")).0
}

/// All code of the door and of `admin`.
fn http() -> String {
    let mut code = String::new();
    let src = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    let mut open = vec![src.join("door"), src.join("admin")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { code += &std::fs::read_to_string(path).unwrap() }
        }
    }
    code
}

/// Texts in double quotes.
fn quoted(code: &str) -> BTreeSet<&str> {
    code.split('"').skip(1).step_by(2).collect()
}

/// Keys of the document's `paths`.
fn paths() -> BTreeSet<&'static str> {
    let section = between(DOCUMENT, "\npaths:\n", "\ncomponents:\n");
    section.lines().filter_map(|line| line.strip_prefix("  /")?.strip_suffix(':')).collect()
}

#[test]
fn every_problem_code_is_described_and_no_other() {
    let code = quoted(between(PROBLEMS, "pub const fn code(", "const fn status("));
    let (_, list) = DOCUMENT.split_once("          description: Stable\n          enum:\n").expect("codes are listed");
    let described: BTreeSet<&str> = list.lines().map_while(|line| line.trim().strip_prefix("- ")).collect();
    assert_eq!(described, code);
}

#[test]
fn every_path_of_the_code_is_described() {
    let code = http();
    let routes = code.split(".route(\"/").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
    let missing: Vec<&str> = routes.filter(|route| !paths().contains(route)).collect();
    assert!(missing.is_empty(), "not in openapi.yaml: {missing:?}");
    for alias in ["webhooks/stripe", "webhook", ".netlify/functions/stripe-webhook"] {
        assert!(paths().contains(alias), "{alias} is missing");
    }
}

#[test]
fn the_version_is_that_of_the_crate() {
    assert_eq!(between(DOCUMENT, "\n  version: ", "\n"), env!("CARGO_PKG_VERSION"));
}
