//! Which modules of the crate, and which other crates of the workspace, a file names, by `use` or in a path.

use std::collections::{BTreeMap, BTreeSet};

use super::lexer::Token;

/// A path into the crate, from its root, and the line where it is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

/// Module path of a file under `src`: `door/webhook.rs` is `["door", "webhook"]`, `lib.rs` and `main.rs` are the root.
pub(crate) fn module_of(file: &str) -> Vec<String> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    if matches!(stem, "lib" | "main") { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
}

/// Paths that begin with `crate`, `super`, the crate's own name or one of `crates`, resolved from the module they stand in. Inner
/// modules are followed; braces in `use` are spread out.
pub(crate) fn imports(tokens: &[Token], file: &str, crate_name: &str, crates: &[&str]) -> BTreeSet<Import> {
    let mut found = BTreeSet::new();
    let mut module = module_of(file);
    let mut depth = 0_usize;
    let mut inner: Vec<usize> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let text = tokens[at].text.as_str();
        match text {
            "mod" if tokens.get(at + 2).is_some_and(|token| token.is("{")) => {
                module.push(tokens[at + 1].text.clone());
                inner.push(depth);
                depth += 1;
                at += 2;
            }
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if inner.last() == Some(&depth) {
                    inner.pop();
                    module.pop();
                }
            }
            _ if starts_path(tokens, at, crate_name, crates) => {
                let mut paths = Vec::new();
                at = tree(tokens, at, &[], &mut paths);
                let line = tokens[at.min(tokens.len() - 1)].line;
                let resolved = paths.iter().filter_map(|path| resolve(path, &module, crate_name, crates));
                found.extend(resolved.map(|path| Import { path, line }));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Names that a module passes on from its children, with `use`, and the child that each is from.
pub(crate) fn reexports(tokens: &[Token], children: &BTreeSet<String>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for at in (1..tokens.len()).filter(|at| tokens[at - 1].is("use")) {
        let at = if tokens[at].is("self") { at + 2 } else { at };
        let Some(child) = tokens.get(at).filter(|token| children.contains(&token.text)) else { continue };
        let end = tokens[at..].iter().position(|token| token.is(";")).map_or(tokens.len(), |length| at + length);
        let names = tokens[at..end].iter().filter(|token| token.text.starts_with(char::is_alphabetic));
        found.extend(names.skip(1).map(|name| (name.text.clone(), child.text.clone())));
    }
    found
}

fn starts_path(tokens: &[Token], at: usize, crate_name: &str, crates: &[&str]) -> bool {
    let text = tokens[at].text.as_str();
    let leads = text == "crate" || text == "super" || text == crate_name || crates.contains(&text);
    let follows = at.checked_sub(1).is_some_and(|before| tokens[before].is("::"));
    leads && !follows && tokens.get(at + 1).is_some_and(|next| next.is("::"))
}

/// Reads a path or a tree of paths at `at`; returns the index behind it.
fn tree(tokens: &[Token], mut at: usize, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        if token.is("{") {
            at += 1;
            while tokens.get(at).is_some_and(|token| !token.is("}")) {
                at = tree(tokens, at, &path, paths);
                while tokens.get(at).is_some_and(|token| !token.is(",") && !token.is("}")) {
                    at += 1;
                }
                at += usize::from(tokens.get(at).is_some_and(|token| token.is(",")));
            }
            return at + 1;
        }
        let is_name = token.text.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if is_name {
            path.push(token.text.clone());
        }
        at += 1;
        if !is_name || !tokens.get(at).is_some_and(|next| next.is("::")) {
            break;
        }
        at += 1;
    }
    paths.push(path);
    at
}

fn resolve(path: &[String], module: &[String], crate_name: &str, crates: &[&str]) -> Option<Vec<String>> {
    let ups = path.iter().take_while(|segment| *segment == "super").count();
    let (from, rest) = match path.first().map(String::as_str) {
        Some("crate") => (&[][..], &path[1..]),
        Some(first) if first == crate_name => (&[][..], &path[1..]),
        Some(first) if crates.contains(&first) => (&[][..], path),
        Some("super") => (&module[..module.len().checked_sub(ups)?], &path[ups..]),
        _ => return None,
    };
    let rest = rest.iter().filter(|segment| *segment != "self");
    Some(from.iter().chain(rest).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::super::lexer::tokens;
    use super::*;

    fn found(source: &str, file: &str) -> Vec<String> {
        imports(&tokens(source), file, "colony_gateway", &["colonies"])
            .into_iter()
            .map(|import| import.path.join("::"))
            .collect()
    }

    #[test]
    fn plain_and_grouped_uses_are_read() {
        let source = "use crate::inbox::Inbox; use crate::{stripe::{self, signature::verify}, domain as d};";
        assert_eq!(found(source, "door.rs"), ["domain", "inbox::Inbox", "stripe", "stripe::signature::verify"]);
    }

    #[test]
    fn paths_in_code_are_read_and_foreign_ones_are_not() {
        let source = "fn f() -> crate::ledger::Outcome { std::mem::take(x); axum::crate_like::y(); }";
        assert_eq!(found(source, "door.rs"), ["ledger::Outcome"]);
    }

    #[test]
    fn parents_are_followed_from_where_they_stand() {
        assert_eq!(found("use super::super::ledger::Row;", "door/webhook.rs"), ["ledger::Row"]);
        assert_eq!(found("use super::error::Problem;", "door/webhook.rs"), ["door::error::Problem"]);
        assert_eq!(found("mod inner { use super::super::colony; } use super::bees;", "door.rs"), ["bees", "colony"]);
    }

    #[test]
    fn crates_of_the_workspace_are_named_like_modules() {
        let source = "use colonies::{client::Client, Moment}; fn f() -> my::colonies::T { colonies::server::start() }";
        assert_eq!(
            found(source, "door.rs"),
            ["colonies::Moment", "colonies::client::Client", "colonies::server::start"]
        );
    }

    #[test]
    fn the_binary_names_the_crate() {
        assert_eq!(found("fn main() { colony_gateway::cli::run() }", "main.rs"), ["cli::run"]);
    }
}
