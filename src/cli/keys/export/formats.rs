//! The forms of exported secrets. Pure: texts in, texts out.

use std::fmt::Write as _;

use anyhow::ensure;

use crate::config::GivenSecret;
use crate::domain::secret::Secret;

/// Variables with several values.
const LISTS: [&str; 4] = ["STRIPE_WEBHOOK_SECRET", "ATTESTATION_PUBKEYS", "SEALING_PRVKEY", "SEALING_PUBKEYS"];

/// One secret on one line: without the final line break of its file, and lists with commas.
pub(super) fn one_line(secret: &GivenSecret) -> Secret {
    let text = secret.text.expose();
    if !LISTS.contains(&secret.variable) {
        return Secret::new(text.trim());
    }
    let items = text.split(|letter: char| letter == ',' || letter.is_whitespace()).filter(|item| !item.is_empty());
    Secret::new(items.collect::<Vec<_>>().join(","))
}

/// A file of `NAME=value` lines that systemd, containers and shells read in the same way.
pub(super) fn env(secrets: &[GivenSecret]) -> anyhow::Result<Secret> {
    let mut text = String::from("# Secrets of colony-gateway. Readable by its user alone.\n");
    for secret in secrets {
        let (name, value) = (secret.variable, one_line(secret));
        let value = value.expose();
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_./:@%+=,~?&-".contains(letter);
        if value.chars().all(is_plain) {
            let _ = writeln!(text, "{name}={value}");
        } else {
            ensure!(
                !value.contains(|letter: char| matches!(letter, '\'' | '\\') || letter.is_control()),
                "{name} holds a quote, a backslash or a line break, which not every reader of such files takes: use another format"
            );
            let _ = writeln!(text, "{name}='{value}'");
        }
    }
    Ok(Secret::new(text))
}

/// A manifest of a Kubernetes Secret, one key per variable.
pub(super) fn kubernetes(secrets: &[GivenSecret], name: &str, namespace: Option<&str>) -> anyhow::Result<Secret> {
    for part in [Some(name), namespace].into_iter().flatten() {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let edges = part.starts_with('-') || part.ends_with('-');
        ensure!(
            (1..=63).contains(&part.len()) && part.bytes().all(is_plain) && !edges,
            "`{part}` is no name for Kubernetes: small letters, digits and dashes"
        );
    }
    let mut text = format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n");
    if let Some(namespace) = namespace {
        let _ = writeln!(text, "  namespace: {namespace}");
    }
    text.push_str("type: Opaque\nstringData:\n");
    for secret in secrets {
        // A JSON string is also one of YAML, whatever it contains.
        let _ = writeln!(text, "  {}: {}", secret.variable, serde_json::to_string(one_line(secret).expose())?);
    }
    Ok(Secret::new(text))
}

/// Name of the file or credential of a secret.
pub(super) fn file_name(secret: &GivenSecret) -> String {
    secret.variable.to_ascii_lowercase()
}

/// Text in single quotes for a shell.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(variable: &'static str, text: &str) -> GivenSecret {
        GivenSecret { variable, text: Secret::new(text), file: None }
    }

    #[test]
    fn an_env_file_has_one_plain_line_a_secret() {
        let secrets = [
            given("STRIPE_WEBHOOK_SECRET", "whsec_1, whsec_2\n"),
            given("B", "postgres://u:p%24@h/x"),
            given("C", "p$#w"),
        ];
        let text = env(&secrets).unwrap();
        let lines: Vec<&str> = text.expose().lines().skip(1).collect();
        assert_eq!(lines, ["STRIPE_WEBHOOK_SECRET=whsec_1,whsec_2", "B=postgres://u:p%24@h/x", "C='p$#w'"]);
        let error = env(&[given("D", "it's hunter2")]).unwrap_err().to_string();
        assert!(error.contains('D') && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_manifest_is_yaml_whatever_a_secret_holds() {
        let text = kubernetes(&[given("A", "x: \"y\"\\ #z")], "gateway", Some("pay")).unwrap();
        assert!(text.expose().contains("  namespace: pay\n"));
        assert!(text.expose().ends_with("stringData:\n  A: \"x: \\\"y\\\"\\\\ #z\"\n"), "{}", text.expose());
        for bad in ["", "Gateway", "a b", "-a", "a\nb: c"] {
            assert!(kubernetes(&[], bad, None).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_shell_reads_quoted_text_as_it_is() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
