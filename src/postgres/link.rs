//! One connection to a database, used for one call at a time.
//!
//! A statement goes with its parameters in one trip and without a name, so that a pooler may give each to another server process.
//! Warnings are seen: a commit that was cancelled while it waited for a standby is told as a success with a warning, and as
//! nothing else. All of an answer is read: its rows come before the commit, its end after.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::time::Instant;
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Connection, Error, Row, Socket};

use super::address::Address;
use super::stream::{Encrypted, Tls};
use super::tls::{self, TlsError};

/// A parameter with its type.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection. Only the call in progress drives it.
pub struct Link {
    client: Client,
    connection: Connection<Socket, Encrypted<Socket>>,
    /// Whether a call was given up, or failed for a reason other than its statement. The next message may then be its
    /// answer.
    is_spoiled: bool,
    /// What functions warned of in [`Self::run_all`] and was not taken yet.
    warnings: Vec<String>,
    /// Whether the server refused a write because it is a standby. A new connection may lead to the server that took its place.
    pub(super) is_demoted: bool,
    /// When it was made.
    pub(super) made: Instant,
    /// When its last call ended.
    pub(super) rested: Instant,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("is_spoiled", &self.is_spoiled).finish_non_exhaustive()
    }
}

/// The result of a statement.
#[derive(Debug)]
pub struct Answer {
    pub rows: Vec<Row>,
    /// Whether the server itself warned of something, so that the statement may not be as durable as it should be. Warnings
    /// of functions, such as the app's triggers, do not count.
    pub has_warned: bool,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Driver(#[from] Error),
}

impl Link {
    /// Connects to a database, with TLS settings that are used once.
    pub async fn open(address: &Address) -> Result<Self, ConnectError> {
        Ok(Self::connect(address, &tls::settings(address)?).await?)
    }

    pub(super) async fn connect(address: &Address, tls: &Tls) -> Result<Self, Error> {
        let (client, connection) = address.config().connect(tls.clone()).await?;
        let now = Instant::now();
        let mut link = Self {
            client,
            connection,
            is_spoiled: false,
            warnings: Vec::new(),
            is_demoted: false,
            made: now,
            rested: now,
        };
        link.hear().await?;
        Ok(link)
    }

    /// Reads messages that arrived without a request. Warnings at the beginning of a connection (such as another version of
    /// collations), or between two statements, are not about any statement.
    async fn hear(&mut self) -> Result<(), Error> {
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

    /// Whether another call may be made, as far as that is known without asking the server: it has not disconnected.
    pub async fn is_usable(&mut self) -> bool {
        !self.is_closed() && self.hear().await.is_ok() && !self.is_closed()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_spoiled || self.client.is_closed()
    }

    /// Runs one statement. If its future is dropped before the end, the link becomes useless.
    pub async fn run(&mut self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Answer, Error> {
        self.is_spoiled = true;
        let Self { client, connection, .. } = self;
        let mut has_warned = false;
        let hear = |notice: &DbError| has_warned |= is_doubt(notice);
        let rows = drive(connection, client.query_typed(statement, parameters), hear).await;
        self.ended(rows).map(|rows| Answer { rows, has_warned })
    }

    /// Runs one statement without parameters, for its rows.
    pub async fn rows(&mut self, statement: &str) -> Result<Vec<Row>, Error> {
        Ok(self.run(statement, &[]).await?.rows)
    }

    /// Runs statements without parameters, in one transaction unless they say otherwise. Rows are dropped; warnings of functions
    /// are kept for [`Self::take_warnings`].
    pub async fn run_all(&mut self, statements: &str) -> Result<(), Error> {
        self.is_spoiled = true;
        let Self { client, connection, warnings, .. } = self;
        let hear = |notice: &DbError| {
            if notice.parsed_severity() == Some(Severity::Warning) && warnings.len() < WARNINGS_MAX {
                let hint = notice.hint().map(|hint| format!(". {hint}"));
                warnings.push(format!("{}{}", notice.message(), hint.unwrap_or_default()));
            }
        };
        let done = drive(connection, client.batch_execute(statements), hear).await;
        self.ended(done)
    }

    /// What the statements of [`Self::run_all`] warned of since the last call.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// An error that the server reports for a statement leaves the link usable, unless the server takes no writes any more.
    fn ended<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        let severity = |error: &Error| error.as_db_error().and_then(tokio_postgres::error::DbError::parsed_severity);
        self.is_demoted =
            result.as_ref().is_err_and(|error| error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
        self.is_spoiled =
            self.is_demoted || result.as_ref().is_err_and(|error| severity(error) != Some(Severity::Error));
        result
    }

    /// Says goodbye to the server.
    pub async fn close(self) {
        let is_over = self.is_closed();
        let Self { client, mut connection, .. } = self;
        drop(client);
        if !is_over {
            // Whatever happens here, the connection is over.
            while let Some(Ok(_)) = poll_fn(|cx| connection.poll_message(cx)).await {}
        }
    }
}

/// Most warnings that are kept.
const WARNINGS_MAX: usize = 50;

/// Parts of the server that warn at every write, long before it happens, that it will run out of transaction numbers. What they
/// warn of says nothing about the commit.
const SHORT_OF_NUMBERS: [&str; 2] = ["GetNewTransactionId", "GetNewMultiXactId"];

/// Whether a notice may say that a statement is less durable than it should be. A function's warning names its context. The
/// server's own warning at the end of a commit has none.
fn is_doubt(notice: &DbError) -> bool {
    notice.parsed_severity() == Some(Severity::Warning)
        && notice.where_().is_none()
        && !notice.routine().is_some_and(|routine| SHORT_OF_NUMBERS.contains(&routine))
}

/// Drives the connection until a call has its answer. `hear` is told what the server says meanwhile.
async fn drive<T>(
    connection: &mut Connection<Socket, Encrypted<Socket>>,
    call: impl Future<Output = Result<T, Error>>,
    mut hear: impl FnMut(&DbError),
) -> Result<T, Error> {
    let mut call = pin!(call);
    loop {
        let ended = tokio::select! {
            biased;
            message = poll_fn(|cx| connection.poll_message(cx)) => match message {
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    hear(&notice);
                    continue;
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => Some(error),
                None => None,
            },
            answer = &mut call => return answer,
        };
        // The answer may have come before the end, and says more than the end alone.
        let last = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
        return match (last, ended) {
            (Poll::Ready(answer), _) => answer,
            (Poll::Pending, Some(error)) => Err(error),
            (Poll::Pending, None) => call.await,
        };
    }
}
