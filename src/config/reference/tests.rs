//! The file, the schema and the declarations say the same as the parsers.

use std::collections::BTreeMap;

use regex::Regex;

use super::*;
use crate::config::{ConfigError, Sources};

/// Reads the settings as if from a file.
fn read(text: &str) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    Config::for_tools(&Sources { environment: BTreeMap::new(), file: Some(path) })
}

/// Faults of one setting with this value in the environment.
fn faults_of(one: &Declared, value: &str) -> Vec<String> {
    let environment = BTreeMap::from([(one.setting.variable.to_owned(), value.to_owned())]);
    let refused = Config::for_tools(&Sources { environment, file: None }).map_or_else(|error| error.0, |_| Vec::new());
    // Faults about combinations with other settings are not about its form.
    let form = refused.into_iter().filter(|fault| fault.setting == one.setting.variable);
    form.map(|fault| fault.message).collect()
}

/// The file with every setting switched on that has a default.
fn switched_on(file: &str) -> String {
    let with_default: Vec<String> = Config::declared()
        .iter()
        .filter(|one| one.default.is_some())
        .map(|one| format!("#{} = ", name_of(one)))
        .collect();
    let declared = Config::declared();
    let mut table = String::new();
    let mut lines = Vec::new();
    for line in file.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut table);
        }
        let is_on = with_default.iter().any(|start| line.starts_with(start))
            && declared.iter().any(|one| {
                table_of(one) == table && one.default.is_some() && line.starts_with(&format!("#{} = ", name_of(one)))
            });
        lines.push(if is_on { line[1..].to_owned() } else { line.to_owned() });
    }
    lines.join("\n")
}

/// What in a value breaks a schema, by the words that [`schema`] uses; another word is a mistake in the schema.
fn against(schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    let is_a = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("{place}: no type {other}"),
    };
    for (word, asked) in schema.as_object().unwrap() {
        let holds = match word.as_str() {
            "type" => match asked {
                Value::Array(kinds) => kinds.iter().any(|kind| is_a(kind.as_str().unwrap())),
                kind => is_a(kind.as_str().unwrap()),
            },
            "enum" => asked.as_array().unwrap().contains(value),
            "pattern" => value.as_str().is_none_or(|text| Regex::new(asked.as_str().unwrap()).unwrap().is_match(text)),
            "minimum" => value.as_u64() >= asked.as_u64(),
            "maximum" => value.as_u64() <= asked.as_u64(),
            "required" => asked.as_array().unwrap().iter().all(|name| !value[name.as_str().unwrap()].is_null()),
            "properties" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = asked.get(name) {
                        against(schema, value, &format!("{place}.{name}"), found);
                    }
                }
                true
            }
            "additionalProperties" => {
                value.as_object().into_iter().flatten().all(|(name, _)| schema["properties"].get(name).is_some())
            }
            "items" => {
                for value in value.as_array().into_iter().flatten() {
                    against(asked, value, &format!("{place}[]"), found);
                }
                true
            }
            "$schema" | "title" | "description" | "default" => true,
            other => panic!("{place}: no word {other}"),
        };
        if !holds {
            found.push(format!("{place}: {word}"));
        }
    }
}

fn refused(text: &str) -> Vec<String> {
    let value = serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
    let mut found = Vec::new();
    against(&schema(), &value, "", &mut found);
    found
}

#[test]
fn the_file_is_read_as_it_is_and_with_every_default_switched_on_and_changes_nothing() {
    let shown = |config: Config| config.shown.into_iter().map(|shown| (shown.key, shown.value)).collect::<Vec<_>>();
    let defaults = shown(read("").unwrap());
    assert_eq!(shown(read(&file()).unwrap()), defaults);
    let all = switched_on(&file());
    let config = read(&all).unwrap();
    let from_file = config.shown.iter().filter(|shown| shown.origin == "file").count();
    assert_eq!(from_file, Config::declared().iter().filter(|one| one.default.is_some()).count());
    assert_eq!(shown(config), defaults);
}

#[test]
fn the_schema_takes_the_file_and_refuses_what_is_none() {
    assert_eq!(refused(&file()), Vec::<String>::new());
    assert_eq!(refused(&switched_on(&file())), Vec::<String>::new());
    let everything: String = file()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.contains(" = ") && !rest.starts_with(' ') || rest.starts_with("[[") => {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(refused(&everything), Vec::<String>::new(), "placeholders among them");
    for (text, place) in [
        ("typo = 1", ": additionalProperties"),
        ("[http]\nlissen = \"x\"", ".http: additionalProperties"),
        ("[http]\nheaders_max = 7", ".http.headers_max: minimum"),
        ("[dispatch]\nlease = \"soon\"", ".dispatch.lease: pattern"),
        ("mode = \"dark\"", ".mode: enum"),
        ("[revenue]\npause_entitles = \"perhaps\"", ".revenue.pause_entitles: type"),
        ("[[endpoint]]\nname = \"a\"", ".endpoint[]: required"),
    ] {
        assert_eq!(refused(text), [place], "{text}");
    }
}

#[test]
fn what_is_declared_of_a_setting_is_what_its_parser_takes() {
    for one in Config::declared() {
        let takes =
            |value: &str| assert_eq!(faults_of(&one, value), Vec::<String>::new(), "{}={value}", one.setting.variable);
        let refuses =
            |value: &str| assert_ne!(faults_of(&one, value), Vec::<String>::new(), "{}={value}", one.setting.variable);
        match one.setting.form {
            Form::Boolean => {
                takes("true");
                refuses("perhaps");
            }
            Form::Integer { min, max } => {
                takes(&min.to_string());
                takes(&max.to_string());
                refuses(&(max + 1).to_string());
                if min > 0 {
                    refuses(&(min - 1).to_string());
                }
            }
            Form::Duration | Form::DurationOr(_) => refuses("soon"),
            Form::Bytes => refuses("many"),
            Form::Words(words) => {
                for word in words {
                    assert!(faults_of(&one, word).iter().all(|fault| !fault.starts_with("must be")), "{word}");
                }
                refuses("nonsense");
            }
            Form::Text | Form::NumberOrText => {}
        }
        if let Form::DurationOr(words) = one.setting.form {
            for word in words {
                takes(word);
            }
        }
    }
}

#[test]
fn every_setting_is_described_once_in_whole_sentences() {
    let declared = Config::declared();
    for one in &declared {
        let about = one.setting.about;
        assert!(about.ends_with('.') && !about.starts_with(char::is_lowercase), "{}: {about}", one.setting.key);
        assert_eq!(
            declared.iter().filter(|other| other.setting.key == one.setting.key).count(),
            1,
            "{}",
            one.setting.key
        );
    }
}
