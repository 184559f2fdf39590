//! One connection to the database, used for one statement at a time.
//!
//! A statement goes with its parameters in one trip and without a name, so that a pooler may give each to another server process.
//! Warnings are seen: a commit that was cancelled while it waited for a standby is told as a success with a warning, and as
//! nothing else.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::error::Severity;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, Row, Socket};
use tokio_rustls::TlsConnector;

/// A parameter with its type.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection. Nothing drives it but the statement that runs.
pub(super) struct Link {
    client: Client,
    connection: Connection<Socket, Encrypted<Socket>>,
}

/// What a statement came to.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    /// The server warned of something: whether the statement is as durable as it should be is not known.
    pub(super) has_warned: bool,
    /// The statement may have run once before, with an answer that was lost.
    pub(super) is_again: bool,
}

impl Link {
    pub(super) async fn connect(config: &Config, tls: &Tls) -> Result<Self, Error> {
        let (client, connection) = config.connect(tls.clone()).await?;
        let mut link = Self { client, connection };
        link.hear_greeting().await?;
        Ok(link)
    }

    /// What a server warns of when a connection begins (another version of collations) says nothing about any statement.
    async fn hear_greeting(&mut self) -> Result<(), Error> {
        poll_fn(|cx| {
            loop {
                match self.connection.poll_message(cx) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready(None) | Poll::Pending => return Poll::Ready(Ok(())),
                }
            }
        })
        .await
    }

    /// Runs one statement. A link whose call was dropped before its end, or failed for another reason than the statement, is
    /// not to be used again.
    pub(super) async fn run(&mut self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Answer, Error> {
        let Self { client, connection } = self;
        let mut rows = pin!(client.query_typed(statement, parameters));
        let mut has_warned = false;
        loop {
            tokio::select! {
                biased;
                message = poll_fn(|cx| connection.poll_message(cx)) => match message {
                    Some(Ok(AsyncMessage::Notice(notice))) => {
                        has_warned |= notice.parsed_severity() == Some(Severity::Warning);
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                    // The statement's own end tells that the connection is closed.
                    None => return Ok(Answer { rows: rows.await?, has_warned, is_again: false }),
                },
                rows = &mut rows => return Ok(Answer { rows: rows?, has_warned, is_again: false }),
            }
        }
    }

    /// Runs several statements without parameters, in one transaction of their own.
    pub(super) async fn run_all(&mut self, statements: &str) -> Result<(), Error> {
        let Self { client, connection } = self;
        let mut done = pin!(client.batch_execute(statements));
        loop {
            tokio::select! {
                biased;
                message = poll_fn(|cx| connection.poll_message(cx)) => match message {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                    None => return done.await,
                },
                done = &mut done => return done,
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

/// TLS for connections to the database, with the process's rustls.
#[derive(Clone)]
pub(super) struct Tls(pub(super) Arc<ClientConfig>);

/// TLS for one host.
pub(super) struct TlsFor {
    config: Arc<ClientConfig>,
    host: String,
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted<Socket>;
    type TlsConnect = TlsFor;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<TlsFor> {
        Ok(TlsFor { config: Arc::clone(&self.0), host: host.to_owned() })
    }
}

impl TlsConnect<Socket> for TlsFor {
    type Stream = Encrypted<Socket>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<Socket>>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(async move {
            let host =
                ServerName::try_from(self.host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            TlsConnector::from(self.config).connect(host, stream).await.map(|stream| Encrypted(Box::new(stream)))
        })
    }
}

/// An encrypted connection.
pub(super) struct Encrypted<S>(Box<tokio_rustls::client::TlsStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    /// The password is proven without binding it to the channel.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
