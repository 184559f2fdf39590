//! What operators get says only what is there: metrics in alerts and dashboards, settings in containers, units and Kubernetes,
//! commands and anchors in documents. Reads files of the repository and starts nothing.
//!
//! Whether those files are well-formed is for the programs that read them: `scripts/check-artefacts.sh`.

#[path = "artefacts/alerts.rs"]
mod alerts;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use colony_gateway::cli::Cli;
use colony_gateway::config::{Config, Sources};

/// Variables of `docker/compose.yaml` itself, which the program never sees.
const COMPOSE_VARIABLES: [&str; 3] = ["GATEWAY_IMAGE", "GATEWAY_PUBLISH", "GATEWAY_ADMIN_PUBLISH"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below a directory, by its path from the root of the repository.
fn files(directory: &str) -> Vec<String> {
    fn walk(directory: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("a directory of the repository") {
            let entry = entry.expect("an entry of that directory");
            // What docker/prepare.sh made on this machine is no part of the repository.
            if entry.file_name() == "secrets" || entry.file_name() == ".env" {
                continue;
            }
            if entry.path().is_dir() {
                walk(&entry.path(), into);
            } else {
                into.push(entry.path());
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(directory), &mut found);
    let root = root();
    found.iter().filter_map(|path| path.strip_prefix(&root).ok()).map(|path| path.display().to_string()).collect()
}

fn documents() -> Vec<String> {
    let mut documents = vec!["README.md".to_owned()];
    documents
        .extend(files("docs").into_iter().filter(|path| Path::new(path).extension().is_some_and(|end| end == "md")));
    documents
}

/// The words of a text that begin with a prefix and go on with letters, digits and underscores.
fn words(text: &str, prefix: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with(prefix))
        .map(str::to_owned)
        .collect()
}

fn faultless(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut faults = Vec::new();
    for document in documents() {
        let directory = Path::new(&document).parent().unwrap().to_owned();
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { PathBuf::from(&document) } else { directory.join(file) };
            if !root().join(&target).exists() {
                faults.push(format!("{document}: {link} leads nowhere"));
            } else if !anchor.is_empty() && !headings(&read(&target.display().to_string())).contains(anchor) {
                faults.push(format!("{document}: {link} has no such heading"));
            }
        }
    }
    faultless(&faults);
}

/// The anchors of a document's headings.
fn headings(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced && line.starts_with('#') {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
            anchors.insert(kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect());
        }
    }
    anchors
}

#[test]
fn containers_units_and_documents_name_settings_that_there_are() {
    let config = Config::for_tools(&Sources::default()).unwrap();
    let mut known: BTreeSet<String> = config.shown.iter().map(|shown| shown.variable.to_owned()).collect();
    known.extend(COMPOSE_VARIABLES.map(str::to_owned));
    known.insert("GATEWAY_CONFIG".to_owned());
    let mut faults = Vec::new();
    for file in files("docker").into_iter().chain(files("deploy")).chain(documents()) {
        for word in words(&read(&file), "GATEWAY_") {
            // `GATEWAY_…` stands for all of them.
            if word != "GATEWAY_" && !known.contains(word.strip_suffix("_FILE").unwrap_or(&word)) {
                faults.push(format!("{file}: no setting {word}"));
            }
        }
    }
    faultless(&faults);
}

#[test]
fn the_image_is_built_with_the_agreed_compiler_and_without_privileges() {
    let manifest = read("Cargo.toml");
    let version = manifest.split("rust-version = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let dockerfile = read("docker/Dockerfile");
    assert!(dockerfile.contains(&format!("FROM rust:{version}-")), "docker/Dockerfile and Cargo.toml differ");
    assert!(dockerfile.contains("\nUSER 10001"), "the image runs as root");
}

#[test]
fn commands_in_documents_are_those_of_the_program() {
    let mut program = Cli::command();
    program.build();
    let (mut faults, mut seen) = (Vec::new(), 0);
    // The program prints the page of commands itself; `tests/docs.rs` holds it to that.
    for document in documents().into_iter().filter(|document| document != "docs/reference/commands.md") {
        for line in command_lines(&read(&document)) {
            for arguments in calls(&line) {
                seen += 1;
                if let Err(fault) = understood(&program, &arguments) {
                    faults.push(format!("{document}: `colony-gateway {}`: {fault}", arguments.join(" ")));
                }
            }
        }
    }
    assert!(seen > 60, "only {seen} commands were found");
    faultless(&faults);
}

/// The lines of fenced shell blocks, continued ones joined, and inline code that begins with the program's name.
fn command_lines(text: &str) -> Vec<String> {
    let (mut lines, mut fence, mut joined) = (Vec::new(), None, String::new());
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(language.trim().to_owned()) };
        } else if fence.as_deref() == Some("sh") {
            joined.push_str(line.trim());
            if joined.ends_with('\\') {
                joined.pop();
            } else {
                lines.push(std::mem::take(&mut joined));
            }
        } else if fence.is_none() {
            let inline = line.split('`').skip(1).step_by(2);
            lines.extend(inline.filter(|code| code.starts_with("colony-gateway ")).map(str::to_owned));
        }
    }
    lines
}

/// The arguments of every call of the program in a shell line, up to a comment or a redirection.
fn calls(line: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for part in line.split(['|', ';', '&', '(', ')']) {
        let tokens: Vec<&str> = part.split_whitespace().take_while(|token| !token.starts_with('#')).collect();
        let is_program =
            |token: &str| token == "colony-gateway" || token.ends_with("/colony-gateway") || token == "gatewayctl";
        let is_call = |index: usize| {
            let before = tokens[..index].last();
            // In front of it: nothing, `NAME=value`, or what runs it elsewhere.
            before.is_none_or(|word| word.contains('=') || ["sudo", "--", "gateway", "exec"].contains(word))
        };
        let Some(index) = (0..tokens.len()).find(|index| is_program(tokens[*index]) && is_call(*index)) else {
            continue;
        };
        let arguments = tokens[index + 1..].iter().take_while(|token| !token.starts_with(['>', '<'])).copied();
        let arguments: Vec<String> = without_quotes(arguments).collect();
        // gatewayctl's own, which no program is asked for.
        let own = tokens[index] == "gatewayctl" && arguments == ["secrets"];
        if !own && arguments.first().is_some_and(|first| first != "…") {
            found.push(arguments);
        }
    }
    found
}

/// Quoted texts of several words become one.
fn without_quotes<'a>(tokens: impl Iterator<Item = &'a str>) -> impl Iterator<Item = String> {
    let mut joined: Vec<String> = Vec::new();
    let mut open = false;
    for token in tokens {
        match joined.last_mut() {
            Some(last) if open => {
                last.push(' ');
                last.push_str(token);
            }
            _ => joined.push(token.to_owned()),
        }
        open ^= token.matches('"').count() % 2 == 1;
    }
    joined.into_iter().map(|token| token.replace('"', ""))
}

/// Whether the program has the subcommand, its options and the values that are written out.
fn understood(program: &clap::Command, arguments: &[String]) -> Result<(), String> {
    let mut command = program;
    let mut arguments = arguments.iter();
    let mut positions = 0;
    while let Some(argument) = arguments.next() {
        if argument == "…" {
            continue;
        }
        if argument.starts_with('-') {
            let name = argument.split('=').next().unwrap_or_default();
            let option = command.get_arguments().find(|option| {
                option.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long))
                    || option.get_short().is_some_and(|short| name == format!("-{short}"))
            });
            let option = option.ok_or_else(|| format!("no option {name}"))?;
            if option.get_action().takes_values() {
                let value = match argument.split_once('=') {
                    Some((_, value)) => Some(value.to_owned()),
                    None => arguments.next().cloned(),
                };
                let can_be_bare = option.get_num_args().is_some_and(|values| values.min_values() == 0);
                if value.is_none() && can_be_bare {
                    continue;
                }
                has_value(option, &value.ok_or_else(|| format!("{name} needs a value"))?)?;
            }
        } else if let Some(subcommand) = command.find_subcommand(argument) {
            command = subcommand;
        } else {
            positions += 1;
            let positional = command.get_positionals().nth(positions - 1).or_else(|| command.get_positionals().last());
            has_value(positional.ok_or_else(|| format!("no subcommand or argument {argument}"))?, argument)?;
        }
    }
    if command.is_subcommand_required_set() { Err("a subcommand is missing".to_owned()) } else { Ok(()) }
}

/// Whether a value is one of those that there are, if they are fixed.
fn has_value(argument: &clap::Arg, value: &str) -> Result<(), String> {
    let possible = argument.get_possible_values();
    let is_one = |value: &str| possible.is_empty() || possible.iter().any(|known| known.matches(value, false));
    if value.split(',').all(is_one) { Ok(()) } else { Err(format!("{} does not take {value}", argument.get_id())) }
}

#[test]
fn commands_that_the_program_does_not_have_are_noticed() {
    let mut program = Cli::command();
    program.build();
    let judge = |line: &str| {
        let calls = calls(line);
        assert_eq!(calls.len(), 1, "{line}");
        understood(&program, &calls[0])
    };
    for good in [
        "colony-gateway migrate --plan   # a comment --nothing",
        "DATABASE_URL_FILE=x colony-gateway migrate",
        "docker compose -f docker/compose.yaml exec gateway colony-gateway revenue --days 3 > out",
        "gatewayctl keys rotate attestation prepare --file \"a b\"",
        "colony-gateway --config gateway.toml config check",
        "$(colony-gateway keys generate user executor)",
    ] {
        assert_eq!(judge(good), Ok(()), "{good}");
    }
    for bad in [
        "colony-gateway frobnicate",
        "colony-gateway migrate --dry",
        "colony-gateway keys rotate server",
        "colony-gateway keys",
        "colony-gateway revenue 3",
    ] {
        assert!(judge(bad).is_err(), "{bad}");
    }
    assert!(calls("systemctl restart colony-gateway").is_empty());
    assert!(calls("docker compose -f docker/compose.yaml build gateway").is_empty());
}
