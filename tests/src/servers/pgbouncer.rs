//! PgBouncer before a PostgreSQL, in transaction mode: each transaction may have another connection.

use std::{fmt::Write as _, net::SocketAddr, sync::Arc};

use anyhow::Result;
use tempfile::TempDir;

use super::{
    Server, free_address, give_away,
    postgres::{Postgres, as_user},
    program,
};

/// A PgBouncer, killed when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    // Dropped before the folder that it works in, and before the server behind it.
    _server: Server,
    address: SocketAddr,
    _folder: TempDir,
    postgres: Arc<Postgres>,
}

impl PgBouncer {
    /// Starts one that has `connections` of its own to each database.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub async fn start(postgres: &Arc<Postgres>, connections: usize) -> Result<Self> {
        let folder = TempDir::with_prefix("headworks-pgbouncer-")?;
        let address = free_address()?;
        let (users, file) = (folder.path().join("users.txt"), folder.path().join("pgbouncer.ini"));
        std::fs::write(&users, "\"postgres\" \"\"\n")?;
        let mut text = String::new();
        let behind = postgres.address();
        writeln!(text, "[databases]\n* = host={} port={}", behind.ip(), behind.port())?;
        writeln!(text, "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}", address.port())?;
        writeln!(text, "unix_socket_dir =\nauth_type = trust\nauth_file = {}", users.display())?;
        writeln!(text, "pool_mode = transaction\nmax_client_conn = 500\ndefault_pool_size = {connections}")?;
        std::fs::write(&file, text)?;
        let user = give_away(folder.path())?;
        let mut command = as_user(program("pgbouncer", &["/usr/sbin"])?, user);
        command.arg(&file);
        let server = Server::start("pgbouncer", command, folder.path(), address).await?;
        Ok(Self { _server: server, address, _folder: folder, postgres: Arc::clone(postgres) })
    }

    /// The URL of a database behind it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }

    /// The server behind it.
    pub fn postgres(&self) -> &Arc<Postgres> {
        &self.postgres
    }
}
