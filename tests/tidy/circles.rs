//! Circles: files of one folder each of which needs the others, directly or through others.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{imports, module_of, reexports};
use super::lexer::Production;

/// Which module needs which.
type Edges = BTreeMap<String, BTreeSet<String>>;

/// Folders below `src` (the empty text is `src` itself) with those of their modules that need each other. What a module
/// takes from its parent is what the parent has of its own, or the child that the parent has it from.
pub(crate) fn circles(sources: &[(String, Production)], crate_name: &str) -> Vec<(String, BTreeSet<String>)> {
    let modules: BTreeSet<Vec<String>> = sources.iter().map(|(file, _)| module_of(file)).collect();
    let children = |folder: &[String]| -> BTreeSet<String> {
        let is_child = |module: &&Vec<String>| module.len() == folder.len() + 1 && module.starts_with(folder);
        modules.iter().filter(is_child).map(|module| module[folder.len()].clone()).collect()
    };
    let mut passed_on: BTreeMap<Vec<String>, BTreeMap<String, String>> = BTreeMap::new();
    for (file, code) in sources {
        let module = module_of(file);
        passed_on.entry(module.clone()).or_default().extend(reexports(&code.tokens, &children(&module)));
    }
    let mut folders: BTreeMap<Vec<String>, Edges> = BTreeMap::new();
    for (file, code) in sources {
        let from = module_of(file);
        for import in imports(&code.tokens, file, crate_name, &[]) {
            let shared = from.iter().zip(&import.path).take_while(|(a, b)| a == b).count();
            let (folder, Some(mine), Some(theirs)) = (&from[..shared], from.get(shared), import.path.get(shared))
            else {
                continue;
            };
            let passed = passed_on.get(folder).and_then(|names| names.get(theirs));
            let theirs = passed.unwrap_or(theirs);
            if theirs != mine && modules.contains(&[folder, std::slice::from_ref(theirs)].concat()) {
                folders.entry(folder.to_vec()).or_default().entry(mine.clone()).or_default().insert(theirs.clone());
            }
        }
    }
    folders
        .iter()
        .flat_map(|(folder, edges)| groups(edges).into_iter().map(|group| (folder.join("/"), group)))
        .collect()
}

/// Groups of modules that reach each other.
fn groups(edges: &Edges) -> BTreeSet<BTreeSet<String>> {
    let reached: Edges = edges.keys().map(|from| (from.clone(), reachable(edges, from))).collect();
    let reaches = |from: &String, to: &String| reached.get(from).is_some_and(|reached| reached.contains(to));
    let group = |module: &String| reached[module].iter().filter(|other| reaches(other, module)).cloned().collect();
    edges.keys().filter(|module| reaches(module, module)).map(group).collect()
}

/// Modules that can be reached from `start` in one step or more.
fn reachable(edges: &Edges, start: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&String> = edges.get(start).into_iter().flatten().collect();
    while let Some(module) = open.pop() {
        if reached.insert(module.clone()) {
            open.extend(edges.get(module).into_iter().flatten());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::super::lexer::production;
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<(String, Production)> =
            files.iter().map(|(file, text)| ((*file).to_owned(), production(text))).collect();
        let show = |(folder, files): (String, BTreeSet<String>)| {
            format!("{folder}: {}", files.into_iter().collect::<Vec<_>>().join(" "))
        };
        circles(&sources, "colony_gateway").into_iter().map(show).collect()
    }

    #[test]
    fn files_that_need_each_other_are_found_through_others_and_through_what_their_parent_passes_on() {
        let direct = [("a.rs", ""), ("a/b.rs", "use super::c::X;"), ("a/c.rs", "use crate::a::b::Y;")];
        assert_eq!(found(&direct), ["a: b c"]);
        let through = [
            ("b.rs", "use crate::c::X;"),
            ("c.rs", "fn f() { crate::d::g() }"),
            ("d/e.rs", "use crate::b::Y;"),
            ("d.rs", ""),
            ("f.rs", "use crate::b::Z;"),
        ];
        assert_eq!(found(&through), [": b c d"]);
        let passed = [
            ("a.rs", "mod b; mod c; pub use b::{X, Z}; pub use self::c::{Y as W};"),
            ("a/b.rs", "use super::W;"),
            ("a/c.rs", "use super::{T, Z};"),
        ];
        assert_eq!(found(&passed), ["a: b c"]);
    }

    #[test]
    fn one_way_and_the_parent_itself_are_no_circle() {
        let files = [
            ("a.rs", "mod b; mod c; use b::X; struct T;"),
            ("a/b.rs", "use super::c::Y; use super::T;"),
            ("a/c.rs", "use super::T; use super::super::d::V;"),
            ("d.rs", ""),
        ];
        assert_eq!(found(&files), [""; 0]);
    }
}
