//! The real binary as a child process, and a plain HTTP client for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use colony_gateway::domain::clock::Clock;
use colony_gateway::stripe::simulator::sign;

/// Signing secret of every gateway that the tests start.
pub const SECRET: &str = "whsec_tests";

/// Longest wait for anything. Reached only when a test fails.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A gateway under test. It is killed when dropped.
pub struct Gateway {
    /// The process.
    pub child: Child,
    /// Address for webhooks.
    pub webhooks: SocketAddr,
    /// Address of metrics and health.
    pub admin: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

/// How to start a gateway.
#[derive(Clone)]
pub struct Options {
    /// Its data directory.
    pub data: PathBuf,
    /// Further environment variables.
    pub environment: BTreeMap<String, String>,
    /// A program, with its arguments, that runs the gateway; empty by default.
    pub within: Vec<String>,
}

impl Options {
    /// Default options with this data directory.
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), environment: BTreeMap::new(), within: Vec::new() }
    }

    /// Sets a variable.
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.environment.insert(name.to_owned(), format!("{value}"));
        self
    }

    /// The command `colony-gateway` with these options and nothing else in its environment.
    pub fn command(&self) -> Command {
        let mut command = match self.within.split_first() {
            None => Command::new(crate::program()),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(crate::program());
                command
            }
        };
        command
            .env_clear()
            .env("STRIPE_WEBHOOK_SECRET", SECRET)
            .env("GATEWAY_DATA_DIR", &self.data)
            .env("GATEWAY_LISTEN", "127.0.0.1:0")
            .env("GATEWAY_ADMIN_LISTEN", "127.0.0.1:0")
            .env("GATEWAY_LOG_FORMAT", "json")
            .env("GATEWAY_LOG", "info")
            .envs(&self.environment)
            .stdin(Stdio::null());
        command
    }

    /// Starts `serve` and waits until it reports that it is ready.
    pub fn serve(&self) -> Gateway {
        match self.try_serve() {
            Ok(gateway) => gateway,
            Err(log) => panic!("the gateway did not become ready:\n{}", log.join("\n")),
        }
    }

    /// Starts `serve`. The error is its log if it ends before it is ready.
    pub fn try_serve(&self) -> Result<Gateway, Vec<String>> {
        self.try_start(&["serve"])
    }

    /// Starts a command that serves. The error is its log if it ends before it is ready.
    pub fn try_start(&self, arguments: &[&str]) -> Result<Gateway, Vec<String>> {
        let mut child = self.command().args(arguments).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stderr = child.stderr.take().expect("piped");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (ready, is_ready) = mpsc::channel();
        let lines = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(addresses) = ready_line(&line) {
                    let _ = ready.send(addresses);
                }
                lines.lock().expect("no panics while logging").push(line);
            }
        });
        if let Ok((webhooks, admin)) = is_ready.recv_timeout(PATIENCE) {
            return Ok(Gateway { child, webhooks, admin, log, reader: Some(reader) });
        }
        let _ = child.kill();
        let _ = child.wait();
        let _ = reader.join();
        let log = log.lock().expect("no panics while logging").clone();
        Err(log)
    }
}

fn ready_line(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    if line["message"] != "ready" {
        return None;
    }
    Some((line["webhooks"].as_str()?.parse().ok()?, line["admin"].as_str()?.parse().ok()?))
}

impl Gateway {
    /// The lines that it has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("no panics while logging").clone()
    }

    /// Everything that it logged before this call. The gateway writes its log in the background, so this sends a request
    /// that only the log notices and waits for its line.
    pub fn whole_log(&self) -> Vec<String> {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let mark = format!("MARK{}", ASKED.fetch_add(1, Ordering::Relaxed));
        request(self.admin, format!("{mark} /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes());
        let clock = Clock::system();
        let started = clock.instant();
        let marked = format!("\"{mark}\"");
        loop {
            let log = self.log();
            if log.iter().any(|line| line.contains(&marked)) {
                return log.into_iter().filter(|line| !line.contains("\"MARK")).collect();
            }
            assert!(clock.instant().duration_since(started) < PATIENCE, "{mark} is not in the log");
            std::thread::yield_now();
        }
    }

    /// Waits until it has logged this many requests. Every line must be JSON.
    pub fn request_lines(&self, number: usize) -> Vec<serde_json::Value> {
        let clock = Clock::system();
        let started = clock.instant();
        loop {
            let log = self.log();
            let lines = log.iter().map(|line| serde_json::from_str(line).expect("every line is JSON"));
            let requests: Vec<serde_json::Value> =
                lines.filter(|line: &serde_json::Value| line["target"] == "request").collect();
            if requests.len() >= number {
                return requests;
            }
            assert!(clock.instant().duration_since(started) < PATIENCE, "only {requests:?}");
            std::thread::yield_now();
        }
    }

    /// Posts a signed event to the main path.
    pub fn post(&self, body: &str) -> Reply {
        request(self.webhooks, &post("/webhooks/stripe", &[("stripe-signature", &signature(body))], body.as_bytes()))
    }

    /// Gets a path from the admin listener.
    pub fn admin_get(&self, path: &str) -> Reply {
        request(self.admin, &get(path))
    }

    /// Gets a path from the public listener.
    pub fn get(&self, path: &str) -> Reply {
        request(self.webhooks, &get(path))
    }

    /// The full health.
    pub fn health(&self) -> serde_json::Value {
        serde_json::from_str(&self.admin_get("/health").body).expect("health is JSON")
    }

    /// Waits until the full health report meets the condition.
    pub fn until(&self, done: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let clock = Clock::system();
        let started = clock.instant();
        loop {
            let health = self.health();
            if done(&health) {
                return health;
            }
            assert!(clock.instant().duration_since(started) < PATIENCE, "still {health}");
            std::thread::yield_now();
        }
    }

    /// Waits until nothing is under way any more.
    pub fn until_idle(&self) -> serde_json::Value {
        self.until(|health| ["waiting", "leased", "submitted"].iter().all(|state| health["inbox"][state] == 0))
    }

    /// Waits until this many webhook requests are being handled.
    pub fn until_in_hand(&self, requests: u64) {
        self.until(|_| self.metric("colony_gateway_webhook_requests_in_hand") == requests);
    }

    /// The value of a metric line. The line is a name such as `colony_gateway_connections`, with its labels if it has any.
    pub fn metric(&self, line: &str) -> u64 {
        let text = self.admin_get("/metrics").body;
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no metric {line} in\n{text}")).parse().expect("a whole number")
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Kills it, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.wait();
    }

    /// Waits until it ends.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("waited");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the log was read");
        }
        status
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the gateway ---\n{}", self.log().join("\n"));
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Body.
    pub body: String,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The `code` of the problem document.
    pub fn problem(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], self.status);
        document["code"].as_str().expect("a code").to_owned()
    }
}

/// A valid signature of the current time.
pub fn signature(body: &str) -> String {
    sign(SECRET, Clock::system().now(), body.as_bytes())
}

/// A request without a body.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n").into_bytes()
}

/// A request with a body of known length.
pub fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(request, "{name}: {value}\r\n");
    }
    let _ = write!(request, "content-length: {}\r\n\r\n", body.len());
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    request
}

/// Connects, with a long time-out for the answer.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket option");
    stream
}

/// Sends a request on a connection of its own and reads the answer.
pub fn request(address: SocketAddr, bytes: &[u8]) -> Reply {
    let mut stream = connect(address);
    // A server that refuses early may stop reading. Its answer still counts.
    let _ = stream.write_all(bytes);
    read_reply(&mut stream).expect("an answer")
}

/// Reads one answer; `None` if the connection ends without one.
pub fn read_reply(stream: &mut TcpStream) -> Option<Reply> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).expect("a head in ASCII");
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut body = bytes[head_end..].to_vec();
    if let Some(length) = headers.get("content-length") {
        let length: usize = length.parse().expect("a length");
        while body.len() < length {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(read) => body.extend_from_slice(&buffer[..read]),
            }
        }
    } else {
        let _ = stream.read_to_end(&mut body);
        body = unchunk(&body);
    }
    Some(Reply { status, headers, body: String::from_utf8(body).expect("a body in UTF-8") })
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size.filter(|size| *size > 0 && end + 2 + size <= bytes.len()) else { break };
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[(end + 4 + size).min(bytes.len())..];
    }
    body
}

/// An event that maps to nothing.
pub fn event(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","object":"event","type":"product.created","livemode":false,"created":1700000000,
        "api_version":"2025-03-31.basil","data":{{"object":{{"id":"prod_1","object":"product"}}}}}}"#
    )
}
