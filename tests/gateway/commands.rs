//! The command line: refusals, `config`, `dev`, `simulate`.

use std::process::Output;

use crate::gateway::{Options, SECRET};

pub(crate) fn run(options: &Options, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = options.command().args(arguments).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

#[test]
fn serve_refuses_to_start_without_a_webhook_secret_and_reports_every_fault() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path()).with("STRIPE_WEBHOOK_SECRET", "").with("GATEWAY_LEASE", "soon");
    let (code, _, stderr) = run(&options, &["serve"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("STRIPE_WEBHOOK_SECRET: no webhook secret"), "{stderr}");
    assert!(stderr.contains("GATEWAY_LEASE: must be a whole number and a unit"), "{stderr}");
}

#[test]
fn bees_that_were_told_of_no_ledger_or_of_another_one_do_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let key = "11".repeat(32);
    let bees = Options::new(directory.path())
        .with("COLONIES_SERVER_HOST", "http://127.0.0.1:9")
        .with("COLONIES_COLONY_NAME", "rec")
        .with("COLONIES_EXECUTOR_PRVKEY", &key)
        .with("ATTESTATION_PRVKEY", &key);
    let (code, _, stderr) = run(&bees, &["bee"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("DATABASE_URL") && stderr.contains("no setting says where"), "{stderr}");
    assert!(!directory.path().join("ledger.db").exists(), "no file is made that nobody reads");

    let bees = bees.with("GATEWAY_LEDGER_SQLITE_PATH", directory.path().join("other.db").display());
    let (code, _, stderr) = run(&bees.clone().with("GATEWAY_LEDGER_ID", "0".repeat(32)), &["bee"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("GATEWAY_LEDGER_ID: is 00000000000000000000000000000000, and the ledger"), "{stderr}");
    let (code, _, stderr) = run(&bees.with("GATEWAY_LEDGER_ID", "mine"), &["bee"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("32 lower-case hex digits"), "{stderr}");
}

#[test]
fn serve_says_which_address_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options::new(directory.path()).with("GATEWAY_LISTEN", taken.local_addr().unwrap());
    let (code, _, stderr) = run(&options, &["serve"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("http.listen") && stderr.contains("another program"), "{stderr}");
}

#[test]
fn a_list_whose_reader_has_seen_enough_ends_quietly() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path());
    // Without an inbox there is nothing to list, which is an error.
    let mut gateway = options.serve();
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    let listings: [&[&str]; 4] = [&["revenue"], &["revenue", "--json"], &["inbox", "list"], &["config", "show"]];
    for listing in listings {
        let mut command = options.command();
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = command.args(listing).stdout(writer).output().expect("the binary runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{listing:?}");
    }
}

#[test]
fn config_show_lists_every_setting_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let (code, stdout, _) = run(&Options::new(directory.path()), &["config", "show"]);
    assert_eq!(code, 0);
    for expected in ["http.listen", "GATEWAY_LISTEN", "127.0.0.1:0", "(environment)", "(default)", "(redacted)"] {
        assert!(stdout.contains(expected), "{expected} is not in\n{stdout}");
    }
    assert!(!stdout.contains(SECRET));
}

#[test]
fn config_init_makes_a_private_file_once_which_is_a_configuration() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let (options, file) = (Options::new(directory.path()), directory.path().join("gateway.toml"));
    let path = file.to_str().unwrap();
    let (code, _, stderr) = run(&options, &["config", "init", path]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(run(&options, &["--config", path, "config", "check"]).0, 0);
    std::fs::write(&file, "mode = \"live\"\n").unwrap();
    let (code, _, stderr) = run(&options, &["config", "init", path]);
    assert!(code == 1 && stderr.contains("exists already and was not changed"), "{stderr}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mode = \"live\"\n");
}

#[test]
fn what_a_package_installs_beside_the_program_comes_out_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path());
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, stderr) = run(&options, &["completions", shell]);
        assert!(code == 0 && script.contains("reconcile"), "{shell}: {stderr}");
    }
    let pages = directory.path().join("man1");
    assert_eq!(run(&options, &["man", pages.to_str().unwrap()]).0, 0);
    let page = std::fs::read_to_string(pages.join("colony-gateway-inbox-list.1")).unwrap();
    assert!(page.contains("List entries"), "{page}");
    let (code, version, _) = run(&options, &["--version"]);
    assert!(code == 0 && version.starts_with(concat!("colony-gateway ", env!("CARGO_PKG_VERSION"), " (")), "{version}");
    assert_eq!(run(&options, &["doctor", "--help"]).1, run(&options, &["check", "--help"]).1);
}

#[test]
fn config_check_tells_good_from_bad() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path());
    let (code, stdout, _) = run(&options.clone().with("STRIPE_SECRET_KEY", "rk_live_1"), &["config", "check"]);
    assert_eq!(code, 0, "what may surprise is no fault");
    for told in
        ["warning: endpoint stripe: it takes events of test mode too", "no price stands for a tier", "note: notify: "]
    {
        assert!(stdout.contains(told), "{told}: {stdout}");
    }
    assert!(stdout.ends_with("ok: 1 endpoint(s), ready to serve\n"), "{stdout}");
    assert_eq!(run(&options.clone().with("GATEWAY_TYPO", "1"), &["config", "check"]).0, 2);
    // As the driver reads it, and never shown.
    let refused = options.clone().with("DATABASE_URL", "postgres://u:hunter#2@db.example/x");
    let (code, stdout, stderr) = run(&refused, &["config", "check"]);
    assert!(
        code == 2 && stderr.contains("# as %23") && !format!("{stdout}{stderr}").contains("hunter"),
        "{stdout}{stderr}"
    );
    let doubtful = options.with("DATABASE_URL", "postgres://u:50%off@db.example/x?sslmode=require");
    let (code, stdout, _) = run(&doubtful, &["config", "check"]);
    assert!(code == 0 && stdout.contains("write % as %25"), "{stdout}");
}

#[test]
fn config_check_names_every_fault_at_once_whichever_part_finds_it() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path())
        .with("GATEWAY_LINGER", "5")
        .with("STRIPE_SECRET_KEY", "abc")
        .with("GATEWAY_GUARDIAN_RULES", "/nonexistent/rules.toml")
        .with("GATEWAY_LEDGER_OWNER_URL", "postgress://u:p@127.0.0.1/x");
    let (code, _, stderr) = run(&options, &["config", "check"]);
    assert!(code == 2 && stderr.contains("4 faults"), "{stderr}");
    for name in ["GATEWAY_LINGER: ", "STRIPE_SECRET_KEY: ", "GATEWAY_GUARDIAN_RULES: ", "GATEWAY_LEDGER_OWNER_URL: "] {
        assert!(stderr.contains(name), "{name} is not in {stderr}");
    }
    assert!(!stderr.contains("DATABASE_URL: "), "{stderr}");
}

#[test]
fn commands_make_no_ledger_and_say_where_they_looked() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path()).with("GATEWAY_ADMIN_TOKEN", "a-token-of-the-tests");
    let commands: [&[&str]; 6] = [
        &["revenue"],
        &["findings"],
        &["bind", "sub_1", "--user", "u1"],
        &["erase", "--user", "u1"],
        &["reconcile", "counts"],
        &["shadow", "report"],
    ];
    for command in commands {
        let (code, stdout, stderr) = run(&options, command);
        assert!(code == 1 && stderr.contains("there is no ledger at /"), "{command:?}: {code} {stdout}{stderr}");
        assert!(stderr.contains("DATABASE_URL") && stderr.contains("GATEWAY_DATA_DIR"), "{stderr}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn a_broken_secret_keeps_no_operator_from_work_and_check_names_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("webhook");
    std::fs::write(&secret, "whsec_tests").unwrap();
    let options = Options::new(&directory.path().join("data"))
        .with("STRIPE_WEBHOOK_SECRET", "")
        .with("STRIPE_WEBHOOK_SECRET_FILE", secret.display())
        .with("GATEWAY_ADMIN_TOKEN", "a-token-of-the-tests");
    let gateway = options.serve();
    std::fs::write(&secret, "garbage\n").unwrap();
    let beside = options.with("GATEWAY_ADMIN_LISTEN", gateway.admin).with("GATEWAY_LISTEN", gateway.webhooks);
    let place = format!("{}, line 1", secret.display());
    for command in [&["inbox", "list"] as &[&str], &["inbox", "problems"], &["revenue"]] {
        let (code, _, stderr) = run(&beside, command);
        assert!(code == 0 && stderr.contains(&place), "{command:?}: {code} {stderr}");
    }
    let (code, report, _) = run(&beside, &["check"]);
    assert!(code == 1 && report.contains(&place) && report.contains("keeps the old one"), "{code} {report}");
    let health = gateway.until(|health| health["components"]["settings"]["status"] == "degraded");
    assert!(health["components"]["settings"]["detail"].as_str().unwrap().contains(&place), "{health}");
    let (code, _, stderr) = run(&beside, &["send", "invoice.paid"]);
    assert!(code == 2 && stderr.contains(&place), "{code} {stderr}");
    drop(gateway);
    assert_eq!(run(&beside, &["serve"]).0, 2, "a start is refused");
}

#[test]
fn a_ledger_that_refuses_its_role_is_degraded_before_the_first_event() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).with("DATABASE_URL", "postgres://nobody@127.0.0.1:1/x").serve();
    assert_eq!(gateway.health()["components"]["ledger"]["status"], "degraded", "{}", gateway.health());
    assert_eq!(gateway.get("/readyz").status, 200);
}

#[test]
fn a_list_says_that_there_is_more_only_when_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path());
    let gateway = options.serve();
    for number in 1..=2 {
        assert_eq!(gateway.post(&crate::gateway::event(&format!("evt_{number}"))).status, 200);
    }
    gateway.until_idle();
    gateway.kill();
    let is_more =
        |limit: &str| run(&options, &["inbox", "list", "--limit", limit]).1.contains("there is more: --after 2");
    assert_eq!((is_more("1"), is_more("2"), is_more("3")), (true, false, false));
}

#[test]
fn a_database_beyond_private_networks_is_not_asked_in_plain_text() {
    let directory = tempfile::tempdir().unwrap();
    let plain = Options::new(directory.path()).with("DATABASE_URL", "postgres://u:hunter2@db.example.com/x");
    for command in [&["serve"] as &[&str], &["config", "check"], &["config", "show"]] {
        let (code, stdout, stderr) = run(&plain, command);
        assert!(code == 2 && stderr.contains("GATEWAY_ALLOW_PLAINTEXT=database"), "{command:?}: {code} {stderr}");
        assert!(!format!("{stdout}{stderr}").contains("hunter2"));
    }
    let allowed = plain.with("GATEWAY_ALLOW_PLAINTEXT", "database");
    for command in [&["config", "check"], &["config", "show"]] {
        let (code, stdout, stderr) = run(&allowed, command);
        assert!(code == 0 && stdout.contains("note: DATABASE_URL: not encrypted"), "{stdout}{stderr}");
    }
    let orders = Options::new(directory.path()).with("GATEWAY_ADMIN_TOKEN", "0123456789abcdef");
    let (code, _, stderr) = run(&orders, &["inbox", "list", "--admin", "http://gateway.example.com:9090"]);
    assert!(code == 2 && stderr.contains("GATEWAY_ALLOW_PLAINTEXT=admin"), "{code} {stderr}");
}

#[test]
fn dev_without_a_colony_applies_events_directly() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = [
        "dev",
        "--direct",
        "--events",
        "200",
        "--seed",
        "7",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let (code, stdout, stderr) = run(&Options::new(directory.path()), &arguments);
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    assert!(stdout.contains("200 events applied once each") && stdout.contains("route: direct"), "{stdout}");
}

#[test]
fn dev_applies_a_thousand_events_once_each_through_duplicates_and_disorder() {
    let directory = tempfile::tempdir().unwrap();
    let arguments =
        ["dev", "--events", "1000", "--seed", "7", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let (code, stdout, stderr) = run(&Options::new(directory.path()), &arguments);
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    assert!(stdout.contains("route: colony_os, "), "{stdout}");
    assert!(stdout.contains(" processes closed by 2 bees, 0 failed"), "{stdout}");
    assert!(stdout.contains("1000 events applied once each"), "{stdout}");
    assert!(stdout.contains("delivered 1000 events"), "{stdout}");
}

#[test]
fn simulate_exits_0_against_a_gateway_and_not_against_something_else() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path());
    let gateway = options.serve();
    let url = format!("http://{}/webhook", gateway.webhooks);
    let arguments = [
        "simulate",
        "--url",
        &url,
        "--events",
        "200",
        "--bad-signature",
        "5%",
        "--duplicate",
        "5%",
        "--out-of-order",
        "8",
    ];
    let (code, stdout, stderr) = run(&options, &arguments);
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    let health = gateway.until_idle();
    assert_eq!(health["inbox"]["settled"], 200, "{health}");
    let wrong = format!("http://{}/nowhere", gateway.webhooks);
    let (code, _, _) = run(&options, &["simulate", "--url", &wrong, "--events", "5"]);
    assert_ne!(code, 0);
}

#[test]
fn secrets_are_not_printed_into_a_file_that_others_can_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path());
    for (mode, written) in [(0o644, false), (0o640, false), (0o600, true)] {
        let path = directory.path().join("keys.env");
        let out = std::fs::File::create(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let ended = options.command().args(["keys", "generate"]).stdout(out).output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.success(), written, "{mode:o}: {stderr}");
        assert_eq!(std::fs::read(&path).unwrap().is_empty(), !written, "{mode:o}");
        assert!(written || (stderr.contains("others can read") && stderr.contains("--dir")), "{stderr}");
    }
}

#[test]
fn check_tells_of_files_that_others_can_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let options = Options::new(&data);
    let _gateway = options.serve();
    let files = || {
        let (_, report, _) = run(&options, &["check", "--json"]);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        report["components"].as_array().unwrap().iter().find(|one| one["component"] == "files").unwrap().clone()
    };
    assert_eq!(files()["status"], "ok");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(data.join("inbox.db"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let found = files();
    assert_eq!(found["status"], "degraded", "{found}");
    assert!(found["detail"].as_str().unwrap().contains("inbox.db"), "{found}");
    assert!(found["action"].as_str().unwrap().contains("chmod"), "{found}");
}
