//! What the command line accepts.

use clap::{CommandFactory as _, Parser};

use super::*;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    args: SimulateArgs,
}

fn parse(args: &[&str]) -> Result<SimulateArgs, clap::Error> {
    Program::try_parse_from([&["simulate", "--secret", "whsec_test"], args].concat()).map(|program| program.args)
}

#[test]
fn the_arguments_are_well_formed() {
    Program::command().debug_assert();
}

#[test]
fn the_defaults_deliver_everything_once() {
    let args = parse(&[]).expect("a secret is enough");
    assert_eq!((args.duplicate, args.bad_signature, args.out_of_order, args.age), (0.0, 0.0, 0, 0));
    let url = |listen: Option<&str>| {
        let environment = listen.map(|listen| ("GATEWAY_LISTEN".to_owned(), listen.to_owned())).into_iter().collect();
        url(&args, &Sources { environment, file: None }).expect("an address").to_string()
    };
    assert_eq!(url(None), "http://127.0.0.1:8080/webhooks/stripe");
    assert_eq!(url(Some("0.0.0.0:9")), "http://127.0.0.1:9/webhooks/stripe", "as `send` does");
    assert_eq!(args.api_version, ApiVersions::Mixed);
}

#[test]
fn shares_are_given_as_fraction_or_percentage() {
    assert!((parse(&["--duplicate", "0.25"]).expect("a fraction").duplicate - 0.25).abs() < 1e-9);
    assert!((parse(&["--duplicate", "25%"]).expect("a percentage").duplicate - 0.25).abs() < 1e-9);
    for wrong in ["1.5", "-1", "120%", "NaN", "many"] {
        let error = parse(&[&format!("--duplicate={wrong}")]).expect_err("no share").to_string();
        assert!(error.contains("from 0 to 1"), "{error}");
    }
}

#[test]
fn bounds_are_refused_with_what_to_give() {
    for (arg, hint) in [
        ("--users=0", "from 1 to"),
        ("--users=1000001", "from 1 to"),
        ("--concurrency=1025", "from 1 to"),
        ("--concurrency=0", "from 1 to"),
        ("--rate=0", "greater than 0"),
        ("--rate=inf", "greater than 0"),
        ("--out-of-order=10001", "0..=10000"),
        ("--events=0", "events"),
        ("--api-version=1999-01-01", "known are"),
        ("--url=nowhere", "--url"),
    ] {
        let error = parse(&[arg]).expect_err(arg).to_string();
        assert!(error.contains(hint), "{arg}: {error}");
    }
}

#[test]
fn several_secrets_are_separated_by_commas_and_never_shown() {
    let args = Program::try_parse_from(["simulate", "--secret", "whsec_a, whsec_b"]).expect("two secrets").args;
    assert_eq!(args.secret, [Secret::new("whsec_a"), Secret::new("whsec_b")]);
    assert!(!format!("{args:?}").contains("whsec_a"));
}

#[tokio::test]
async fn an_age_that_may_be_answered_either_way_is_refused() {
    let args = parse(&["--age", "300"]).expect("a number");
    let error = run(args, &Sources::default(), Clock::system()).await.expect_err("undecided").to_string();
    assert!(error.contains("less than 285 or more than 300"), "{error}");
}

#[test]
fn secrets_come_from_the_file_that_the_gateway_reads_them_from() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "whsec_a, whsec_b\n").expect("written");
    let path = file.path().to_str().expect("UTF-8");
    let args = |args: &[&str]| Program::try_parse_from([&["simulate"], args].concat()).expect("arguments").args;
    let read = with_secret_file(args(&["--secret-file", path])).expect("two secrets");
    assert_eq!(read.secret, [Secret::new("whsec_a"), Secret::new("whsec_b")]);
    let given = args(&["--secret", "whsec_c", "--secret-file", path]);
    assert_eq!(with_secret_file(given).expect("given").secret, [Secret::new("whsec_c")]);
    assert!(with_secret_file(args(&["--secret-file", "/nowhere"])).is_err());
}

#[tokio::test]
async fn a_missing_secret_and_a_wrong_scheme_are_told() {
    let mut args = parse(&[]).expect("defaults");
    args.secret.clear();
    let error = run(args.clone(), &Sources::default(), Clock::system()).await.expect_err("no secret").to_string();
    assert!(error.contains("STRIPE_WEBHOOK_SECRET"), "{error}");
    args.url = Some("ftp://127.0.0.1/".parse().expect("a URL"));
    args.secret.push(Secret::new("whsec_a"));
    let error = run(args, &Sources::default(), Clock::system()).await.expect_err("no FTP").to_string();
    assert!(error.contains("http://"), "{error}");
}
