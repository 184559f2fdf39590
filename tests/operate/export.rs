//! Secrets for other places: private files, pipes, never a command line.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::gateway::{Options, SECRET};
use crate::run;

const TOKEN: &str = "an-admin-token-of-some-length";

fn options(directory: &Path) -> Options {
    let file = directory.join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    Options::new(directory).with("GATEWAY_ADMIN_TOKEN_FILE", file.display())
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_env_file_is_private_and_starts_the_same_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("secrets.env");
    let arguments = ["keys", "export", "--format", "env", "--out", out.to_str().unwrap()];
    let (code, stdout, stderr) = run(&options(directory.path()), &arguments);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    assert_eq!(mode(&out), 0o600);
    let text = std::fs::read_to_string(&out).unwrap();
    assert!(
        text.contains(&format!("STRIPE_WEBHOOK_SECRET={SECRET}\n"))
            && text.contains(&format!("GATEWAY_ADMIN_TOKEN={TOKEN}\n"))
    );
    assert_eq!(run(&options(directory.path()), &arguments).0, 1, "what is there stays");
}

#[test]
fn credentials_of_a_unit_are_files_of_their_own_that_the_gateway_reads() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("credentials");
    let arguments = ["keys", "export", "--format", "systemd", "--out", out.to_str().unwrap()];
    let (code, stdout, stderr) = run(&options(directory.path()), &arguments);
    assert_eq!(code, 0, "{stderr}");
    let secret = out.join("stripe_webhook_secret");
    assert_eq!((mode(&out), mode(&secret)), (0o700, 0o600));
    assert!(stdout.contains(&format!("LoadCredential=stripe_webhook_secret:{}\n", secret.display())), "{stdout}");
    assert!(stdout.contains("Environment=STRIPE_WEBHOOK_SECRET_FILE=%d/stripe_webhook_secret\n"));
    assert!(!stdout.contains(SECRET) && !stdout.contains(TOKEN));
    let read = Options::new(directory.path())
        .with("STRIPE_WEBHOOK_SECRET", "")
        .with("STRIPE_WEBHOOK_SECRET_FILE", secret.display());
    assert_eq!(run(&read, &["config", "check"]).0, 0);
}

#[test]
fn a_manifest_goes_down_a_pipe() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["keys", "export", "--format", "kubernetes", "--namespace", "pay", "--only", "GATEWAY_ADMIN_TOKEN"];
    let (code, stdout, stderr) = run(&options(directory.path()), &arguments);
    assert_eq!(code, 0, "{stderr}");
    let expected = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: colony-gateway\n  namespace: pay\ntype: Opaque\nstringData:\n  \
         GATEWAY_ADMIN_TOKEN: \"{TOKEN}\"\n"
    );
    assert_eq!(stdout, expected);
}

#[test]
fn commands_for_a_hosted_ci_name_files_and_no_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let export = ["keys", "export", "--format", "github"];
    let (code, _, stderr) = run(&options(directory.path()), &export);
    assert!(code == 1 && stderr.contains("--out"), "the webhook secret has no file: {stderr}");
    let out = directory.path().join("for-ci");
    let arguments = [export.as_slice(), &["--out", out.to_str().unwrap()]].concat();
    let (code, stdout, stderr) = run(&options(directory.path()), &arguments);
    assert_eq!(code, 0, "{stderr}");
    let file = out.join("stripe_webhook_secret");
    assert!(stdout.contains(&format!("gh secret set STRIPE_WEBHOOK_SECRET < '{}'\n", file.display())), "{stdout}");
    assert!(!stdout.contains(SECRET) && !stdout.contains(TOKEN));
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn a_terminal_is_shown_no_secrets_unless_asked() {
    let directory = tempfile::tempdir().unwrap();
    let command = options(directory.path()).command();
    // `script` gives the program a terminal.
    let on_terminal = |more: &str| {
        let line = format!("{} keys export --format env {more}", command.get_program().to_str().unwrap());
        let mut script = std::process::Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_clear();
        script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("PATH", "/usr/bin:/bin");
        script.stdin(std::process::Stdio::null()).output()
    };
    let Ok(output) = on_terminal("") else {
        eprintln!("skipped: `script` is not installed");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("--reveal") && !text.contains(TOKEN), "{text}");
    let text = String::from_utf8_lossy(&on_terminal("--reveal").unwrap().stdout).into_owned();
    assert!(text.contains(TOKEN), "{text}");
}
