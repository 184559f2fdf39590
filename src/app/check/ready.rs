//! Whether the process on this machine is ready: one question to its admin listener, for health checks of containers.
//!
//! It is asked every few seconds, so that it costs little and depends on little: it is given an address, sets up no TLS,
//! reads the first line of the answer and nothing else. It asks neither ledger nor colony nor Stripe.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::gateway::local;

/// Longest wait for the answer. A container's health check waits longer than that for this program.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// How many bytes of the answer are read: `HTTP/1.1 200`.
const STATUS_END: usize = 12;

/// Why the process is not ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// No process listens there, or it is not an HTTP server.
    #[error("no answer at {address}: nothing runs here, or GATEWAY_ADMIN_LISTEN is not what it was started with")]
    NoAnswer {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("no answer from {address} within {} s", ANSWER_MAX.as_secs())]
    TimedOut { address: SocketAddr },
    /// It is starting or stopping, or is something else.
    #[error("{address} answered {answer:?}: it is starting or stopping, or it is not a colony-gateway")]
    Answered { address: SocketAddr, answer: String },
}

/// Asks `/readyz` of the process whose admin listener has this address.
///
/// # Errors
/// If it is not ready, for whatever reason.
pub async fn ready(admin_listen: SocketAddr) -> Result<(), NotReady> {
    let address = local(admin_listen);
    match tokio::time::timeout(ANSWER_MAX, status(address)).await {
        Ok(Ok(answer)) if answer.starts_with("HTTP/1.") && answer.ends_with(" 200") => Ok(()),
        Ok(Ok(answer)) => Err(NotReady::Answered { address, answer }),
        Ok(Err(source)) => Err(NotReady::NoAnswer { address, source }),
        Err(_) => Err(NotReady::TimedOut { address }),
    }
}

/// The beginning of the answer's first line.
async fn status(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = [0; STATUS_END];
    stream.read_exact(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Asks a listener that answers with `text` and closes; without a text it does not answer.
    async fn asked(text: Option<&'static str>) -> Result<(), NotReady> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Closing while the question is unread would cancel the answer.
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            match text {
                Some(text) => stream.write_all(text.as_bytes()).await.unwrap(),
                // Until the asking side closes.
                None => drop(stream.read_to_end(&mut Vec::new()).await),
            }
            drop(stream);
        };
        let (result, ()) = tokio::join!(ready(address), answer);
        result
    }

    #[tokio::test]
    async fn only_an_answer_of_200_is_ready() {
        assert!(asked(Some("HTTP/1.1 200 OK\r\n\r\n")).await.is_ok());
        for (text, shown) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1 503"),
            ("HTTP/1.1 404 Not Found\r\n\r\n", "HTTP/1.1 404"),
            ("SSH-2.0-xxxx 200 and so on", "SSH-2.0-xxxx"),
        ] {
            let refused = asked(Some(text)).await.unwrap_err();
            assert!(matches!(&refused, NotReady::Answered { answer, .. } if answer == shown), "{refused}");
        }
    }

    #[tokio::test]
    async fn who_hangs_up_or_is_not_there_is_not_ready() {
        assert!(matches!(asked(Some("HTTP/1.1")).await, Err(NotReady::NoAnswer { .. })));
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert!(matches!(ready(free).await, Err(NotReady::NoAnswer { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_waited_for_up_to_its_bound() {
        assert!(matches!(asked(None).await, Err(NotReady::TimedOut { .. })));
    }
}
