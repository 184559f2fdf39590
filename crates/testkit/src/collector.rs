//! A stand-in for an OpenTelemetry collector on loopback: takes OTLP over HTTP and decodes it with the project's own
//! messages.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;

/// Longest wait for spans. Reached only when a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Accepts everything.
    Take,
    /// Answers with this status.
    Status(u16),
    /// Reads the request but never answers.
    Hang,
}

/// A span as a process exported it.
#[derive(Clone, Debug)]
pub struct Span {
    /// `service.name` of the process.
    pub service: String,
    pub name: String,
    pub trace: Vec<u8>,
    pub id: Vec<u8>,
    /// Empty at the start of a trace.
    pub parent: Vec<u8>,
    /// Ids of the linked spans.
    pub links: Vec<Vec<u8>>,
    pub attributes: BTreeMap<String, String>,
    pub start: u64,
    pub end: u64,
}

#[derive(Debug, Default)]
struct Seen {
    connections: usize,
    /// Heads and bodies as they arrived.
    requests: Vec<(String, Vec<u8>)>,
    spans: Vec<Span>,
}

#[derive(Debug)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
    answer: Mutex<Answer>,
}

/// The collector. Its threads end with the test's process.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Collector {
    /// Listens on a free port.
    pub fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared { seen: Mutex::default(), changed: Condvar::new(), answer: Mutex::new(answer) });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                accepting.seen.lock().expect("no panics").connections += 1;
                accepting.changed.notify_all();
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    /// The value for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes how it answers from now on.
    pub fn set(&self, answer: Answer) {
        *self.shared.answer.lock().expect("no panics") = answer;
    }

    /// Number of connections so far.
    pub fn connections(&self) -> usize {
        self.shared.seen.lock().expect("no panics").connections
    }

    /// Heads and bodies of all requests so far.
    pub fn requests(&self) -> Vec<(String, Vec<u8>)> {
        self.shared.seen.lock().expect("no panics").requests.clone()
    }

    /// Waits until the spans that arrived meet the condition, and returns all of them.
    pub fn until(&self, what: &str, is_so: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let seen = self.shared.seen.lock().expect("no panics");
        let wait = self.shared.changed.wait_timeout_while(seen, PATIENCE, |seen| !is_so(&seen.spans));
        let (seen, waited) = wait.expect("no panics");
        assert!(!waited.timed_out(), "{what}: not in {:#?}", seen.spans);
        seen.spans.clone()
    }

    /// Waits until this many spans of this name have arrived, and returns all spans.
    pub fn until_spans(&self, name: &str, count: usize) -> Vec<Span> {
        self.until(name, |spans| spans.iter().filter(|span| span.name == name).count() >= count)
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        while let Some((head, body)) = read_request(&mut stream, &mut bytes) {
            let answer = *self.answer.lock().expect("no panics");
            let spans = if answer == Answer::Take { spans(&body) } else { Vec::new() };
            let mut seen = self.seen.lock().expect("no panics");
            seen.requests.push((head, body));
            seen.spans.extend(spans);
            drop(seen);
            self.changed.notify_all();
            let status = match answer {
                Answer::Take => 200,
                Answer::Status(status) => status,
                Answer::Hang => {
                    // Waits until the other side gives up.
                    let _ = stream.read(&mut [0; 1]);
                    return;
                }
            };
            let head =
                format!("HTTP/1.1 {status} X\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n");
            if stream.write_all(head.as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn read_request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let mut buffer = [0; 16 * 1024];
    let mut more = |bytes: &mut Vec<u8>| match stream.read(&mut buffer) {
        Ok(0) | Err(_) => None,
        Ok(read) => {
            bytes.extend_from_slice(&buffer[..read]);
            Some(())
        }
    };
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        more(bytes)?;
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head in ASCII").to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let length: usize = length.trim().parse().expect("a length");
    while bytes.len() < end + length {
        more(bytes)?;
    }
    let body = bytes[end..end + length].to_vec();
    bytes.drain(..end + length);
    Some((head, body))
}

fn spans(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).expect("a request of OTLP");
    let of_resource = |resource: opentelemetry_proto::tonic::trace::v1::ResourceSpans| {
        let about = attributes(resource.resource.expect("a resource").attributes);
        let service = about["service.name"].clone();
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans
            .map(|span| Span {
                service: service.clone(),
                name: span.name,
                trace: span.trace_id,
                id: span.span_id,
                parent: span.parent_span_id,
                links: span.links.into_iter().map(|link| link.span_id).collect(),
                attributes: attributes(span.attributes),
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
            })
            .collect::<Vec<_>>()
    };
    request.resource_spans.into_iter().flat_map(of_resource).collect()
}

fn attributes(list: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("an attribute is {other:?}"),
    };
    list.into_iter().map(|pair| (pair.key, text(pair.value.and_then(|value| value.value).expect("a value")))).collect()
}
