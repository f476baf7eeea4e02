//! What is tried out before the first upload, on stores that do and that do not keep what they are told to.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Result, bail, ensure};
use headworks_shared::{
    limits::Budget,
    report::Report,
    storage::{
        Blobs as _, PutError,
        cloud::{CloudBlobs, ProbeError},
        conformance::{self, Body, content, envelope, key},
    },
};
use headworks_tests::servers::{
    Server,
    certificates::Certificates,
    fault::{Fault, Proxy},
    free_address, program,
    s3::{BUCKET, Careless, S3},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::s3::{PLENTY, SENTINEL, options, url};

async fn open(address: std::net::SocketAddr) -> Result<CloudBlobs, ProbeError> {
    CloudBlobs::open(&url(), options(address), Budget::new(PLENTY)).await
}

#[tokio::test]
async fn opening_a_store_leaves_its_sentinel_behind_and_reading_writes_nothing() -> Result<()> {
    let server = S3::start().await?;
    let proxy = Proxy::start(server.address()).await?;
    for _ in 0..2 {
        open(proxy.address()).await?;
        ensure!(server.objects()? == [SENTINEL] && server.unfinished()? == 0, "{:?}", server.objects()?);
    }
    proxy.clear();
    CloudBlobs::open_to_read(&url(), options(proxy.address()), Budget::new(PLENTY)).await?;
    ensure!(proxy.seen().iter().all(|line| line.starts_with("GET")), "{:?}", proxy.seen());
    Ok(())
}

#[tokio::test]
async fn a_known_store_is_not_looked_for_under_another_prefix() -> Result<()> {
    let server = S3::start().await?;
    let reopen =
        async |url: String| CloudBlobs::reopen(&url, options(server.address()), Budget::new(PLENTY)).await;
    let wrong = reopen(url()).await;
    ensure!(matches!(wrong, Err(ProbeError::Gone { .. })), "an empty bucket was taken for the store");
    ensure!(server.objects()?.is_empty(), "it was made into one: {:?}", server.objects()?);
    open(server.address()).await?;
    let Err(error) = reopen(url() + "/else").await else { bail!("a wrong prefix was taken for the store") };
    let text = Report(&error).to_string();
    ensure!(text.contains("/headworks/some/prefix/else/ holds no store of Headworks"), "{text}");
    reopen(url()).await?;
    ensure!(server.objects()? == [SENTINEL], "{:?}", server.objects()?);
    Ok(())
}

#[tokio::test]
async fn of_many_who_open_an_empty_bucket_one_marks_it() -> Result<()> {
    let server = S3::start().await?;
    futures_util::future::try_join_all((0..8).map(|_| open(server.address()))).await?;
    ensure!(server.objects()? == [SENTINEL], "{:?}", server.objects()?);
    Ok(())
}

#[tokio::test]
async fn a_store_that_replaces_objects_is_refused_in_clear_words() -> Result<()> {
    let careless = [(Careless::Puts, "on a put"), (Careless::Completions, "on the completion of parts")];
    for (careless, when) in careless {
        let server = S3::careless(careless).await?;
        let Err(error) = open(server.address()).await else { bail!("{when} it was not noticed") };
        let text = Report(&error).to_string();
        ensure!(text.contains(&format!("ignores If-None-Match {when}")) && text.contains("Garage"), "{text}");
        ensure!(server.objects()?.is_empty() && server.unfinished()? == 0, "the probe was left there");
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_read_or_written_says_which() -> Result<()> {
    let server = S3::start().await?;
    for (method, within, said) in [
        ("GET", "list-type", "list objects"),
        ("PUT", "probe", "create an object"),
        ("HEAD", "probe", "read an object"),
        ("DELETE", "some/prefix/probe", "abort an upload in parts"),
        ("HEAD", SENTINEL, "look for headworks-store"),
        ("PUT", SENTINEL, "mark the store as ours"),
        ("POST", "uploads", "begin an upload in parts"),
    ] {
        let proxy = Proxy::start(server.address()).await?;
        proxy.plan(method, within, Fault::Status(403), 9);
        let Err(error) = open(proxy.address()).await else { bail!("{method} {within} was not noticed") };
        let text = Report(&error).to_string();
        ensure!(text.contains(said), "{text} for {method} {within}");
    }
    let Err(error) = open(free_address()?).await else { bail!("there is no such server") };
    ensure!(Report(&error).to_string().contains("connect to the store"), "{}", Report(&error));
    Ok(())
}

/// moto takes whatever it is sent, so it is asked for its answers to conditions alone.
#[tokio::test]
async fn moto_creates_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = moto(folder.path(), &[]).await?;
    make_bucket(server.address()).await?;
    let store = open(server.address()).await?;
    let (key, content) = (key(), content(300_000, 1));
    for size in [1000, content.len()] {
        let again = store.put(&key, &envelope("a"), &mut Body::of(&content.slice(..size))).await;
        match size {
            1000 => drop(again?),
            _ => ensure!(matches!(again, Err(PutError::Exists)), "{again:?}"),
        }
    }
    let (_, back) = conformance::read(&store, &key, None).await?;
    ensure!(back == content.slice(..1000));
    let marker = store.create(&key, content.slice(..10)).await;
    ensure!(matches!(marker, Err(PutError::Exists)), "{marker:?}");
    Ok(())
}

#[tokio::test]
async fn a_store_is_spoken_to_over_tls_and_must_be_trusted() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let made = Certificates::make("IP:127.0.0.1")?;
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let (key, certificate) = (text(made.key()), text(made.server()));
    let server = moto(folder.path(), &["--ssl", "--ssl-cert", &certificate, "--ssl-key", &key]).await?;
    let mut told = options(server.address());
    told.variables.retain(|(name, _)| !["AWS_ENDPOINT", "AWS_ALLOW_HTTP"].contains(&&**name));
    told.variables.push(("AWS_ENDPOINT".to_owned(), format!("https://{}", server.address())));
    let Err(error) = CloudBlobs::open_to_read(&url(), told.clone(), Budget::new(PLENTY)).await else {
        bail!("a stranger was trusted")
    };
    ensure!(Report(&error).to_string().contains("UnknownIssuer"), "{}", Report(&error));
    told.variables.push(("AWS_CA_BUNDLE".to_owned(), text(made.authority())));
    // moto has no bucket yet, and says so: the client trusts it, and understands it.
    let Err(error) = CloudBlobs::open_to_read(&url(), told.clone(), Budget::new(PLENTY)).await else {
        bail!("there is no bucket")
    };
    ensure!(Report(&error).to_string().contains("NoSuchBucket"), "{}", Report(&error));
    let made = Command::new(program("curl", &[])?)
        .args(["--silent", "--show-error", "--fail", "--max-time", "10", "--request", "PUT", "--cacert"])
        .arg(made.authority())
        .arg(format!("https://{}/{BUCKET}", server.address()))
        .output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let store = CloudBlobs::open(&url(), told, Budget::new(PLENTY)).await?;
    // Streamed as it comes, and more than TLS and the kernel hold; the second over the connection of the first.
    for at in 1..3 {
        let (key, content) = (conformance::key(), content(3 << 20, at));
        store.put(&key, &envelope("a"), &mut Body::of(&content)).await?;
        let (_, back) = conformance::read(&store, &key, None).await?;
        ensure!(back == content, "{} bytes came back", back.len());
    }
    Ok(())
}

async fn moto(folder: &std::path::Path, more: &[&str]) -> Result<Server> {
    let address = free_address()?;
    // Where `tests/install` puts it if it is nowhere else.
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/python/bin");
    let mut command = Command::new(program("moto_server", &[own])?);
    command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]).args(more);
    Server::start("moto", command, folder, address).await
}

async fn make_bucket(address: std::net::SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "PUT /{BUCKET} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await??;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}
