//! Reads settings one by one from layered sources and collects what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::fault::{Fault, did_you_mean, not_toml};
use super::setting::{Setting, without_login};
use super::watched::WatchedFile;
use crate::domain::secret::Secret;

/// Environment variables with this prefix are ours, so an unknown one is a fault.
const PREFIX: &str = "GATEWAY_";

/// Origin of a setting that is not given.
pub(super) const DEFAULT: &str = "default";

/// Names the configuration file; read by the command line.
const CONFIG_VARIABLE: &str = "GATEWAY_CONFIG";

#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The environment, handed in by `main`.
    pub environment: BTreeMap<String, String>,
    /// The configuration file, if any.
    pub file: Option<PathBuf>,
}

/// A setting as `config show` prints it; secrets are redacted before they get here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub key: &'static str,
    pub variable: &'static str,
    pub value: String,
    pub origin: String,
}

/// A setting as it was asked for: what is known of it without any value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub setting: Setting,
    /// As a user would write it; `None`: unset.
    pub default: Option<String>,
    /// Whether it is never shown, and may come from a file of its own.
    pub is_secret: bool,
}

/// What a reader found besides the values.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) declared: Vec<Declared>,
    pub(super) shown: Vec<Shown>,
    pub(super) warnings: Vec<Fault>,
    pub(super) files: Vec<WatchedFile>,
    pub(super) secrets: Vec<GivenSecret>,
    /// Secrets whose files hold nothing of use; for a command, which may do without them.
    pub(super) unusable: Vec<Fault>,
    /// All else that is wrong.
    pub(super) faults: Vec<Fault>,
}

/// Who reads the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A process that stays: what it is given has to be right.
    Strict,
    /// A command, which reads the rest when the file of a secret that it may not need is broken.
    Lenient,
}

/// The file that a secret came from.
#[derive(Clone, Debug)]
struct SecretFile {
    /// The variable that names it.
    name: String,
    path: PathBuf,
    /// Whether every command needs the secret: without it, another place would be taken for the one that is meant.
    is_needed: bool,
}

/// A secret as it was given, for `keys export`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenSecret {
    pub variable: &'static str,
    pub text: Secret,
    /// The file it came from, if it came from one of its own.
    pub file: Option<PathBuf>,
}

/// A value that was found, and where.
struct FoundSetting {
    text: String,
    name: String,
    origin: String,
}

/// Layered sources, the faults so far, and which keys were read.
#[derive(Debug)]
pub(super) struct Reader {
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, toml::Value>,
    file_path: Option<PathBuf>,
    declared: Vec<Declared>,
    read_keys: BTreeSet<&'static str>,
    read_variables: BTreeSet<&'static str>,
    pub(super) faults: Vec<Fault>,
    /// Which of the faults are of files of secrets that a command may do without.
    tolerable: BTreeSet<usize>,
    secret_files: BTreeMap<&'static str, SecretFile>,
    shown: Vec<Shown>,
    warnings: Vec<Fault>,
    files: Vec<WatchedFile>,
    secrets: Vec<GivenSecret>,
}

impl Reader {
    pub(super) fn new(sources: &Sources) -> Self {
        let mut reader = Self {
            environment: sources.environment.clone(),
            file: BTreeMap::new(),
            file_path: sources.file.clone(),
            declared: Vec::new(),
            read_keys: BTreeSet::new(),
            read_variables: BTreeSet::from([CONFIG_VARIABLE]),
            faults: Vec::new(),
            tolerable: BTreeSet::new(),
            secret_files: BTreeMap::new(),
            shown: Vec::new(),
            warnings: Vec::new(),
            files: Vec::new(),
            secrets: Vec::new(),
        };
        if let Some(path) = &sources.file {
            reader.load(path);
        }
        reader
    }

    fn load(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.fault(path.display().to_string(), format!("cannot be read: {error}")),
        };
        match text.parse::<toml::Table>() {
            Ok(table) => flatten("", table, &mut self.file),
            Err(error) => self.fault(path.display().to_string(), not_toml(&text, &error)),
        }
    }

    /// Notes a fault of a setting. If it is a secret from a file, the fault is the file's.
    pub(super) fn fault(&mut self, setting: impl Into<String>, message: impl Into<String>) {
        self.fault_in_line(setting, None, message);
    }

    /// As [`Self::fault`], with the line of the secret's file.
    pub(super) fn fault_in_line(
        &mut self,
        setting: impl Into<String>,
        line: Option<usize>,
        message: impl Into<String>,
    ) {
        let (setting, message) = (setting.into(), message.into());
        let Some(file) = self.secret_files.get(&*setting).cloned() else { return self.refuse(setting, message) };
        let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
        let message = format!("{}{line}: {message}", file.path.display());
        self.fault_of_file(file.is_needed, file.name, message);
    }

    /// Notes a fault in the file of a secret that a command may do without.
    pub(super) fn fault_of_secret(&mut self, setting: impl Into<String>, message: impl Into<String>) {
        self.fault_of_file(false, setting, message);
    }

    fn fault_of_file(&mut self, is_needed: bool, setting: impl Into<String>, message: impl Into<String>) {
        self.tolerable.extend((!is_needed).then_some(self.faults.len()));
        self.refuse(setting, message);
    }

    /// Notes a fault with which no command may go on.
    pub(super) fn refuse(&mut self, setting: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault { setting: setting.into(), message: message.into() });
    }

    /// Whether a setting already has a fault.
    pub(super) fn has_fault(&self, setting: &str) -> bool {
        self.faults.iter().any(|fault| fault.setting.strip_suffix("_FILE").unwrap_or(&fault.setting) == setting)
    }

    pub(super) fn warn(&mut self, setting: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(Fault { setting: setting.into(), message: message.into() });
    }

    /// Takes a value from the file that is not a single setting, such as a list of tables.
    pub(super) fn take(&mut self, key: &'static str) -> Option<toml::Value> {
        self.read_keys.insert(key);
        self.file.get(key).cloned()
    }

    fn find(&mut self, setting: Setting) -> Option<FoundSetting> {
        self.read_keys.insert(setting.key);
        for name in std::iter::once(setting.variable).chain(setting.aliases.iter().copied()) {
            self.read_variables.insert(name);
            // Compose and systemd pass unset variables as empty ones.
            if let Some(text) = self.environment.get(name).filter(|text| !text.trim().is_empty()) {
                return Some(FoundSetting {
                    text: text.clone(),
                    name: name.to_owned(),
                    origin: "environment".to_owned(),
                });
            }
        }
        let value = match self.file.get(setting.key)? {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Array(_) | toml::Value::Table(_) | toml::Value::Datetime(_) => {
                self.fault(setting.key, "must be text, a number, true or false");
                return None;
            }
        };
        Some(FoundSetting { text: value, name: setting.key.to_owned(), origin: "file".to_owned() })
    }

    fn declare(&mut self, setting: Setting, default: Option<&str>, is_secret: bool) {
        self.declared.push(Declared { setting, default: default.map(str::to_owned), is_secret });
    }

    fn show(&mut self, setting: Setting, value: String, origin: String) {
        self.shown.push(Shown { key: setting.key, variable: setting.variable, value: without_login(value), origin });
    }

    /// A setting that may be absent.
    pub(super) fn optional<T>(&mut self, setting: Setting, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.declare(setting, None, false);
        let Some(found) = self.find(setting) else {
            self.show(setting, String::new(), "unset".to_owned());
            return None;
        };
        match parse(found.text.trim()) {
            Ok(value) => {
                self.show(setting, found.text.trim().to_owned(), found.origin);
                Some(value)
            }
            Err(message) => {
                self.fault(found.name, message);
                None
            }
        }
    }

    /// A setting with a default, given as the text a user would write.
    pub(super) fn or<T>(&mut self, setting: Setting, default: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.declare(setting, Some(default), false);
        let from_default = || match parse(default) {
            Ok(value) => value,
            Err(message) => unreachable!("the default of {} is refused: {message}", setting.key),
        };
        let Some(found) = self.find(setting) else {
            self.show(setting, default.to_owned(), DEFAULT.to_owned());
            return from_default();
        };
        match parse(found.text.trim()) {
            Ok(value) => {
                self.show(setting, found.text.trim().to_owned(), found.origin);
                value
            }
            Err(message) => {
                self.fault(found.name, message);
                from_default()
            }
        }
    }

    /// The file that `<NAME>_FILE` names, if the environment has it.
    pub(super) fn secret_file(&self, setting: Setting) -> Option<PathBuf> {
        let path = self.environment.get(&format!("{}_FILE", setting.variable))?.trim();
        (!path.is_empty()).then(|| PathBuf::from(path))
    }

    /// A secret: from the environment, from the file that `<NAME>_FILE` names, or from the configuration file.
    pub(super) fn secret(&mut self, setting: Setting) -> Option<Secret> {
        self.secret_for(setting, false)
    }

    /// A secret that says where the gateway's data is: a command must not go on without it and use another place.
    pub(super) fn secret_of_place(&mut self, setting: Setting) -> Option<Secret> {
        self.secret_for(setting, true)
    }

    fn secret_for(&mut self, setting: Setting, is_needed: bool) -> Option<Secret> {
        self.declare(setting, None, true);
        let direct = self.find(setting);
        let mut from_file = None;
        for name in std::iter::once(setting.variable).chain(setting.aliases.iter().copied()) {
            let name = format!("{name}_FILE");
            if let Some(path) = self.environment.get(&name).filter(|path| !path.trim().is_empty()) {
                from_file = Some(SecretFile { name, path: PathBuf::from(path.trim()), is_needed });
                break;
            }
        }
        match (direct, from_file) {
            (Some(direct), Some(file)) if direct.origin == "environment" => {
                self.refuse(file.name, format!("{} is set too: set one of them", direct.name));
                None
            }
            (_, Some(file)) => self.secret_in(setting, file),
            (Some(direct), None) => {
                self.show(setting, "(redacted)".to_owned(), direct.origin);
                Some(self.give(setting, direct.text, None))
            }
            (None, None) => {
                self.show(setting, String::new(), "unset".to_owned());
                None
            }
        }
    }

    fn secret_in(&mut self, setting: Setting, file: SecretFile) -> Option<Secret> {
        let SecretFile { name, path, is_needed } = file.clone();
        let read = self.read_watched(setting.variable, &path);
        let message = match read {
            Ok(text) if text.trim().is_empty() => format!("{} is empty", path.display()),
            Ok(text) => {
                self.show(setting, "(redacted)".to_owned(), format!("{name} {}", path.display()));
                self.secret_files.insert(setting.variable, file);
                return Some(self.give(setting, text, Some(path)));
            }
            Err(error) => format!("{} cannot be read: {error}", path.display()),
        };
        self.fault_of_file(is_needed, name, message);
        None
    }

    fn give(&mut self, setting: Setting, text: String, file: Option<PathBuf>) -> Secret {
        // The final line break of a file is not part of a secret.
        let secret = Secret::new(text.trim_end_matches(['\n', '\r']));
        self.secrets.push(GivenSecret { variable: setting.variable, text: Secret::new(text), file });
        secret
    }

    fn read_watched(&mut self, setting: &'static str, path: &Path) -> std::io::Result<String> {
        self.watch(setting, path);
        std::fs::read_to_string(path)
    }

    /// Notes a file that must be read again when it changes.
    pub(super) fn watch(&mut self, setting: &'static str, path: impl Into<PathBuf>) {
        self.files.push(WatchedFile::new(setting, path));
    }

    /// Adds a fault for each key of the file that is not a setting, and returns all faults.
    pub(super) fn finish(mut self, reading: Reading) -> Findings {
        let unknown_keys: Vec<String> =
            self.file.keys().filter(|key| !self.read_keys.contains(key.as_str())).cloned().collect();
        let file = self.file_path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        for key in unknown_keys {
            let meant = did_you_mean(&key, self.read_keys.iter().copied());
            self.fault(key, format!("no such setting (in {file}){meant} `config show` lists all"));
        }
        let known = &self.read_variables;
        let unknown_variables: Vec<String> = self
            .environment
            .keys()
            .filter(|name| name.starts_with(PREFIX))
            .filter(|name| {
                !known.contains(name.strip_suffix("_FILE").unwrap_or(name)) && !known.contains(name.as_str())
            })
            .cloned()
            .collect();
        for name in unknown_variables {
            let (stem, suffix) = name.strip_suffix("_FILE").map_or((name.as_str(), ""), |stem| (stem, "_FILE"));
            let meant = did_you_mean(stem, self.read_variables.iter().copied()).replace('?', &format!("{suffix}?"));
            self.fault(name, format!("no such setting{meant} `config show` lists all"));
        }
        let is_left = |place: &usize| reading == Reading::Lenient && self.tolerable.contains(place);
        let (unusable, faults): (Vec<_>, Vec<_>) =
            self.faults.into_iter().enumerate().partition(|(place, _)| is_left(place));
        let plain = |faults: Vec<(usize, Fault)>| faults.into_iter().map(|(_, fault)| fault).collect();
        Findings {
            declared: self.declared,
            shown: self.shown,
            warnings: self.warnings,
            files: self.files,
            secrets: self.secrets,
            unusable: plain(unusable),
            faults: plain(faults),
        }
    }
}

fn flatten(prefix: &str, table: toml::Table, into: &mut BTreeMap<String, toml::Value>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(table) => flatten(&key, table, into),
            value => drop(into.insert(key, value)),
        }
    }
}
