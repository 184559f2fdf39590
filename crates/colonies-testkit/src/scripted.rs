//! A server on loopback that does with each request exactly what a test tells it, down to breaking the connection.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier, Mutex, PoisonError};

use colonies::client::ServerUrl;
use colonies::messages::{Message, ReplyEnvelope, RequestEnvelope, SealedReply};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What the server does with the next request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answer with a status and a body.
    Answer(u16, Vec<u8>),
    /// Answer when the test reaches the barrier too.
    AnswerAfter(Arc<Barrier>, u16, Vec<u8>),
    /// Say nothing and keep the connection open.
    Silence,
    /// Read the request, then close the connection without a word.
    Hang,
    /// Promise a longer body than the one that follows.
    CutShort,
    /// Send a body without end.
    Flood,
}

impl Act {
    /// The answer of a Colonies server that did as it was asked.
    pub fn done<M: Message>(reply: &M::Reply) -> Self {
        Self::sealed(&ReplyEnvelope::success::<M>(reply).expect("a reply can be written"))
    }

    /// The same answer, when the test reaches the barrier too.
    #[must_use]
    pub fn after(self, barrier: &Arc<Barrier>) -> Self {
        let Self::Answer(status, body) = self else { panic!("only an answer can wait") };
        Self::AnswerAfter(Arc::clone(barrier), status, body)
    }

    /// The answer of a Colonies server that refuses.
    pub fn refused(status: u16, message: &str) -> Self {
        Self::sealed(&ReplyEnvelope::failure(status, message).expect("a reply can be written"))
    }

    fn sealed(reply: &SealedReply) -> Self {
        Self::Answer(reply.status, serde_json::to_vec(&reply.envelope).expect("an envelope can be written"))
    }
}

#[derive(Debug, Default)]
struct State {
    script: VecDeque<Act>,
    connections: usize,
    /// First line and body of each request.
    requests: Vec<(String, Vec<u8>)>,
}

/// The folder with the certificate and key of a server on loopback, and of the authority that signed it.
fn certificates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls")
}

/// The file of the authority that vouches for [`Scripted::start_tls`].
pub fn authority() -> PathBuf {
    certificates().join("authority.pem")
}

/// A server that follows a script. It lives until the test's process ends.
#[derive(Debug)]
pub struct Scripted {
    port: u16,
    tls: bool,
    state: Arc<Mutex<State>>,
}

impl Scripted {
    /// Starts a plain server that follows the script.
    pub fn start(script: impl IntoIterator<Item = Act>) -> Self {
        Self::listen(script, None)
    }

    /// Starts a server behind TLS, with a certificate for loopback from the fixtures' authority.
    pub fn start_tls(script: impl IntoIterator<Item = Act>) -> Self {
        let fixtures = certificates();
        let certificate = CertificateDer::from_pem_file(fixtures.join("localhost.pem")).expect("the fixture is PEM");
        let key = PrivateKeyDer::from_pem_file(fixtures.join("localhost.key")).expect("the fixture is PEM");
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate], key))
            .expect("the fixtures fit together");
        Self::listen(script, Some(&Arc::new(config)))
    }

    fn listen(script: impl IntoIterator<Item = Act>, tls: Option<&Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let state = Arc::new(Mutex::new(State { script: script.into_iter().collect(), ..State::default() }));
        let (shared, config) = (Arc::clone(&state), tls.cloned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                with(&shared, |state| state.connections += 1);
                let (shared, config) = (Arc::clone(&shared), config.clone());
                std::thread::spawn(move || serve(stream, &shared, config));
            }
        });
        Self { port, tls: tls.is_some(), state }
    }

    /// An address on which nothing listens.
    pub fn nowhere() -> ServerUrl {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        url(&format!("127.0.0.1:{port}"))
    }

    pub fn url(&self) -> ServerUrl {
        let scheme = if self.tls { "https" } else { "http" };
        url(&format!("{scheme}://127.0.0.1:{}", self.port))
    }

    /// How many requests arrived.
    pub fn requests(&self) -> usize {
        with(&self.state, |state| state.requests.len())
    }

    pub fn connections(&self) -> usize {
        with(&self.state, |state| state.connections)
    }

    /// First line of the latest request.
    pub fn last_line(&self) -> String {
        with(&self.state, |state| state.requests.last().expect("a request arrived").0.clone())
    }

    /// The latest request.
    pub fn last_envelope(&self) -> RequestEnvelope {
        let body = with(&self.state, |state| state.requests.last().expect("a request arrived").1.clone());
        serde_json::from_slice(&body).expect("the client posts an envelope")
    }
}

fn url(text: &str) -> ServerUrl {
    ServerUrl::parse_list(text, None, None).expect("the address is well formed").remove(0)
}

fn with<T>(state: &Mutex<State>, work: impl FnOnce(&mut State) -> T) -> T {
    work(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
}

fn serve(stream: TcpStream, state: &Mutex<State>, tls: Option<Arc<rustls::ServerConfig>>) {
    match tls {
        None => converse(stream, state),
        Some(config) => {
            let connection = rustls::ServerConnection::new(config).expect("the configuration is complete");
            converse(rustls::StreamOwned::new(connection, stream), state);
        }
    }
}

/// Answers requests until the script or the client ends the connection.
fn converse(stream: impl Read + Write, state: &Mutex<State>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream) {
        let act = with(state, |state| {
            state.requests.push(request);
            state.script.pop_front().unwrap_or_else(|| Act::Answer(599, b"the script is over".to_vec()))
        });
        let sent = match act {
            Act::Answer(status, body) => answer(stream.get_mut(), status, &body),
            Act::AnswerAfter(barrier, status, body) => {
                barrier.wait();
                answer(stream.get_mut(), status, &body)
            }
            Act::Silence => {
                // Ends when the client goes away.
                let _ = stream.read_to_end(&mut Vec::new());
                return;
            }
            Act::Hang => return,
            Act::CutShort => {
                let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{");
                return;
            }
            Act::Flood => {
                let head = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                let mut sent = head;
                while sent.is_ok() {
                    sent = stream.get_mut().write_all(b"8\r\naaaaaaaa\r\n");
                }
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn answer(stream: &mut impl Write, status: u16, body: &[u8]) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len())?;
    stream.write_all(body)?;
    stream.flush()
}

/// First line and body of a request; `None` if the client hung up.
fn read_request(stream: &mut BufReader<impl Read>) -> Option<(String, Vec<u8>)> {
    let mut first = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if first.is_empty() {
            line.clone_into(&mut first);
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((first, body))
}
