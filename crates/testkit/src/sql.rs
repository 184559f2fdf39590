//! Statements to a database, for tests: connections by the gateway's own driver, and what a test asks over them.
//!
//! A statement whose answer is wanted goes by itself; a script has several and no answer.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use colony_gateway::postgres::{Address, Link, Parameter};
use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Error, Row};

/// A whole row, read into a type.
pub trait Read: Sized {
    /// # Errors
    /// If a column is missing, has another type, or is null where null is not allowed.
    fn read(row: &Row) -> Result<Self, Error>;
}

macro_rules! read_tuple {
    ($($name:ident $number:tt),+) => {
        impl<$($name: FromSqlOwned),+> Read for ($($name,)+) {
            fn read(row: &Row) -> Result<Self, Error> {
                Ok(($(row.try_get::<_, $name>($number)?,)+))
            }
        }
    };
}

read_tuple!(A 0, B 1);
read_tuple!(A 0, B 1, C 2);
read_tuple!(A 0, B 1, C 2, D 3);
read_tuple!(A 0, B 1, C 2, D 3, E 4);
read_tuple!(A 0, B 1, C 2, D 3, E 4, F 5);

/// A connection.
#[derive(Debug)]
pub struct Session(Link);

impl Session {
    /// Connects.
    pub async fn open(url: &str) -> Self {
        let address = Address::read(url).expect("a URL of a test");
        Self(Link::open(&address).await.expect("the server answers"))
    }

    /// The rows of one statement with parameters.
    pub async fn ask(&mut self, statement: impl AsRef<str>, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        Ok(self.0.run(statement.as_ref(), parameters).await?.rows)
    }

    /// The rows of one statement.
    pub async fn rows(&mut self, statement: impl AsRef<str>) -> Result<Vec<Row>, Error> {
        self.ask(statement, &[]).await
    }

    /// The first column of every row.
    pub async fn values<T: FromSqlOwned>(&mut self, statement: impl AsRef<str>) -> Result<Vec<T>, Error> {
        self.rows(statement).await?.iter().map(|row| row.try_get(0)).collect()
    }

    /// The first column of the first row, which must exist.
    pub async fn value<T: FromSqlOwned>(&mut self, statement: impl AsRef<str>) -> Result<T, Error> {
        self.rows(statement).await?.first().expect("a row").try_get(0)
    }

    /// Every row.
    pub async fn tuples<T: Read>(&mut self, statement: impl AsRef<str>) -> Result<Vec<T>, Error> {
        self.rows(statement).await?.iter().map(T::read).collect()
    }

    /// The first row, which must exist.
    pub async fn tuple<T: Read>(&mut self, statement: impl AsRef<str>) -> Result<T, Error> {
        T::read(self.rows(statement).await?.first().expect("a row"))
    }

    /// Runs a script.
    pub async fn execute(&mut self, script: impl AsRef<str>) -> Result<(), Error> {
        self.0.run_all(script.as_ref()).await
    }

    /// Ends the connection.
    pub async fn close(self) {
        self.0.close().await;
    }
}

impl Deref for Session {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.0
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Link {
        &mut self.0
    }
}

/// Connections that are opened on demand and kept for the next statement. Clones share them.
#[derive(Clone)]
pub struct Sessions {
    url: String,
    idle: Arc<Mutex<Vec<Session>>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Sessions {
    /// Does not connect yet.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), idle: Arc::default() }
    }

    /// A connection for as long as the test wants it.
    pub async fn session(&self) -> Session {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                None => return Session::open(&self.url).await,
                Some(mut session) => {
                    if session.is_usable().await {
                        return session;
                    }
                }
            }
        }
    }

    fn keep(&self, session: Session) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    /// As [`Session::ask`].
    pub async fn ask(&self, statement: impl AsRef<str>, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        let mut session = self.session().await;
        let rows = session.ask(statement, parameters).await;
        self.keep(session);
        rows
    }

    /// As [`Session::rows`].
    pub async fn rows(&self, statement: impl AsRef<str>) -> Result<Vec<Row>, Error> {
        self.ask(statement, &[]).await
    }

    /// As [`Session::values`].
    pub async fn values<T: FromSqlOwned>(&self, statement: impl AsRef<str>) -> Result<Vec<T>, Error> {
        self.rows(statement).await?.iter().map(|row| row.try_get(0)).collect()
    }

    /// As [`Session::value`].
    pub async fn value<T: FromSqlOwned>(&self, statement: impl AsRef<str>) -> Result<T, Error> {
        self.rows(statement).await?.first().expect("a row").try_get(0)
    }

    /// As [`Session::tuples`].
    pub async fn tuples<T: Read>(&self, statement: impl AsRef<str>) -> Result<Vec<T>, Error> {
        self.rows(statement).await?.iter().map(T::read).collect()
    }

    /// As [`Session::tuple`].
    pub async fn tuple<T: Read>(&self, statement: impl AsRef<str>) -> Result<T, Error> {
        T::read(self.rows(statement).await?.first().expect("a row"))
    }

    /// As [`Session::execute`].
    pub async fn execute(&self, script: impl AsRef<str>) -> Result<(), Error> {
        let mut session = self.session().await;
        let done = session.execute(script).await;
        self.keep(session);
        done
    }

    /// Begins a transaction. If nothing ends it before, it ends with the connection.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        let mut session = self.session().await;
        session.execute("BEGIN").await?;
        Ok(Transaction { session, sessions: self.clone() })
    }

    /// Closes the connections that are not in use, with a goodbye to the server.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for session in idle {
            session.close().await;
        }
    }
}

/// A transaction on a connection of its own.
#[derive(Debug)]
pub struct Transaction {
    session: Session,
    sessions: Sessions,
}

impl Transaction {
    /// Ends it and keeps its changes.
    pub async fn commit(self) -> Result<(), Error> {
        self.end("COMMIT").await
    }

    /// Ends it and discards its changes.
    pub async fn rollback(self) -> Result<(), Error> {
        self.end("ROLLBACK").await
    }

    async fn end(self, how: &str) -> Result<(), Error> {
        let Self { mut session, sessions } = self;
        session.execute(how).await?;
        sessions.keep(session);
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}
