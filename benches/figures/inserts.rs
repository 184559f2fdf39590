//! What a handler without an inbox does with an event: one `INSERT … ON CONFLICT`, prepared once, over one of twenty connections.

use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, Statement};

/// Connections of the pool.
pub(crate) const CONNECTIONS: usize = 20;

/// What a handler that keeps every event once cannot do without.
pub(crate) const TABLE: &str = "CREATE TABLE events (
    id text PRIMARY KEY, type text NOT NULL, created timestamptz NOT NULL, payload jsonb NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now())";

const INSERT: &str = "INSERT INTO events (id, type, created, payload)
    VALUES ($1, $2, to_timestamp($3), $4::jsonb) ON CONFLICT (id) DO NOTHING";

/// Connections to the table.
pub(crate) struct Inserts {
    idle: Mutex<Vec<(Client, Statement)>>,
    places: Semaphore,
    /// What drives them, until this is dropped.
    _drivers: JoinSet<Result<(), tokio_postgres::Error>>,
}

impl Inserts {
    pub(crate) async fn open(url: &str) -> anyhow::Result<Self> {
        let (mut idle, mut drivers) = (Vec::with_capacity(CONNECTIONS), JoinSet::new());
        for _ in 0..CONNECTIONS {
            let (client, connection) =
                tokio_postgres::connect(url, NoTls).await.context("the peer has no connection")?;
            drivers.spawn(connection);
            let statement = client.prepare_typed(INSERT, &[Type::TEXT, Type::TEXT, Type::INT8, Type::TEXT]).await?;
            idle.push((client, statement));
        }
        Ok(Self { idle: Mutex::new(idle), places: Semaphore::new(CONNECTIONS), _drivers: drivers })
    }

    /// Writes an event. What fails costs a connection.
    pub(crate) async fn insert(&self, id: &str, kind: &str, created: i64, payload: &str) -> anyhow::Result<()> {
        let _place = self.places.acquire().await?;
        let taken = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (client, statement) = taken.context("the connections of the peer are gone")?;
        client.execute(&statement, &[&id, &kind, &created, &payload]).await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((client, statement));
        Ok(())
    }
}
