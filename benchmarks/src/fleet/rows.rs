//! Waits until uploads have their rows.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

/// How often the rows are counted.
const LOOK: Duration = Duration::from_millis(25);

/// Waits until so many uploads are counted by their scopes: the last thing that a transaction does.
///
/// # Errors
/// When they are not there after `patience`, or what writes them is not `alive`.
pub(crate) async fn all_stored(
    database: &Client,
    uploads: u64,
    patience: Duration,
    mut alive: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    const COUNT: &str = "SELECT coalesce(sum(objects), 0)::bigint FROM scopes";
    let until = Instant::now() + patience;
    let count = database.prepare(COUNT).await?;
    loop {
        let stored: i64 = database.query_one(&count, &[]).await?.get(0);
        if u64::try_from(stored)? >= uploads {
            return Ok(());
        }
        alive()?;
        anyhow::ensure!(Instant::now() < until, "after {patience:?} {stored} of {uploads} rows are there");
        sleep(LOOK).await;
    }
}
