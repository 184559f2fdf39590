//! The documents are true where that can be checked: made pages are as the program makes them, links lead somewhere, the site
//! has every page.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use clap::CommandFactory as _;
use colony_gateway::cli::{self, Cli};
use colony_gateway::config::{Config, reference};

/// Folders that hold no documents of ours.
const SKIPPED: [&str; 4] = ["target", ".git", "node_modules", "book"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Markdown of the repository by its path.
fn documents() -> BTreeMap<PathBuf, String> {
    let (mut found, mut open) = (BTreeMap::new(), vec![root()]);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(root()).unwrap().to_owned(), text);
            }
        }
    }
    found
}

/// A document without its blocks of code.
fn prose(text: &str) -> String {
    let mut in_block = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Targets of the links of a document.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.map(|target| target.split_whitespace().next().unwrap_or_default().to_owned()).collect()
}

/// What headings are called in links, as GitHub and mdBook make it.
fn anchors(text: &str) -> BTreeSet<String> {
    let prose = prose(text);
    let headings = prose
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let slug = |heading: &str| -> String {
        let letters = heading.trim().to_lowercase();
        letters
            .chars()
            .filter_map(|letter| match letter {
                ' ' => Some('-'),
                letter if letter.is_alphanumeric() || letter == '-' || letter == '_' => Some(letter),
                _ => None,
            })
            .collect()
    };
    headings.map(slug).collect()
}

/// A path without `..` in it; nothing when it leaves the repository.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                if !plain.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    Some(plain)
}

/// Why a link of a document leads nowhere, if it does.
fn fault(documents: &BTreeMap<PathBuf, String>, document: &Path, target: &str) -> Option<String> {
    let is_elsewhere = ["https://", "http://", "mailto:"].iter().any(|scheme| target.starts_with(scheme));
    if is_elsewhere {
        return None;
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let found = if path.is_empty() { document.to_owned() } else { plain(&document.parent().unwrap().join(path))? };
    if !documents.contains_key(&found) && !root().join(&found).exists() {
        return Some(format!("{}: {target} is not there", document.display()));
    }
    let text = documents.get(&found)?;
    let is_missing = anchor.is_some_and(|anchor| !anchors(text).contains(anchor));
    is_missing.then(|| format!("{}: {target} names no heading of {}", document.display(), found.display()))
}

fn same(page: &str, made: &str, name: &str) {
    let path = format!("docs/reference/{name}.md");
    let written = std::fs::read_to_string(root().join(&path)).unwrap_or_default();
    assert!(
        written == made,
        "{path} is not what the program says of {page}: cargo run -- reference {name} > {path}\nfirst difference: {:?}",
        written.lines().zip(made.lines()).find(|(written, made)| written != made)
    );
}

#[test]
fn the_page_of_settings_is_what_the_declarations_say() {
    same("settings", &reference::page(), "settings");
}

#[test]
fn the_page_of_commands_is_what_help_says() {
    same("commands", &cli::reference::commands_page(Cli::command()), "commands");
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let documents = documents();
    let mut found = Vec::new();
    for (path, text) in &documents {
        found.extend(links(text).iter().filter_map(|target| fault(&documents, path, target)));
    }
    assert!(found.is_empty(), "dead links:\n  {}", found.join("\n  "));
}

#[test]
fn the_site_has_every_page_of_docs_once() {
    let documents = documents();
    let summary = &documents[Path::new("docs/SUMMARY.md")];
    let mut listed = links(summary);
    listed.sort();
    let pages = documents.keys().filter_map(|path| path.strip_prefix("docs").ok()?.to_str());
    let pages: Vec<String> = pages.filter(|path| *path != "SUMMARY.md").map(str::to_owned).collect();
    assert_eq!(listed, pages);
}

#[test]
fn documents_name_no_setting_that_is_not_there() {
    let declared = Config::declared();
    // The image is compose's.
    let known: BTreeSet<&str> = declared
        .iter()
        .flat_map(|one| std::iter::once(one.setting.variable).chain(one.setting.aliases.iter().copied()))
        .chain(["GATEWAY_CONFIG", "GATEWAY_IMAGE"])
        .collect();
    let mut found = Vec::new();
    for (path, text) in documents().iter().filter(|(path, _)| path.as_path() != Path::new("CHANGELOG.md")) {
        let is_name = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
        let words = text.split(|letter: char| !is_name(letter)).filter(|word| word.starts_with("GATEWAY_"));
        let unknown = words.filter(|word| !known.contains(word.strip_suffix("_FILE").unwrap_or(word)));
        // The beginning of several names, as `GATEWAY_COLONY_…`.
        let unknown = unknown.filter(|word| !word.ends_with('_'));
        found.extend(unknown.map(|word| format!("{}: {word}", path.display())));
    }
    assert!(found.is_empty(), "no such settings:\n  {}", found.join("\n  "));
}

mod rules {
    //! The rules themselves can fail.

    use super::*;

    #[test]
    fn a_dead_link_is_found_and_one_in_code_is_none() {
        let documents =
            BTreeMap::from([(PathBuf::from("docs/a.md"), "# A `b` c\n## Two words, one: `x`\n".to_owned())]);
        let of = |target: &str| fault(&documents, Path::new("docs/a.md"), target);
        assert!(of("nowhere.md").is_some() && of("#nothing").is_some());
        assert_eq!(
            (of("../Cargo.toml"), of("#a-b-c"), of("#two-words-one-x"), of("https://x")),
            (None, None, None, None)
        );
        assert_eq!(links("[a](b.md) and\n```\n[c](d.md)\n```\n[`e`](f.md#g \"title\")"), ["b.md", "f.md#g"]);
    }
}

/// Commands that print JSON on demand, by their names.
fn printing_json(command: &clap::Command, above: &str, found: &mut Vec<String>) {
    for command in command.get_subcommands() {
        let name = format!("{above}{}", command.get_name());
        if command.get_arguments().any(|argument| argument.get_long() == Some("json")) {
            found.push(name.clone());
        }
        printing_json(command, &format!("{name} "), found);
    }
}

#[test]
fn every_command_that_prints_json_has_its_example() {
    let page = std::fs::read_to_string(root().join("docs/json.md")).unwrap();
    let mut commands = Vec::new();
    printing_json(&Cli::command(), "", &mut commands);
    let shown = |name: &String| page.contains(&format!("\n## {name}\n"));
    // These print the same.
    let like_replay = |name: &str| matches!(name, "inbox release" | "inbox drop" | "inbox refetch");
    let missing: Vec<_> = commands.iter().filter(|name| !shown(name) && !like_replay(name)).collect();
    assert!(commands.len() > 10 && missing.is_empty(), "not in docs/json.md: {missing:?}");
}
