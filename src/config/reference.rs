//! All settings on paper, made from their declarations: a file to start from, a schema for editors, a page of the manual.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Config, Declared, ENDPOINT_KEYS, Form};

/// Longest line of a comment in the file.
const WIDTH: usize = 100;

/// The subjects of the file's tables, in the manual. Settings outside tables come first.
const TABLES: [(&str, &str); 16] = [
    ("", "General"),
    ("http", "Listeners"),
    ("stripe", "Stripe"),
    ("inbox", "The inbox"),
    ("dispatch", "From the inbox to the ledger"),
    ("ledger", "The state of record"),
    ("revenue", "What entitles, and who a user is"),
    ("reconcile", "Comparing with Stripe"),
    ("colony", "The colony, jobs and bees"),
    ("shadow", "Shadow mode"),
    ("network", "What may go unencrypted"),
    ("backup", "Backups"),
    ("heartbeat", "Heartbeats of bees"),
    ("notify", "Messages to people"),
    ("log", "Logs"),
    ("traces", "Traces (OpenTelemetry)"),
];

/// A configuration file with every setting, commented out, with its default and its purpose.
pub fn file() -> String {
    let mut text = String::from(
        "# Settings of colony-gateway (TOML). `colony-gateway --config FILE …` reads this file, as GATEWAY_CONFIG=FILE does.\n\
         #\n\
         # Every setting is switched off by the # before it and has its default as the value. To change one, take the # away.\n\
         # If the environment variable named with a setting is set, it wins. A secret is better kept in a file of its own:\n\
         # the variable's name with _FILE at its end names that file.\n",
    );
    let declared = Config::declared();
    for table in tables(&declared) {
        if !table.is_empty() {
            let _ = write!(text, "\n[{table}]\n");
        }
        for one in declared.iter().filter(|one| table_of(one) == table) {
            text.push('\n');
            comment(&mut text, one.setting.about);
            comment(&mut text, &names(one));
            let value = one.default.as_deref().map_or_else(|| placeholder(one), |default| literal(default, one));
            let _ = writeln!(text, "#{} = {value}", name_of(one));
        }
    }
    text.push_str("\n# More webhook endpoints, each in a table of its own.\n#[[endpoint]]\n");
    for key in ENDPOINT_KEYS {
        let _ = writeln!(text, "#{} = {}  # {}", key.name, key.example, key.about);
    }
    text
}

/// JSON schema (draft 7) of the configuration file.
pub fn schema() -> Value {
    let declared = Config::declared();
    let (mut root, mut properties) = (Map::new(), Map::new());
    for one in &declared {
        let schema = schema_of(one);
        match one.setting.key.split_once('.') {
            None => drop(root.insert(one.setting.key.to_owned(), schema)),
            Some((table, name)) => {
                let table = properties.entry(table).or_insert_with(|| Value::Object(Map::new()));
                table[name] = schema;
            }
        }
    }
    for (table, properties) in properties {
        root.insert(table, json!({"type": "object", "additionalProperties": false, "properties": properties}));
    }
    root.insert("endpoint".to_owned(), endpoint_schema());
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "colony-gateway",
        "type": "object",
        "additionalProperties": false,
        "properties": root,
    })
}

/// The manual's page of all settings, in Markdown.
pub fn page() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         `colony-gateway reference settings` prints this page from the program itself.\n\n\
         Every setting is an environment variable or a key of the configuration file (TOML, `--config FILE` or `GATEWAY_CONFIG`). The\n\
         environment wins over the file. A secret can also come from a file: the variable's name with `_FILE` at its end names it.\n\
         `config init` writes a file with all of this, `config schema` prints its schema for editors, `config show` says which values are\n\
         in force and where they come from, `config check` reports everything that is wrong.\n",
    );
    let declared = Config::declared();
    for table in tables(&declared) {
        let title = TABLES.iter().find(|(name, _)| *name == table).map_or(table, |(_, title)| title);
        let title = if table.is_empty() { title.to_owned() } else { format!("{title}: `[{table}]`") };
        let _ = write!(text, "\n## {title}\n\n| key | variable | takes | default | |\n|---|---|---|---|---|\n");
        for one in declared.iter().filter(|one| table_of(one) == table) {
            let variables: Vec<String> = variables(one).map(|name| format!("`{name}`")).collect();
            let default = one.default.as_deref().map_or_else(|| "unset".to_owned(), |default| format!("`{default}`"));
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | {} |",
                one.setting.key,
                variables.join(", "),
                cell(&takes(one)),
                cell(&default),
                cell(one.setting.about)
            );
        }
    }
    text.push_str(
        "\n## More endpoints: `[[endpoint]]`\n\n\
         Each endpoint has a table of its own. It needs a name, a path, and secrets in one of the two ways.\n\n\
         | key | example | |\n|---|---|---|\n",
    );
    for key in ENDPOINT_KEYS {
        let _ = writeln!(text, "| `{}` | `{}` | {} |", key.name, key.example, cell(key.about));
    }
    text
}

/// Tables of the file: those of the manual first, in its order, and then any other.
fn tables(declared: &[Declared]) -> Vec<&str> {
    let mut tables: Vec<&str> = TABLES.iter().map(|(table, _)| *table).collect();
    for one in declared {
        let table = table_of(one);
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    tables.retain(|table| declared.iter().any(|one| table_of(one) == *table));
    tables
}

fn table_of(one: &Declared) -> &'static str {
    one.setting.key.split_once('.').map_or("", |(table, _)| table)
}

fn name_of(one: &Declared) -> &'static str {
    one.setting.key.split_once('.').map_or(one.setting.key, |(_, name)| name)
}

fn variables(one: &Declared) -> impl Iterator<Item = &'static str> {
    std::iter::once(one.setting.variable).chain(one.setting.aliases.iter().copied())
}

/// The variables, and what the setting takes.
fn names(one: &Declared) -> String {
    let secret = if one.is_secret {
        format!(" {}_FILE names a file that holds it.", one.setting.variable)
    } else {
        String::new()
    };
    let unset = if one.default.is_none() { " Unset by default." } else { "" };
    format!("{}: {}.{unset}{secret}", variables(one).collect::<Vec<_>>().join(", "), takes(one))
}

/// What a setting takes, for people.
fn takes(one: &Declared) -> String {
    let words = |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    match one.setting.form {
        Form::Text if one.is_secret => "secret".to_owned(),
        Form::Text => "text".to_owned(),
        Form::Boolean => "`true` or `false`".to_owned(),
        Form::Integer { min, max } => format!("{min} to {max}"),
        Form::Duration => "duration, such as `30s`, `5m` or `12h`".to_owned(),
        Form::DurationOr(others) => format!("duration, {}", words(others)),
        Form::Bytes => "bytes, such as `64KiB` or `10GiB`".to_owned(),
        Form::Words(all) => words(all),
        Form::NumberOrText => "number or text".to_owned(),
    }
}

/// A cell of a table. Between backticks a `<` stands for itself; elsewhere it would begin a tag.
fn cell(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(place, part)| if place % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("`").replace('|', "\\|")
}

/// A comment, broken into lines of readable length.
fn comment(text: &mut String, about: &str) {
    let mut line = String::from("#");
    for word in about.split_whitespace() {
        if line.len() + word.len() >= WIDTH {
            let _ = writeln!(text, "{line}");
            "#".clone_into(&mut line);
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(text, "{line}");
}

/// A value in the form of TOML.
fn literal(value: &str, one: &Declared) -> String {
    let is_bare = match one.setting.form {
        Form::Boolean | Form::Integer { .. } => true,
        Form::Bytes | Form::NumberOrText => value.parse::<f64>().is_ok(),
        Form::Text | Form::Duration | Form::DurationOr(_) | Form::Words(_) => false,
    };
    if is_bare { value.to_owned() } else { quoted(value) }
}

/// A text in the form of TOML, which escapes the same characters as JSON.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A placeholder for a value without a default.
fn placeholder(one: &Declared) -> String {
    match one.setting.form {
        Form::Boolean => "true".to_owned(),
        Form::Integer { max, .. } => max.to_string(),
        Form::Duration | Form::DurationOr(_) => "\"400d\"".to_owned(),
        Form::Bytes => "\"10GiB\"".to_owned(),
        Form::Words(words) => quoted(words.first().unwrap_or(&"")),
        Form::Text | Form::NumberOrText => "\"…\"".to_owned(),
    }
}

fn schema_of(one: &Declared) -> Value {
    const DURATION: &str = "[0-9]+(ms|s|m|h|d)";
    let mut schema = match one.setting.form {
        Form::Text => json!({"type": "string"}),
        Form::Boolean => json!({"type": "boolean"}),
        Form::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Form::Duration => json!({"type": "string", "pattern": format!("^{DURATION}$")}),
        Form::DurationOr(words) => json!({"type": "string", "pattern": format!("^({DURATION}|{})$", words.join("|"))}),
        Form::Bytes => json!({"type": ["integer", "string"], "pattern": "^[0-9]+ *(B|KiB|MiB|GiB)?$"}),
        Form::Words(words) => {
            let flags = words.iter().filter_map(|word| word.parse::<bool>().ok().map(Value::from));
            json!({"enum": words.iter().map(|word| Value::from(*word)).chain(flags).collect::<Vec<_>>()})
        }
        Form::NumberOrText => json!({"type": ["number", "string"]}),
    };
    schema["description"] = Value::from(format!("{} ({})", one.setting.about, one.setting.variable));
    if let Some(default) = &one.default {
        schema["default"] = match one.setting.form {
            Form::Boolean => default.parse::<bool>().map_or(Value::Null, Value::from),
            Form::Integer { .. } => default.parse::<u64>().map_or(Value::Null, Value::from),
            _ => Value::from(default.as_str()),
        };
    }
    schema
}

fn endpoint_schema() -> Value {
    let properties: Map<String, Value> = ENDPOINT_KEYS
        .iter()
        .map(|key| {
            let kind = match key.name {
                "connect" => json!({"type": "boolean"}),
                "secrets" => json!({"type": "array", "items": {"type": "string"}}),
                _ => json!({"type": "string"}),
            };
            let mut schema = kind;
            schema["description"] = Value::from(key.about);
            (key.name.to_owned(), schema)
        })
        .collect();
    json!({
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": false,
            "required": ["name", "path"],
            "properties": properties,
        },
    })
}

#[cfg(test)]
mod tests;
