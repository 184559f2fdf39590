//! Webhook endpoints: the one that the environment describes, and more in the file's `[[endpoint]]` tables.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::fault::did_you_mean;
use super::reader::Reader;
use super::setting::{Form, Setting, setting};
use crate::domain::ids::EndpointName;
use crate::domain::secret::Secret;
use crate::stripe::endpoint::{Endpoint, Mode};
use stripe_events::envelope::PayloadKind;
use stripe_events::signature::SigningSecret;

const WEBHOOK_SECRET: Setting = setting(
    "stripe.webhook_secret",
    "STRIPE_WEBHOOK_SECRET",
    "Signing secrets of the webhook endpoint (whsec_…); two, separated by a comma, while you roll one.",
);
const MODE: Setting = setting("stripe.mode", "GATEWAY_STRIPE_MODE", "Mode of the events that the gateway takes.")
    .takes(Form::Words(&["live", "test", "any"]));

/// A key of an `[[endpoint]]` table.
#[derive(Clone, Copy, Debug)]
pub struct EndpointKey {
    pub name: &'static str,
    pub about: &'static str,
    /// A value as it may stand in the file, in TOML.
    pub example: &'static str,
}

const fn key(name: &'static str, about: &'static str, example: &'static str) -> EndpointKey {
    EndpointKey { name, about, example }
}

/// The keys of an endpoint in the file. Each endpoint needs a name, a path, and secrets in one of the two ways.
pub const ENDPOINT_KEYS: [EndpointKey; 7] = [
    key("name", "Name of the endpoint, in logs and with entries.", "\"connect\""),
    key("path", "Path that Stripe posts to.", "\"/webhooks/stripe/connect\""),
    key("mode", "Mode of the events that the gateway takes: `live`, `test` or `any`, the default.", "\"any\""),
    key("payload", "`snapshot`, the default, or `thin` for thin events.", "\"snapshot\""),
    key("connect", "Whether the events come from connected accounts. Unset: both.", "true"),
    key("secrets", "Signing secrets (whsec_…).", "[\"whsec_…\"]"),
    key(
        "secrets_file",
        "File with the signing secrets, one per line, instead of `secrets`.",
        "\"/etc/colony-gateway/connect\"",
    ),
];

/// Paths of the endpoint that the environment describes: ours, and those of the systems that the gateway replaces.
const DEFAULT_PATHS: [&str; 3] = ["/webhooks/stripe", "/webhook", "/.netlify/functions/stripe-webhook"];

/// Most endpoints. Stripe allows 16 per account, and there may be several accounts.
const ENDPOINTS_MAX: usize = 64;

/// Most secrets of one endpoint. Stripe has at most two during a roll, and a local `stripe listen` adds one.
const SECRETS_MAX: usize = 16;

/// Paths that the gateway itself answers.
const RESERVED: [&str; 4] = ["/health", "/livez", "/readyz", "/metrics"];

/// Reads every endpoint. Without any there is nothing to serve, which is a fault if `required`.
pub(super) fn read(reader: &mut Reader, tolerance: Duration, required: bool) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    let mode = reader.or(MODE, "any", parse_mode);
    let text = reader.secret(WEBHOOK_SECRET);
    // An endpoint with broken secrets still counts, for commands that need no secrets.
    if text.is_some() || reader.has_fault(WEBHOOK_SECRET.variable) {
        let secrets = text.map(|text| secrets(reader, WEBHOOK_SECRET.variable, &text)).unwrap_or_default();
        endpoints.push(Endpoint {
            name: EndpointName::new("stripe"),
            paths: DEFAULT_PATHS.map(str::to_owned).to_vec(),
            secrets: secrets.into(),
            mode,
            payload: PayloadKind::Snapshot,
            connect: None,
            tolerance,
            tally: Arc::default(),
        });
    }
    match reader.take("endpoint") {
        Some(toml::Value::Array(tables)) => {
            for (index, table) in tables.into_iter().enumerate() {
                let place = format!("endpoint[{index}]");
                match table {
                    toml::Value::Table(table) => endpoints.extend(from_table(reader, &place, table, tolerance)),
                    _ => reader.fault(place, "must be a table: write [[endpoint]]"),
                }
            }
        }
        Some(_) => reader.fault("endpoint", "must be a list of tables: write [[endpoint]]"),
        None => {}
    }
    if endpoints.is_empty() && required {
        reader.fault(
            "STRIPE_WEBHOOK_SECRET",
            "no webhook secret: set it to the signing secret (whsec_…) of your endpoint in Stripe's dashboard, or point \
             STRIPE_WEBHOOK_SECRET_FILE to a file that holds it, or describe endpoints in the configuration file",
        );
    }
    if endpoints.len() > ENDPOINTS_MAX {
        reader.fault("endpoint", format!("at most {ENDPOINTS_MAX} endpoints"));
    }
    refuse_twins(reader, &endpoints);
    endpoints
}

fn from_table(reader: &mut Reader, place: &str, mut table: toml::Table, tolerance: Duration) -> Option<Endpoint> {
    let name = text(reader, place, &mut table, "name");
    let path = text(reader, place, &mut table, "path");
    let mode = text(reader, place, &mut table, "mode");
    let payload = text(reader, place, &mut table, "payload");
    let connect = match table.remove("connect") {
        None => None,
        Some(toml::Value::Boolean(connect)) => Some(connect),
        Some(_) => {
            reader.fault(format!("{place}.connect"), "must be true or false");
            None
        }
    };
    let secrets = table_secrets(reader, place, &mut table);
    for key in table.keys() {
        let names = || ENDPOINT_KEYS.iter().map(|known| known.name);
        let (meant, known) = (did_you_mean(key, names()), names().collect::<Vec<_>>().join(", "));
        reader.fault(format!("{place}.{key}"), format!("no such setting{meant} An endpoint has {known}"));
    }
    let (Some(name), Some(path)) = (name, path) else {
        reader.fault(place, "needs a name and a path");
        return None;
    };
    if !path.starts_with('/') || path.contains(['{', '}', '*', ' ', '?', '#']) {
        reader.fault(format!("{place}.path"), "must be a plain path that starts with a slash");
        return None;
    }
    // Requests with and without a final slash are for the same endpoint.
    let path = match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        plain => plain.to_owned(),
    };
    let mode = mode.map_or(Ok(Mode::Any), |mode| parse_mode(&mode));
    let payload = match payload.as_deref() {
        None | Some("snapshot") => Ok(PayloadKind::Snapshot),
        Some("thin") => Ok(PayloadKind::Thin),
        Some(_) => Err("must be snapshot or thin".to_owned()),
    };
    if let Err(message) = &mode {
        reader.fault(format!("{place}.mode"), message);
    }
    if let Err(message) = &payload {
        reader.fault(format!("{place}.payload"), message);
    }
    let (name, paths, secrets) = (EndpointName::new(name), vec![path], secrets.into());
    let (mode, payload, tally) = (mode.ok()?, payload.ok()?, Arc::default());
    Some(Endpoint { name, paths, secrets, mode, payload, connect, tolerance, tally })
}

fn text(reader: &mut Reader, place: &str, table: &mut toml::Table, key: &str) -> Option<String> {
    match table.remove(key)? {
        toml::Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        _ => {
            reader.fault(format!("{place}.{key}"), "must be text");
            None
        }
    }
}

fn table_secrets(reader: &mut Reader, place: &str, table: &mut toml::Table) -> Vec<SigningSecret> {
    let mut all = Vec::new();
    let mut is_named = false;
    match table.remove("secrets") {
        None => {}
        Some(toml::Value::Array(items)) if items.iter().all(toml::Value::is_str) => {
            for item in items {
                let text = Secret::new(item.as_str().unwrap_or_default());
                all.extend(secrets(reader, &format!("{place}.secrets"), &text));
            }
        }
        Some(_) => reader.fault(format!("{place}.secrets"), "must be a list of texts"),
    }
    if let Some(path) = text(reader, place, table, "secrets_file") {
        let name = format!("{place}.secrets_file");
        is_named = true;
        reader.watch("endpoint.secrets_file", &path);
        match std::fs::read_to_string(&path) {
            Ok(content) => {
                let lines = (1..).zip(content.lines().map(str::trim)).filter(|(_, line)| !line.is_empty());
                let items: Vec<_> =
                    lines.flat_map(|(number, line)| line.split(',').map(move |item| (number, item))).collect();
                let (good, faults) = parsed(&items);
                if items.is_empty() {
                    reader.fault_of_secret(&name, format!("{path} is empty"));
                }
                for (line, message) in faults {
                    reader.fault_of_secret(&name, format!("{path}, line {line}: {message}"));
                }
                all.extend(good);
            }
            Err(error) => reader.fault_of_secret(name, format!("{path} cannot be read: {error}")),
        }
    }
    if all.is_empty() && !is_named {
        reader.fault(place, "needs secrets or secrets_file");
    }
    all
}

/// One secret, or several separated by commas.
fn secrets(reader: &mut Reader, name: &str, text: &Secret) -> Vec<SigningSecret> {
    let mut line = 1;
    let item = |item| {
        let place = item_line(line, item);
        line += item.matches('\n').count();
        (place, item)
    };
    let items: Vec<(usize, &str)> = text.expose().trim_end().split(',').map(item).collect();
    let (good, faults) = parsed(&items);
    for (line, message) in faults {
        reader.fault_in_line(name, Some(line), message);
    }
    // A final line break in a file is normal. Anything else was probably copied by mistake.
    if text.expose().trim_end_matches(['\n', '\r']).trim() != text.expose().trim_end_matches(['\n', '\r']) {
        reader.warn(name, "white space around a secret was removed");
    }
    good
}

/// The line on which an item begins, whose text begins on line `from`.
fn item_line(from: usize, item: &str) -> usize {
    from + item[..item.len() - item.trim_start().len()].matches('\n').count()
}

/// The secrets among items, each with its line, and for the others the line and the fault.
fn parsed(items: &[(usize, &str)]) -> (Vec<SigningSecret>, Vec<(usize, String)>) {
    let (mut good, mut faults) = (Vec::new(), Vec::new());
    if items.len() > SECRETS_MAX {
        faults.push((items[SECRETS_MAX].0, format!("at most {SECRETS_MAX} secrets")));
    }
    for (line, item) in items.iter().take(SECRETS_MAX) {
        match SigningSecret::parse(item) {
            Ok((secret, _)) if is_signing_secret(item.trim()) => good.push(secret),
            Ok(_) => {
                let message = "is no signing secret: Stripe's begin with whsec_ and have letters and digits after it";
                faults.push((*line, message.to_owned()));
            }
            Err(error) => faults.push((*line, error.to_string())),
        }
    }
    (good, faults)
}

/// Whether it has the form of Stripe's signing secrets. Otherwise the file holds something else, or a part of a secret.
fn is_signing_secret(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte);
    text.strip_prefix("whsec_").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(is_plain))
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    match text {
        "live" => Ok(Mode::Live),
        "test" => Ok(Mode::Test),
        "any" => Ok(Mode::Any),
        _ => Err("must be live, test or any".to_owned()),
    }
}

/// Two endpoints with the same path or name cannot be told apart.
fn refuse_twins(reader: &mut Reader, endpoints: &[Endpoint]) {
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for endpoint in endpoints {
        if !names.insert(endpoint.name.as_str()) {
            reader.fault("endpoint.name", format!("{} is used twice", endpoint.name));
        }
        for path in &endpoint.paths {
            if RESERVED.contains(&path.as_str()) || path.starts_with("/admin") {
                reader.fault("endpoint.path", format!("{path} is the gateway's own"));
            }
            if !paths.insert(path.as_str()) {
                reader.fault("endpoint.path", format!("{path} is used twice"));
            }
        }
    }
}
