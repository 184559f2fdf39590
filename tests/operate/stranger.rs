//! The path of a stranger, with nothing but the package: unpack it, begin a configuration, make the endpoint at Stripe, start, send
//! an event, follow it, open the console, hear of a problem, mend it, and find everything in order.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use testkit::program;

use crate::gateway::{Reply, request};
use crate::notify::Receiver;
use crate::stripe_endpoints::{StripeEndpoints, WRITE_KEY};

const TOKEN: &str = "a-token-that-a-stranger-made";

/// A machine on which the package is all there is.
struct Machine {
    root: PathBuf,
    home: PathBuf,
    config: PathBuf,
    /// Address of the admin listener of the gateway that runs; empty before.
    admin: String,
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine {
    /// Unpacks the package; without Debian's tools, the installer puts the same files there.
    fn with_the_package(directory: &Path) -> Self {
        let (root, home) = (directory.join("root"), directory.join("home"));
        std::fs::create_dir(&home).unwrap();
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
        if Command::new("dpkg-deb").arg("--version").output().is_ok() {
            let packages = directory.join("packages");
            let mut make = Command::new(deploy.join("package.sh"));
            make.arg("--binary").arg(program()).arg("--out").arg(&packages).arg("--deb-only");
            // A program of the tests is large; nothing here depends on how small its package is.
            make.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip").env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
            succeed(&mut make);
            let package = std::fs::read_dir(&packages).unwrap().map(|file| file.unwrap().path());
            let package = package.into_iter().find(|file| file.extension().is_some_and(|end| end == "deb")).unwrap();
            succeed(Command::new("dpkg-deb").arg("-x").arg(package).arg(&root));
        } else {
            succeed(Command::new(deploy.join("install.sh")).arg("--root").arg(&root).arg("--binary").arg(program()));
        }
        Self { root, config: home.join("gateway.toml"), home, admin: String::new() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let places = ["usr/bin/colony-gateway", "usr/local/bin/colony-gateway"];
        let program = places.iter().map(|place| self.root.join(place)).find(|file| file.exists()).expect("installed");
        let mut command = Command::new(program);
        command.env_clear().current_dir(&self.home).args(arguments).stdin(Stdio::null());
        if let Some(address) = self.admin.strip_prefix("http://") {
            // Its listener has a port that was free; without this, a stranger's has the one of the file.
            command.env("GATEWAY_ADMIN_LISTEN", address);
        }
        command.env("GATEWAY_CONFIG", &self.config).env("STRIPE_WEBHOOK_SECRET_FILE", self.home.join("secret"));
        command
    }

    /// Runs a command to its end: exit code, and all that it said.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
    }

    /// Takes the # before a setting of the file away and gives it a value.
    fn set(&self, section: &str, key: &str, value: &str) {
        let file = std::fs::read_to_string(&self.config).unwrap();
        let (mut here, mut is_set) = (section.is_empty(), false);
        let mut changed = String::new();
        for line in file.lines() {
            if line.starts_with('[') {
                here = line == format!("[{section}]");
            }
            if here && !is_set && line.starts_with(&format!("#{key} = ")) {
                is_set = true;
                let _ = writeln!(changed, "{key} = {value}");
            } else {
                let _ = writeln!(changed, "{line}");
            }
        }
        assert!(is_set, "the file shows no {key} in [{section}]");
        std::fs::write(&self.config, changed).unwrap();
    }

    /// Starts the gateway; the process, and where webhooks go.
    fn serve(&mut self) -> (Running, String) {
        let mut child = Running(self.command(&["serve"]).stderr(Stdio::piped()).spawn().unwrap());
        let mut said = String::new();
        let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines().map_while(Result::ok);
        let ready = lines.find_map(|line| {
            said.push_str(&line);
            serde_json::from_str::<Value>(&line).ok().filter(|line| line["message"] == "ready")
        });
        let ready = ready.unwrap_or_else(|| panic!("not ready: {said}"));
        // What it says later has to go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        self.admin = format!("http://{}", ready["admin"].as_str().unwrap());
        (child, format!("http://{}/webhooks/stripe", ready["webhooks"].as_str().unwrap()))
    }

    /// Asks the console as a browser does that follows no redirect.
    fn browse(&self, bytes: &[u8]) -> Reply {
        request(self.admin.trim_start_matches("http://").parse().unwrap(), bytes)
    }
}

fn ask(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        let _ = write!(request, "{name}: {value}\r\n");
    }
    let _ = write!(request, "\r\n{body}");
    request.into_bytes()
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_from_the_package_to_a_gateway_in_order() {
    let (stripe, receiver) = (StripeEndpoints::start().await, Receiver::start().await);
    let (stripe_url, receiver_url) = (stripe.base_url.clone(), receiver.url.clone());
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_owned();
    let (machine, gateway) =
        tokio::task::spawn_blocking(move || from_the_package_to_the_first_event(&place, &stripe_url, &receiver_url))
            .await
            .unwrap();
    assert_eq!(stripe.enabled().len(), 1);

    let opened = receiver.problem().await;
    assert_eq!(opened["news"], "opened", "{opened}");
    let (machine, dropped) = tokio::task::spawn_blocking(move || {
        let (code, said) = machine.run(&["check"]);
        assert_eq!(code, 1, "one event waits for a person: {said}");
        let dropped = machine.run(&["inbox", "drop", "--all", "--reason", "sent by hand, of another mode"]);
        (machine, dropped)
    })
    .await
    .unwrap();
    assert_eq!(dropped.0, 0, "{}", dropped.1);
    let over = receiver.problem().await;
    assert_eq!((&over["news"], &over["key"]), (&Value::from("resolved"), &opened["key"]));
    tokio::task::spawn_blocking(move || everything_is_in_order(&machine, gateway)).await.unwrap();
}

fn from_the_package_to_the_first_event(place: &Path, stripe: &str, receiver: &str) -> (Machine, Running) {
    let mut machine = Machine::with_the_package(place);
    let (code, said) = machine.run(&["--version"]);
    assert!(code == 0 && said.starts_with("colony-gateway "), "{said}");

    let config = machine.config.display().to_string();
    let (code, said) = machine.run(&["config", "init", &config]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(std::fs::metadata(&machine.config).unwrap().permissions().mode() & 0o777, 0o600);
    let data = format!("\"{}\"", machine.home.join("data").display());
    for (section, key, value) in [
        ("", "data_dir", data.as_str()),
        ("http", "listen", "\"127.0.0.1:0\""),
        ("http", "admin_listen", "\"127.0.0.1:0\""),
        ("http", "admin_token", &format!("{TOKEN:?}")),
        ("stripe", "mode", "\"test\""),
        ("stripe", "api_url", &format!("{stripe:?}")),
        ("colony", "enabled", "false"),
        ("notify", "webhook_url", &format!("{receiver:?}")),
        ("notify", "webhook_secret", "\"whsec_for_messages_to_a_stranger\""),
        ("notify", "after", "\"1ms\""),
        ("log", "format", "\"json\""),
    ] {
        machine.set(section, key, value);
    }

    let (code, said) = machine.run(&["config", "check"]);
    assert!(code == 2 && said.contains("STRIPE_WEBHOOK_SECRET"), "it says what is missing: {said}");
    let secret = machine.home.join("secret").display().to_string();
    let url = "https://pay.example.com/webhooks/stripe";
    let mut setup = machine.command(&["stripe", "setup", "--url", url, "--secret-file", &secret]);
    let mut setup = setup.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // The key is pasted at the prompt.
    writeln!(setup.stdin.take().unwrap(), "{WRITE_KEY}").unwrap();
    let made = setup.wait_with_output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    let (code, said) = machine.run(&["config", "check"]);
    assert_eq!(code, 0, "{said}");

    let (gateway, webhooks) = machine.serve();
    let mut tail = Running(machine.command(&["tail", "--json"]).stdout(Stdio::piped()).spawn().unwrap());
    let entries = BufReader::new(tail.0.stdout.take().unwrap()).lines();
    let mut entries = entries.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let send = |more: &[&str]| {
        let all = [&["send", "customer.subscription.created", "--url", &webhooks, "--json"], more].concat();
        let (code, said) = machine.run(&all);
        assert_eq!(code, 0, "{said}");
        serde_json::from_str::<Value>(&said).unwrap()["event"].as_str().unwrap().to_owned()
    };
    let event = send(&["--user", "ada", "--tier", "gold"]);
    let ended = entries.find(|entry| entry["event_id"] == event.as_str() && entry["state"] == "settled").unwrap();
    assert_eq!(ended["outcome"], "applied", "{ended}");
    the_console_opens(&machine, &event);
    // Of another mode than the one that this gateway takes: a person decides.
    send(&["--user", "eve", "--livemode"]);
    (machine, gateway)
}

/// The printed link leads to a page that knows the event.
fn the_console_opens(machine: &Machine, event: &str) {
    let (code, link) = machine.run(&["console"]);
    assert_eq!(code, 0, "{link}");
    let path = link.trim().strip_prefix(&machine.admin).expect("a link of this gateway");
    let host = ("host", machine.admin.trim_start_matches("http://"));
    let code = path.split_once("code=").expect("a code").1;
    let page = machine.browse(&ask("GET", path, &[host], ""));
    assert_eq!(page.status, 200, "{page:?}");
    let form = [host, ("origin", machine.admin.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let logged_in = machine.browse(&ask("POST", "/console/login", &form, &format!("code={code}")));
    assert_eq!(logged_in.status, 303, "{logged_in:?}");
    let cookie = logged_in.headers["set-cookie"].split(';').next().unwrap();
    let entries = machine.browse(&ask("GET", "/console/entries", &[host, ("cookie", cookie)], ""));
    assert!(entries.status == 200 && entries.body.contains(event), "{}", entries.body);
}

fn everything_is_in_order(machine: &Machine, mut gateway: Running) {
    let (code, said) = machine.run(&["check"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = machine.run(&["revenue", "--json"]);
    assert_eq!(code, 0, "{said}");
    let ended = Command::new("kill").arg("-TERM").arg(gateway.0.id().to_string()).status().unwrap();
    assert!(ended.success() && gateway.0.wait().unwrap().success());
}
