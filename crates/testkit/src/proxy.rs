//! A TCP proxy that breaks connections as told, to lose requests before a server acted and replies after it did.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What the proxy does with traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Breaks a connection when the client sends: the server gets nothing.
    LoseRequests,
    /// Breaks a connection when the server answers: the client gets nothing.
    LoseReplies,
    /// Takes a request and gives no answer for as long as the client waits.
    Hold,
    /// Passes answers on byte by byte.
    Drip,
    /// Breaks a connection in the middle of an answer.
    Truncate,
    /// Passes on something other than the server's answer.
    Garble,
}

/// Pause after each byte of an answer that drips.
const DRIP: Duration = Duration::from_millis(5);

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    mode: AtomicU8,
    /// How many breaks are left before it passes again.
    left: AtomicI64,
    /// How many connections were broken so far.
    broken: AtomicI64,
}

impl Shared {
    /// Whether to break a connection through which something is about to pass.
    fn breaks(&self, mode: Mode) -> bool {
        let breaks = self.mode.load(Ordering::SeqCst) == mode as u8 && self.left.fetch_sub(1, Ordering::SeqCst) > 0;
        self.broken.fetch_add(i64::from(breaks), Ordering::SeqCst);
        breaks
    }
}

/// A proxy that listens on loopback.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Proxy {
    /// A proxy in front of `target` that passes everything.
    pub async fn start(target: SocketAddr) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), target).await
    }

    /// As [`Self::start`], at an address of this machine. Port 0 takes a free one.
    pub async fn start_at(address: SocketAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            target,
            mode: AtomicU8::new(Mode::Pass as u8),
            left: AtomicI64::new(0),
            broken: AtomicI64::new(0),
        });
        let mut proxy = Self { address, shared, tasks: JoinSet::new() };
        proxy.tasks.spawn(accept(listener, Arc::clone(&proxy.shared)));
        proxy
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address it listens on, as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Breaks the next `times` connections that carry something, and then passes again.
    pub fn set(&self, mode: Mode, times: i64) {
        self.shared.left.store(times, Ordering::SeqCst);
        self.shared.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// How many connections were broken or held so far.
    pub fn broken(&self) -> i64 {
        self.shared.broken.load(Ordering::SeqCst)
    }

    /// Refuses new connections and cuts the open ones.
    pub async fn refuse(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Listens again at the same address.
    pub async fn listen_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is still free");
        self.tasks.spawn(accept(listener, Arc::clone(&self.shared)));
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(carry(client, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries bytes both ways until one end closes or the connection has to break. A connection that breaks is reset.
async fn carry(client: TcpStream, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(shared.target).await else { return };
    if client.set_zero_linger().is_err() {
        return;
    }
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut request, mut reply) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = from_client.read(&mut request) => match read {
                Ok(bytes) if bytes > 0 && shared.breaks(Mode::Hold) => {
                    while from_client.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {}
                }
                Ok(bytes) if bytes > 0 && !shared.breaks(Mode::LoseRequests) => {
                    if to_server.write_all(&request[..bytes]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = from_server.read(&mut reply) => match read {
                Ok(bytes) if bytes > 0 && !shared.breaks(Mode::LoseReplies) => {
                    if !hand_on(&shared, &mut to_client, &mut reply[..bytes]).await {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}

/// Passes on a piece of an answer, unchanged or changed as the mode says; false if the connection is over.
async fn hand_on(shared: &Shared, client: &mut OwnedWriteHalf, reply: &mut [u8]) -> bool {
    if shared.breaks(Mode::Truncate) {
        // The half arrives before the reset or is lost with it. Both happen.
        let _ = client.write_all(&reply[..reply.len() / 2]).await;
        return false;
    }
    if shared.breaks(Mode::Drip) {
        for byte in reply {
            if client.write_all(std::slice::from_ref(byte)).await.is_err() {
                return false;
            }
            tokio::time::sleep(DRIP).await;
        }
        return true;
    }
    if shared.breaks(Mode::Garble) {
        reply
            .iter_mut()
            .enumerate()
            .for_each(|(at, byte)| *byte = byte.wrapping_mul(31).wrapping_add(at.to_le_bytes()[0]));
    }
    client.write_all(reply).await.is_ok()
}
