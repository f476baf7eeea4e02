//! What one builds with a web framework, a job library and a database: a server that takes bodies, and a worker that writes rows, with
//! a Redis and a PostgreSQL of their own.

use std::path::Path;

use tokio_postgres::Client;

use super::{Intake, Rest, Running};
use crate::fleet::{Fleet, Programs, Store, peers::Peer};

/// What stands behind a pipeline. Not counted as its own: so its figures are better than the whole truth.
#[derive(Debug)]
pub(super) struct Servers {
    /// The database of its rows.
    pub(super) database: Client,
    _fleet: Fleet,
}

/// Starts one with its files below `folder`.
pub(super) async fn start(peer: Peer, programs: &Programs, folder: &Path) -> anyhow::Result<Running> {
    let fleet = Fleet::start(programs, Store::Files(folder)).await?;
    fleet.tables().await?;
    let (server, address) = peer.serve(&fleet, &folder.join("objects")).await?;
    let worker = peer.work(&fleet)?;
    let database = fleet.postgres.connect(&fleet.database).await?;
    let intake = Intake::put(address, "/v1/files/up");
    let rest = Rest::Rows(Box::new(Servers { database, _fleet: fleet }));
    Ok(Running { processes: vec![server, worker], rest, intake })
}
