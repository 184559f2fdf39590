//! Layers, faults, secrets.

use std::io::Write;

use super::*;
use crate::stripe::endpoint::Mode;
use stripe_events::envelope::PayloadKind;

fn sources(environment: &[(&str, &str)], file: Option<&str>) -> (Sources, Option<tempfile::NamedTempFile>) {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let file = file.map(|text| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    });
    (Sources { environment, file: file.as_ref().map(|file| file.path().to_owned()) }, file)
}

fn read(environment: &[(&str, &str)], file: Option<&str>) -> Result<Config, ConfigError> {
    let (sources, _file) = sources(environment, file);
    Config::for_serve(&sources)
}

fn faults(environment: &[(&str, &str)], file: Option<&str>) -> Vec<String> {
    read(environment, file).map(|_| ()).unwrap_err().0.into_iter().map(|fault| fault.to_string()).collect()
}

const SECRET: (&str, &str) = ("STRIPE_WEBHOOK_SECRET", "whsec_one");

#[test]
fn one_secret_is_enough_to_serve_on_the_known_paths() {
    let config = read(&[SECRET], None).unwrap();
    assert_eq!(config.endpoints.len(), 1);
    assert_eq!(config.endpoints[0].paths, ["/webhooks/stripe", "/webhook", "/.netlify/functions/stripe-webhook"]);
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.http.admin_listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.inbox.keep_bodies, Duration::from_hours(35 * 24));
    assert!(config.warnings.is_empty());
}

#[test]
fn serving_needs_a_webhook_secret_and_tools_do_not() {
    for secret in [None, Some(("STRIPE_WEBHOOK_SECRET", "  "))] {
        let environment: Vec<_> = secret.into_iter().collect();
        let faults = faults(&environment, None);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("STRIPE_WEBHOOK_SECRET: no webhook secret"), "{faults:?}");
    }
    assert!(Config::for_tools(&Sources::default()).is_ok());
}

#[test]
fn what_is_no_signing_secret_is_refused_and_what_a_file_ends_with_is_no_part_of_a_secret() {
    for garbage in ["oops", "whsec_", "whsec_a<b", "<html>404</html>", "sk_test_1", "whsec_one,oops"] {
        let faults = faults(&[("STRIPE_WEBHOOK_SECRET", garbage)], None);
        assert!(faults[0].starts_with("STRIPE_WEBHOOK_SECRET: is no signing secret"), "{garbage}: {faults:?}");
        assert!(!faults[0].contains("oops"), "it is not shown");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "0123456789abcdef0123456789abcdef\n").unwrap();
    let config = read(&[SECRET, ("GATEWAY_ADMIN_TOKEN_FILE", file.path().to_str().unwrap())], None).unwrap();
    assert_eq!(config.http.admin_token.unwrap().expose(), "0123456789abcdef0123456789abcdef");
}

#[test]
fn bees_alone_listen_elsewhere_than_a_gateway_unless_they_are_told() {
    let config = |environment: &[(&str, &str)]| Config::for_bees(&sources(environment, None).0).unwrap();
    assert_eq!(config(&[]).http.admin_listen.to_string(), "127.0.0.1:9092");
    assert_eq!(config(&[("GATEWAY_ADMIN_LISTEN", "127.0.0.1:1")]).http.admin_listen.port(), 1);
}

#[test]
fn the_environment_goes_before_the_file_and_the_file_before_the_default() {
    let file = Some("data_dir = \"from-file\"\n[http]\nlisten = \"127.0.0.1:1\"\nheaders_max = 32\n");
    let config = read(&[SECRET, ("GATEWAY_LISTEN", "127.0.0.1:2")], file).unwrap();
    assert_eq!(config.http.listen.port(), 2);
    assert_eq!(config.http.connections.headers_max, 32);
    assert!(matches!(config.ledger, LedgerConfig::Sqlite { path } if path == *"from-file/ledger.db"));
    let origin = |key| config.shown.iter().find(|shown| shown.key == key).unwrap().origin.clone();
    assert_eq!(
        [origin("http.listen"), origin("http.headers_max"), origin("log.filter")],
        ["environment", "file", "default"]
    );
}

#[test]
fn every_fault_is_reported_at_once_by_the_name_that_the_user_wrote() {
    let file = "[http]\nlisten = \"nowhere\"\ntypo = 1\n[dispatch]\nlease = \"1s\"\n";
    let faults = faults(&[SECRET, ("GATEWAY_BATCH_ENTRIES_MAX", "257"), ("GATEWAY_LISSEN", "x")], Some(file));
    for start in [
        "http.listen: must be an address",
        "http.typo: no such setting",
        "dispatch.lease: must be at least twice",
        "GATEWAY_BATCH_ENTRIES_MAX: must be a whole number from 1 to 256",
        "GATEWAY_LISSEN: no such setting",
    ] {
        assert!(faults.iter().any(|fault| fault.starts_with(start)), "{start} is not in {faults:#?}");
    }
    assert_eq!(faults.len(), 5, "{faults:#?}");
}

#[test]
fn the_name_that_was_probably_meant_is_asked_for_and_no_far_one() {
    let file =
        "[http]\nheader_max = 1\n[foo]\nbar = 1\n[[endpoint]]\nname = \"a\"\npath = \"/a\"\nsecret = [\"whsec_a\"]\n";
    let environment = [SECRET, ("GATEWAY_LISSEN", "x"), ("GATEWAY_ADMIN_TOKN_FILE", "x"), ("GATEWAY_XYZ", "x")];
    let faults = faults(&environment, Some(file));
    for (start, meant) in [
        ("GATEWAY_LISSEN", Some("GATEWAY_LISTEN?")),
        ("GATEWAY_ADMIN_TOKN_FILE", Some("GATEWAY_ADMIN_TOKEN_FILE?")),
        ("GATEWAY_XYZ", None),
        ("http.header_max", Some("http.headers_max?")),
        ("foo.bar", None),
        ("endpoint[0].secret:", Some("secrets?")),
    ] {
        let fault = faults.iter().find(|fault| fault.starts_with(start));
        let fault = fault.unwrap_or_else(|| panic!("{start} is not in {faults:#?}"));
        let said = fault.split_once("Did you mean ").and_then(|(_, rest)| rest.split(' ').next());
        assert_eq!(said, meant, "{fault}");
    }
}

#[test]
fn secrets_come_from_files_too_but_not_from_both() {
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    secret.write_all(b"whsec_a,whsec_b\n").unwrap();
    let path = secret.path().to_str().unwrap();
    let config = read(&[("STRIPE_WEBHOOK_SECRET_FILE", path)], None).unwrap();
    assert_eq!(config.endpoints[0].secrets.get().len(), 2);
    assert!(config.warnings.is_empty(), "a final line break is normal: {:?}", config.warnings);
    let both = faults(&[SECRET, ("STRIPE_WEBHOOK_SECRET_FILE", path)], None);
    assert!(both[0].contains("STRIPE_WEBHOOK_SECRET is set too"), "{both:?}");
    let missing = faults(&[("STRIPE_WEBHOOK_SECRET_FILE", "/nonexistent/secret")], None);
    assert!(missing[0].starts_with("STRIPE_WEBHOOK_SECRET_FILE: /nonexistent/secret cannot be read"), "{missing:?}");
}

#[test]
fn white_space_around_a_secret_is_removed_with_a_warning_and_inside_is_refused() {
    let config = read(&[("STRIPE_WEBHOOK_SECRET", " whsec_one ")], None).unwrap();
    assert_eq!(config.warnings.len(), 1);
    let inside = faults(&[("STRIPE_WEBHOOK_SECRET", "whsec_one whsec_two")], None);
    assert!(inside[0].contains("separate several secrets with commas"), "{inside:?}");
    let blank = faults(&[("STRIPE_WEBHOOK_SECRET", "whsec_one,,whsec_two")], None);
    assert!(blank[0].contains("is blank"), "{blank:?}");
}

#[test]
fn no_secret_is_shown_anywhere() {
    let file = "[[endpoint]]\nname = \"thin\"\npath = \"/thin\"\npayload = \"thin\"\nsecrets = [\"whsec_hidden\"]\n";
    let config = read(&[("STRIPE_WEBHOOK_SECRET", "whsec_hidden_too")], Some(file)).unwrap();
    assert!(!format!("{config:?}").contains("whsec_hidden"));
    let refused = faults(&[("STRIPE_WEBHOOK_SECRET", "whsec_hidden x")], None);
    assert!(!format!("{refused:?}").contains("whsec_hidden"));
}

#[test]
fn endpoints_of_the_file_have_path_mode_form_and_secrets_of_their_own() {
    let file = r#"
        [[endpoint]]
        name = "connect"
        path = "/webhooks/stripe/connect"
        mode = "live"
        connect = true
        secrets = ["whsec_a", "whsec_b"]

        [[endpoint]]
        name = "thin"
        path = "/webhooks/stripe/thin"
        payload = "thin"
        secrets = ["whsec_c"]
    "#;
    let config = read(&[], Some(file)).unwrap();
    let [connect, thin] = &config.endpoints[..] else { panic!("{:?}", config.endpoints) };
    assert_eq!((connect.mode, connect.connect, connect.secrets.get().len()), (Mode::Live, Some(true), 2));
    assert_eq!((thin.payload, thin.mode), (PayloadKind::Thin, Mode::Any));
}

#[test]
fn endpoints_that_cannot_work_are_refused() {
    let table = |body: &str| format!("[[endpoint]]\nname = \"a\"\npath = \"/a\"\nsecrets = [\"whsec_a\"]\n{body}\n");
    let cases = [
        ("[[endpoint]]\nname = \"a\"\nsecrets = [\"whsec_a\"]\n".to_owned(), "needs a name and a path"),
        ("[[endpoint]]\nname = \"a\"\npath = \"/a\"\n".to_owned(), "needs secrets"),
        (table("mode = \"prod\""), "must be live, test or any"),
        (table("payload = \"fat\""), "must be snapshot or thin"),
        (table("colour = \"red\""), "no such setting"),
        (table(&table("")), "is used twice"),
        (
            "[[endpoint]]\nname = \"a\"\npath = \"/webhook\"\nsecrets = [\"whsec_a\"]\n".to_owned(),
            "/webhook is used twice",
        ),
        ("[[endpoint]]\nname = \"a\"\npath = \"/metrics\"\nsecrets = [\"whsec_a\"]\n".to_owned(), "gateway's own"),
        ("[[endpoint]]\nname = \"a\"\npath = \"/{x}\"\nsecrets = [\"whsec_a\"]\n".to_owned(), "plain path"),
        ("endpoint = 5\n".to_owned(), "must be a list of tables"),
    ];
    for (file, expected) in cases {
        let faults = faults(&[SECRET], Some(&file));
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected} is not in {faults:#?}");
    }
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_a_fault() {
    let sources = Sources { file: Some("/nonexistent/gateway.toml".into()), ..Sources::default() };
    let missing = Config::for_tools(&sources).map(|_| ()).unwrap_err().to_string();
    assert!(missing.contains("/nonexistent/gateway.toml: cannot be read"), "{missing}");
    assert!(faults(&[SECRET], Some("= nonsense"))[0].contains("is not TOML (line 1, column 1): "));
}

#[test]
fn a_line_that_is_no_toml_is_told_by_its_place_and_never_shown() {
    for line in [
        "webhook_secret = whsec_hidden",
        "webhook_secret = \"whsec_hidden",
        "webhook_secret = \"whsec_hidden\" # why\nwebhook_secret = \"whsec_hidden\"",
        "webhook_secret = \"whsec_hidden\" and more",
        "webhook_secret = 'whsec_hidden\0'",
        "whsec_hidden",
    ] {
        let faults = faults(&[], Some(&format!("[stripe]\n{line}\n")));
        assert!(faults[0].contains("is not TOML (line "), "{faults:?}");
        assert!(!faults.iter().any(|fault| fault.contains("hidden")), "{faults:?}");
    }
}

#[test]
fn a_price_stands_for_one_tier() {
    let config = read(&[SECRET, ("STRIPE_PRICE_GOLD", "price_1, price_2")], None).unwrap();
    assert_eq!(config.revenue.tiers, [("price_1".to_owned(), "gold"), ("price_2".to_owned(), "gold")]);
    let twice = faults(&[SECRET, ("STRIPE_PRICE_GOLD", "price_1"), ("STRIPE_PRICE_SILVER", "price_1")], None);
    assert!(twice[0].contains("another tier"), "{twice:?}");
}

#[test]
fn the_state_of_record_is_where_the_environment_says() {
    let (database, supabase) =
        (("DATABASE_URL", "postgres://localhost/db"), ("VITE_SUPABASE_URL", "https://a.supabase.co"));
    let key = ("SUPABASE_SERVICE_KEY", "service");
    let ledger = |environment: &[(&str, &str)]| read(environment, None).unwrap().ledger;
    assert!(matches!(ledger(&[SECRET]), LedgerConfig::Sqlite { .. }));
    assert!(matches!(ledger(&[SECRET, database, supabase, key]), LedgerConfig::Postgres { .. }));
    assert!(matches!(ledger(&[SECRET, supabase, key]), LedgerConfig::Supabase { .. }));
    assert!(matches!(ledger(&[SECRET, database, ("GATEWAY_LEDGER", "sqlite")]), LedgerConfig::Sqlite { .. }));
    assert!(faults(&[SECRET, supabase], None)[0].starts_with("SUPABASE_SERVICE_ROLE_KEY"));
    assert!(faults(&[SECRET, ("GATEWAY_LEDGER", "postgres")], None)[0].starts_with("DATABASE_URL"));
    assert!(faults(&[SECRET, ("GATEWAY_LEDGER", "supabase")], None)[0].starts_with("SUPABASE_URL"));
}

#[test]
fn what_late_events_need_is_kept_for_longer_than_stripe_lists_them() {
    let config = read(&[SECRET], None).unwrap();
    assert_eq!((config.keep_payloads, config.inbox.keep_held_bodies), (None, None), "for ever");
    for name in ["GATEWAY_LEDGER_KEEP_PAYLOADS", "GATEWAY_INBOX_KEEP_HELD_BODIES"] {
        let faults = faults(&[SECRET, (name, "34d")], None);
        assert!(faults[0].starts_with(&format!("{name}: must be at least 35d")), "{faults:?}");
    }
    let kept = [SECRET, ("GATEWAY_LEDGER_KEEP_PAYLOADS", "35d"), ("GATEWAY_INBOX_KEEP_HELD_BODIES", "400d")];
    let config = read(&kept, None).unwrap();
    assert_eq!(config.keep_payloads, Some(Duration::from_hours(35 * 24)));
    assert_eq!(config.inbox.keep_held_bodies, Some(Duration::from_hours(400 * 24)));
}

/// A file with this text, and the setting that names it.
fn secret_file(text: &str) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    (file, path)
}

#[test]
fn a_broken_file_of_a_secret_is_named_with_its_line_and_keeps_no_command_from_the_rest() {
    let (_webhook, webhook) = secret_file("whsec_one,\nsomething else\n");
    let (_token, token) = secret_file("short\n");
    let (_endpoint, endpoint) = secret_file("whsec_two\n\noops\n");
    let table = format!("[[endpoint]]\nname = \"a\"\npath = \"/a\"\nsecrets_file = \"{endpoint}\"\n");
    let given = [
        ("STRIPE_WEBHOOK_SECRET_FILE", &*webhook),
        ("GATEWAY_ADMIN_TOKEN_FILE", &*token),
        ("STRIPE_SECRET_KEY_FILE", "/nonexistent/key"),
    ];
    let expected = [
        format!("STRIPE_WEBHOOK_SECRET_FILE: {webhook}, line 2: "),
        format!("GATEWAY_ADMIN_TOKEN_FILE: {token}: must be at least"),
        format!("endpoint[0].secrets_file: {endpoint}, line 3: is no signing secret"),
        "STRIPE_SECRET_KEY_FILE: /nonexistent/key cannot be read".to_owned(),
    ];
    let (sources, _file) = sources(&given, Some(&table));
    let refused: Vec<String> = Config::for_serve(&sources).unwrap_err().0.iter().map(ToString::to_string).collect();
    let config = Config::for_tools(&sources).unwrap();
    let left: Vec<String> = config.unusable.iter().map(ToString::to_string).collect();
    for (said, who) in [(&refused, "serve"), (&left, "a command")] {
        assert_eq!(said.len(), expected.len(), "{who}: {said:#?}");
        for start in &expected {
            assert!(said.iter().any(|fault| fault.starts_with(start)), "{who}: {start} is not in {said:#?}");
        }
    }
    assert_eq!(
        (config.endpoints.len(), config.stripe.key.is_none()),
        (2, true),
        "the endpoints are there all the same"
    );
    assert!(Config::secrets(&sources).is_err(), "an export must be whole");
}

#[test]
fn no_command_goes_on_without_the_secret_that_says_where_the_data_is() {
    for name in [
        "DATABASE_URL_FILE",
        "SUPABASE_SERVICE_ROLE_KEY_FILE",
        "GATEWAY_INBOX_URL_FILE",
        "GATEWAY_LEDGER_OWNER_URL_FILE",
    ] {
        let mut given = vec![(name, "/nonexistent/secret")];
        given.extend(name.starts_with("SUPABASE").then_some(("SUPABASE_URL", "https://a.supabase.co")));
        let (sources, _) = sources(&given, None);
        let refused = Config::for_tools(&sources).map(|_| ()).unwrap_err().to_string();
        assert!(refused.starts_with("1 fault") && refused.contains(name), "{refused}");
    }
}

#[test]
fn a_product_is_not_taken_for_a_price() {
    let refused = faults(&[SECRET, ("STRIPE_PRICE_GOLD", "price_1,prod_1")], None);
    assert!(refused[0].starts_with("STRIPE_PRICE_GOLD: prod_1 is a product: name its price"), "{refused:?}");
}
