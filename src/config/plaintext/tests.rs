//! One table of what is refused, what is allowed and what needs no permission.

use super::*;
use crate::config::{Config, Sources};

fn read(environment: &[(&str, &str)]) -> Result<Vec<Fault>, Vec<Fault>> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let sources = Sources { environment, file: None };
    Config::for_tools(&sources).map(|config| config.unencrypted).map_err(|error| error.0)
}

const KEY: (&str, &str) = ("SUPABASE_SERVICE_ROLE_KEY", "eyJ");

/// The setting, a value that leads beyond private networks, the word that allows it, and values that need no permission.
const TABLE: [(&str, &str, &str, &[&str]); 12] = [
    (
        "DATABASE_URL",
        "postgres://u:hunter2@db.example.com/x",
        "database",
        &[
            "postgres://u:p@localhost/x",
            "postgres://u:p@postgres:5432/x",
            "postgres://u:p@10.1.2.3/x?sslmode=disable",
            "postgres://u:p@/x?host=/run/postgresql",
            "postgres://u:p@db.example.com/x?sslmode=require",
            "postgres://u:p@db.example.com/x?sslmode=verify-full",
        ],
    ),
    ("DATABASE_URL", "postgres://u:p@db.example.com/x?sslmode=prefer", "database", &[]),
    ("DATABASE_URL", "postgres://u:p@203.0.113.9/x?sslmode=disable", "database", &[]),
    (
        "SUPABASE_URL",
        "http://project.supabase.co",
        "supabase",
        &["https://project.supabase.co", "http://127.0.0.1:54321", "http://rest:8000", "http://kong.internal"],
    ),
    (
        "COLONIES_SERVER_HOST",
        "http://colonies.example.com:50080",
        "colony",
        &["https://colonies.example.com", "http://colonies:50080", "192.168.0.7", "localhost"],
    ),
    ("COLONIES_SERVER_HOST", "colonies.example.com", "colony", &[]),
    ("COLONIES_SERVER_HOST", "http://one:50080,http://two.example.com", "colony", &[]),
    (
        "REDIS_URL",
        "redis://:hunter2@eu1.upstash.io:6379",
        "redis",
        &["rediss://:p@eu1.upstash.io:6379", "redis://redis:6379", "redis://[::1]:6379", "redis://10.0.0.1"],
    ),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "http://otlp.example.com:4318",
        "traces",
        &["https://otlp.example.com", "http://collector:4318", "http://127.0.0.1:4318"],
    ),
    (
        "GATEWAY_ADMIN_LISTEN",
        "0.0.0.0:9090",
        "admin",
        &["127.0.0.1:9090", "[::1]:1", "10.0.0.7:9090", "[fd00::1]:9090"],
    ),
    ("GATEWAY_ADMIN_LISTEN", "[::]:9090", "admin", &[]),
    ("GATEWAY_ADMIN_LISTEN", "203.0.113.7:9090", "admin", &[]),
];

#[test]
fn what_leaves_private_networks_unencrypted_is_refused_unless_it_is_allowed_by_name() {
    for (variable, far, word, near) in TABLE {
        let faults = read(&[KEY, (variable, far)]).unwrap_err();
        let [fault] = faults.as_slice() else { panic!("{variable} {far}: {faults:?}") };
        assert_eq!(fault.setting, variable, "{far}");
        assert!(fault.message.contains(&format!("GATEWAY_ALLOW_PLAINTEXT={word}")), "{fault}");
        assert!(!fault.message.contains("hunter2"), "{fault}");
        let others = Channel::ALL.map(Channel::word).into_iter().filter(|other| *other != word);
        let others = others.collect::<Vec<_>>().join(",");
        assert_eq!(read(&[KEY, (variable, far), ("GATEWAY_ALLOW_PLAINTEXT", &others)]).unwrap_err(), faults);
        for allowed in [word, "all"] {
            let notes = read(&[KEY, (variable, far), ("GATEWAY_ALLOW_PLAINTEXT", allowed)]).unwrap();
            assert!(notes.len() == 1 && notes[0].setting == variable, "{far}: {notes:?}");
        }
        for near in near {
            assert_eq!(read(&[KEY, (variable, near)]), Ok(Vec::new()), "{variable} {near}");
        }
    }
}

#[test]
fn a_colony_that_nothing_calls_is_named_and_keeps_nothing_from_starting() {
    let unused = [("COLONIES_SERVER_HOST", "colony.example.com"), ("USE_COLONY_OS", "false")];
    assert_eq!(read(&unused).unwrap()[0].setting, "COLONIES_SERVER_HOST");
    let key = ("COLONIES_EXECUTOR_PRVKEY", "ddf7f7791208083b6a9ed975a72684f6406a269cfa36f1b1c32045c0a71fff05");
    let switched_off = [unused[0], unused[1], key];
    assert_eq!(
        read(&switched_off).unwrap_err()[0].setting,
        "COLONIES_SERVER_HOST",
        "it can be switched on by an order"
    );
}

#[test]
fn hosts_of_a_colony_are_read_as_the_client_reads_them() {
    let hosts = |servers: &str| colony_hosts(servers, false);
    assert_eq!(hosts("a.example:50080, https://b.example,http://c.example/x,::1"), ["a.example", "c.example", "::1"]);
    assert_eq!(colony_hosts("a.example:1,http://c.example", true), ["c.example"]);
    assert_eq!(hosts(" , "), [""; 0]);
}

#[test]
fn each_connection_is_named_and_unknown_words_are_refused() {
    let all = [
        ("DATABASE_URL", "postgres://u:p@db.example.com/x"),
        ("COLONIES_SERVER_HOST", "a.example"),
        ("REDIS_URL", "redis://b.example"),
        ("GATEWAY_ADMIN_LISTEN", "0.0.0.0:1"),
    ];
    let mut named: Vec<String> = read(&all).unwrap_err().into_iter().map(|fault| fault.setting).collect();
    named.sort_unstable();
    assert_eq!(named, ["COLONIES_SERVER_HOST", "DATABASE_URL", "GATEWAY_ADMIN_LISTEN", "REDIS_URL"]);
    assert_eq!(read(&[("GATEWAY_ALLOW_PLAINTEXT", "true")]).unwrap_err()[0].setting, "GATEWAY_ALLOW_PLAINTEXT");
}

#[test]
fn an_admin_listener_elsewhere_is_asked_in_plain_text_in_private_networks_only() {
    let none = PlaintextAllowed::default();
    for url in ["http://127.0.0.1:9090", "http://gateway:9090", "https://gateway.example.com"] {
        assert_eq!(none.admin_url("--admin", url), Ok(None), "{url}");
    }
    let far = "http://gateway.example.com:9090";
    assert_eq!(none.admin_url("--admin", far).unwrap_err().setting, "--admin");
    let allowed: PlaintextAllowed = "redis, admin".parse().unwrap();
    assert!(allowed.admin_url("--admin", far).unwrap().is_some());
}
