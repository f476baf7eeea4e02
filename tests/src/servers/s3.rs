//! An S3 server in this process: the library `s3s-fs`, with a folder for its bucket, and with what it lacks of S3's promises.

mod exact;
mod list;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};

pub use self::exact::Careless;
use self::exact::Exact;

/// The one bucket.
pub const BUCKET: &str = "headworks";

/// The key that opens it, and its secret.
pub const KEY: (&str, &str) = ("headworks", "no secret at all");

/// A server that listens until it is dropped.
#[derive(Debug)]
pub struct S3 {
    address: SocketAddr,
    folder: TempDir,
    _server: JoinSet<()>,
}

impl S3 {
    /// Starts one with an empty bucket.
    ///
    /// # Errors
    /// When there is no port or no folder.
    pub async fn start() -> Result<Self> {
        Self::careless(Careless::Never).await
    }

    /// The same, but it replaces objects that it was told not to, as Garage and s3rver do.
    ///
    /// # Errors
    /// When there is no port or no folder.
    pub async fn careless(careless: Careless) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut server = JoinSet::new();
        let serving = serve(listener, folder.path().to_owned(), careless)?;
        server.spawn(serving);
        Ok(Self { address, folder, _server: server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The paths of all objects in the bucket, by their keys.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn objects(&self) -> Result<Vec<String>> {
        let bucket = self.folder.path().join(BUCKET);
        let mut found = Vec::new();
        walk(&bucket, &bucket, &mut found)?;
        found.sort();
        Ok(found)
    }

    /// How many files are there that belong to no object: parts, and what is on its way.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn unfinished(&self) -> Result<usize> {
        let mut count = 0;
        for entry in fs::read_dir(self.folder.path())? {
            let name = entry?.file_name().into_string().map_err(|name| anyhow!("{name:?}"))?;
            count += usize::from([".upload", ".tmp."].iter().any(|begin| name.starts_with(begin)));
        }
        Ok(count)
    }
}

/// What a client of the server at `address` is told by its environment.
pub fn variables(address: SocketAddr) -> Vec<(String, String)> {
    let variables = [
        ("AWS_ACCESS_KEY_ID", KEY.0.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", KEY.1.to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ENDPOINT", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
    ];
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Serves the folder `root`, in which the bucket is made if need be.
///
/// # Errors
/// When the folder cannot be used.
pub fn serve(
    listener: TcpListener,
    root: PathBuf,
    careless: Careless,
) -> Result<impl Future<Output = ()> + Send> {
    let exact = Exact::open(&root, careless)?;
    let mut builder = S3ServiceBuilder::new(exact);
    builder.set_auth(SimpleAuth::from_single(KEY.0, KEY.1));
    let service = builder.build();
    Ok(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    drop(stream.set_nodelay(true));
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service.clone());
                    // How a connection ends is told by its client.
                    connections.spawn(async move { drop(connection.await) });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    })
}

fn walk(bucket: &Path, folder: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(bucket, &entry.path(), found)?;
        } else {
            found.push(entry.path().strip_prefix(bucket)?.to_string_lossy().into_owned());
        }
    }
    Ok(())
}
