//! HTTP/2: many uploads on few connections, under the same rules as on many.

use std::{convert::Infallible, net::SocketAddr, pin::Pin, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use headworks_shared::{
    http::Code,
    shutdown::{Stop, Tasks},
};
use headworks_tests::{Answer, Config, DEADLINE, Headworks, Raw, digest, until};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::Barrier, task::JoinSet, time::timeout};

const CONNECTIONS: usize = 4;
const UPLOADS: usize = 1_000;

/// Of each upload, in bytes.
const SIZE: usize = 256 << 10;

/// The most that the process may grow by while a thousand uploads are half there.
const MARGIN: u64 = 96 << 20;

type Pieces = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;
type Requests = SendRequest<StreamBody<Pieces>>;

async fn connect(address: SocketAddr) -> Result<Requests> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (requests, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
    // It ends when nobody has requests for it any more.
    Tasks::new(Stop::new()).spawn("connection", |_| async { drop(connection.await) });
    Ok(requests)
}

/// The content in two halves, the second of which goes out when `all` are that far.
fn halves(content: &Bytes, all: Option<Arc<Barrier>>) -> StreamBody<Pieces> {
    let (first, second) = (content.slice(..SIZE / 2), content.slice(SIZE / 2..));
    let pieces = stream::iter([(first, None), (second, all)]);
    let pieces = futures_util::StreamExt::then(pieces, async |(piece, all)| {
        if let Some(all) = all {
            all.wait().await;
        }
        Ok(Frame::data(piece))
    });
    StreamBody::new(Box::pin(pieces))
}

async fn put(mut requests: Requests, path: &str, body: StreamBody<Pieces>) -> Result<Answer> {
    requests.ready().await?;
    let request = Request::put(format!("http://headworks/v1/files/{path}")).body(body)?;
    let answer = async {
        let (head, mut rest) = requests.send_request(request).await?.into_parts();
        let mut body = BytesMut::new();
        while let Some(frame) = rest.frame().await {
            body.extend_from_slice(&frame?.into_data().unwrap_or_default());
        }
        let body = body.freeze();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body, interim: Vec::new() })
    };
    timeout(6 * DEADLINE, answer).await.context("no answer in time")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_uploads_at_once_come_over_four_connections_and_memory_stays_small() -> Result<()> {
    let config = Config::in_memory()?.text("storage.durability", "none");
    Headworks::run(config, async |headworks| {
        let idle = headworks.memory("VmRSS")?;
        let (content, all) = (digest::content(1, SIZE), Arc::new(Barrier::new(UPLOADS)));
        let mut uploads = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let requests = connect(headworks.listen()).await?;
            for number in 0..UPLOADS / CONNECTIONS {
                let (requests, body) = (requests.clone(), halves(&content, Some(Arc::clone(&all))));
                uploads.spawn(async move { put(requests, &format!("{connection}/{number}"), body).await });
            }
        }
        while let Some(answer) = uploads.join_next().await {
            answer??.with_status(201)?;
        }
        let grown = headworks.memory("VmHWM")?.saturating_sub(idle);
        ensure!(grown < MARGIN, "it grew by {} MiB", grown >> 20);
        headworks.until_idle().await?;
        let read = headworks.client().get("/v1/files/3/249").send().await?.with_status(200)?;
        ensure!(read.body == content, "another content came back");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_reads_why_and_the_others_on_its_connection_go_on() -> Result<()> {
    const PLACES: usize = 10;
    let config = Config::in_memory()?
        .set("ingest.limits.streams", PLACES)
        .text("ingest.limits.hold", "200ms")
        .text("storage.durability", "none");
    Headworks::run(config, async |headworks| {
        let (content, all) = (digest::content(2, SIZE), Arc::new(Barrier::new(PLACES + 1)));
        let requests = connect(headworks.listen()).await?;
        let mut taken = JoinSet::new();
        for number in 0..PLACES {
            let (requests, body) = (requests.clone(), halves(&content, Some(Arc::clone(&all))));
            taken.spawn(async move { put(requests, &format!("taken/{number}"), body).await });
        }
        let in_flight = async || headworks.metrics().await?.sum("headworks_uploads_in_flight", &[]);
        until("all places to be taken", DEADLINE, in_flight, |taken| *taken == PLACES as f64).await?;
        for number in 0..3 {
            let answer = put(requests.clone(), &format!("late/{number}"), halves(&content, None)).await?;
            ensure!(answer.headers.contains_key("retry-after"), "{answer:?}");
            ensure!(answer.problem(Code::Refused)?["reason"] == "streams", "{answer:?}");
        }
        all.wait().await;
        while let Some(answer) = taken.join_next().await {
            answer??.with_status(201)?;
        }
        put(requests, "later", halves(&content, None)).await?.with_status(201)?;
        Ok(())
    })
    .await
}

/// The head of an upload on this stream, and that it is abandoned (RFC 9113 sections 4.1, 6.2, 6.4; RFC 7541 appendix A).
fn begun_and_reset(stream: u32) -> Vec<u8> {
    const HEAD: &[u8] = b"\x86\x02\x03PUT\x01\x09headworks\x04\x0f/v1/files/reset";
    let id = stream.to_be_bytes();
    [&[0, 0, 36, 1, 0b100], id.as_slice(), HEAD, &[0, 0, 4, 3, 0], &id, &[0, 0, 0, 8]].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_are_cut_off_and_leave_nothing_behind() -> Result<()> {
    let config = Config::in_memory()?.text("storage.durability", "none");
    Headworks::run(config, async |headworks| {
        let mut attacks = JoinSet::new();
        for _ in 0..20 {
            let address = headworks.listen();
            attacks.spawn(async move {
                let mut raw = Raw::connect(address).await?;
                let opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
                let resets = (1..20_000).step_by(2).flat_map(begun_and_reset);
                // Whether or not all of it is taken: it ends.
                let _ = raw.send(opening.into_iter().chain(resets).collect::<Vec<_>>()).await;
                raw.closed(2 * DEADLINE).await.map(drop)
            });
        }
        for number in 0.. {
            let good = headworks.client().put(&format!("good/{number}"), "content");
            good.send().await?.with_status(201)?;
            while let Some(attack) = attacks.try_join_next() {
                attack??;
            }
            if attacks.is_empty() {
                break;
            }
        }
        headworks.until_idle().await?;
        let left = headworks.client().get("/v1/objects?prefix=reset").send().await?.with_status(200)?;
        ensure!(left.json()?["objects"] == serde_json::json!([]), "{left:?}");
        Ok(())
    })
    .await
}
