//! A stand-in for a pooler in transaction mode: after each transaction a client's next statement goes to another server
//! process, and prepared statements with a name are refused.
//!
//! Speaks just enough of PostgreSQL's protocol (version 3) for that. Without encryption and passwords.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Request codes that a client sends in place of a protocol version.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// Number of server processes that take turns on a client's transactions.
const BACKENDS: usize = 3;

/// A running stand-in. It ends when dropped.
#[derive(Debug)]
pub struct Pooler {
    pub port: u16,
    _tasks: JoinSet<()>,
}

impl Pooler {
    /// Starts on a loopback port, in front of the server.
    pub async fn start(server_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port is free");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut clients = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                clients.spawn(async move {
                    // If the client hangs up, this ends with an error that concerns no one.
                    let _ = serve(client, server_port).await;
                });
            }
        });
        Self { port, _tasks: tasks }
    }
}

struct Message {
    kind: u8,
    body: Vec<u8>,
}

async fn serve(mut client: TcpStream, server_port: u16) -> io::Result<()> {
    let startup = startup(&mut client).await?;
    let mut backends = Vec::new();
    for number in 0..BACKENDS {
        let mut backend = TcpStream::connect(("127.0.0.1", server_port)).await?;
        backend.write_all(&startup).await?;
        // The client sees the greeting of only one of them.
        let mut greeting = Vec::new();
        until_ready(&mut backend, &mut greeting).await?;
        if number == 0 {
            client.write_all(&greeting).await?;
        }
        backends.push(backend);
    }
    let mut turn = 0;
    let mut refused = false;
    loop {
        let message = read(&mut client).await?;
        let named = message.kind == b'P' && message.body.first() != Some(&0);
        refused |= named;
        match message.kind {
            b'X' => return Ok(()),
            b'S' if refused => {
                refused = false;
                client.write_all(&error("26000", "prepared statements are not supported here")).await?;
                client.write_all(&[b'Z', 0, 0, 0, 5, b'I']).await?;
            }
            _ if refused => {}
            kind => {
                let backend = &mut backends[turn % BACKENDS];
                write(backend, &message).await?;
                if kind == b'Q' || kind == b'S' {
                    let mut answer = Vec::new();
                    let state = until_ready(backend, &mut answer).await?;
                    client.write_all(&answer).await?;
                    // `I` means idle: the transaction is over, and so is the claim to this server process.
                    turn += usize::from(state == b'I');
                }
            }
        }
    }
}

/// Reads the client's start-up message, after it has turned down the client's requests for encryption.
async fn startup(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    loop {
        let length = client.read_u32().await?;
        let mut body = vec![0; (length as usize).saturating_sub(4)];
        client.read_exact(&mut body).await?;
        let code = u32::from_be_bytes([body[0], body[1], body[2], body[3]]);
        if code == SSL_REQUEST || code == GSS_REQUEST {
            client.write_all(b"N").await?;
            continue;
        }
        return Ok([length.to_be_bytes().to_vec(), body].concat());
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Message> {
    let kind = stream.read_u8().await?;
    let length = stream.read_u32().await?;
    let mut body = vec![0; (length as usize).saturating_sub(4)];
    stream.read_exact(&mut body).await?;
    Ok(Message { kind, body })
}

fn bytes(message: &Message) -> Vec<u8> {
    let length = u32::try_from(message.body.len() + 4).expect("a message is shorter than 4 GiB");
    [&[message.kind][..], &length.to_be_bytes(), &message.body].concat()
}

async fn write(stream: &mut TcpStream, message: &Message) -> io::Result<()> {
    stream.write_all(&bytes(message)).await
}

/// Collects the answer up to `ReadyForQuery`, and returns the state that it reports.
async fn until_ready(backend: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<u8> {
    loop {
        let message = read(backend).await?;
        answer.extend(bytes(&message));
        if message.kind == b'Z' {
            return Ok(message.body[0]);
        }
    }
}

fn error(code: &str, message: &str) -> Vec<u8> {
    let body = format!("SERROR\0VERROR\0C{code}\0M{message}\0\0");
    bytes(&Message { kind: b'E', body: body.into_bytes() })
}
