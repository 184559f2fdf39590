//! The inbox of `dev` in a PostgreSQL that it is given.

use anyhow::Context as _;

use crate::app;
use crate::config::Config;
use crate::domain::clock::Clock;
use crate::domain::secret::Secret;

/// Makes `dev` use this database for its inbox. Refuses a database with entries: the simulation would include them, or a
/// gateway elsewhere would work on simulated entries.
pub(super) async fn put_into(config: &mut Config, url: &str, clock: &Clock) -> anyhow::Result<()> {
    config.inbox.url = Some(Secret::new(url));
    config.inbox.allows_unsafe = true;
    let (inbox, threads) = app::open_inbox(config, clock.clone())?;
    let looked = async {
        inbox.prepare().await?;
        inbox.newest(1).await
    };
    let newest = looked.await.context("--inbox");
    drop(inbox);
    tokio::task::spawn_blocking(move || threads.join()).await?;
    anyhow::ensure!(newest?.is_empty(), "--inbox: this database holds entries: give `dev` an empty one");
    Ok(())
}
