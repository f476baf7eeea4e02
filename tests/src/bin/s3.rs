//! The S3 server of the tests as a process of its own: `s3 127.0.0.1:9000 ./folder`.

use anyhow::{Context as _, Result};
use headworks_tests::servers::s3::{self, Careless};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (address, folder) = (arguments.next(), arguments.next());
    let (address, folder) = address.zip(folder).context("usage: s3 ADDRESS FOLDER")?;
    let listener = TcpListener::bind(&address).await.with_context(|| format!("listen on {address}"))?;
    std::fs::create_dir_all(&folder).with_context(|| format!("make {folder}"))?;
    s3::serve(listener, folder.into(), Careless::Never)?.await;
    Ok(())
}
