//! Asks a subject's operators' pages: whether it is ready, and what is left of its work.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// The longest time for one question.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes; a page of metrics has some ten thousand.
const LARGEST: usize = 4 * 1024 * 1024;
/// The wait between two questions.
const AGAIN: Duration = Duration::from_millis(100);

/// Jobs in these states are still to be done; a credited one has not come yet.
const WAITING: [&str; 3] = ["state=\"ready\"", "state=\"in_flight\"", "state=\"delayed\""];

/// Gets a page.
///
/// # Errors
/// When it does not come whole within 5 s, or is larger than 4 MiB.
pub(crate) async fn get(from: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, String)> {
    let exchange = async {
        let stream = TcpStream::connect(from).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(path).header(HOST, "localhost").body(Empty::<Bytes>::new())?;
        // The connection ends when the sender is dropped with the answer.
        let answer = async move {
            let (head, body) = sender.send_request(request).await?.into_parts();
            anyhow::Ok((head.status, read(Limited::new(body, LARGEST)).await?))
        };
        let (answer, _) = tokio::join!(answer, connection);
        answer
    };
    timeout(PATIENCE, exchange).await.with_context(|| format!("{path} did not answer in {PATIENCE:?}"))?
}

/// Waits until Headworks has worked off what it acknowledged.
///
/// The gauge of the queue's depth is read every half second only, and may still show the time before the load. So the counter
/// of stored jobs has to have reached `acknowledged` too; that also shows when one was lost.
///
/// # Errors
/// When jobs are left after `patience`, or the page of metrics cannot be read.
pub(crate) async fn settled(admin: SocketAddr, acknowledged: u64, patience: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let (_, page) = get(admin, "/metrics").await?;
        let (waiting, stored) = (waiting_jobs(&page), stored_jobs(&page));
        let waiting = waiting.context("the page of metrics has no queue depth")?;
        let stored = stored.context("the page of metrics has no stored jobs")?;
        if waiting == 0.0 && stored >= acknowledged as f64 {
            return Ok(());
        }
        anyhow::ensure!(
            begun.elapsed() < patience,
            "after {patience:?} {waiting} jobs wait, and {stored} of {acknowledged} uploads have their metadata"
        );
        sleep(AGAIN).await;
    }
}

/// The jobs that wait, are in work or are put off; `None` when the page does not say.
fn waiting_jobs(page: &str) -> Option<f64> {
    sum(page, "headworks_queue_depth_jobs{", |labels| WAITING.iter().any(|state| labels.contains(state)))
}

/// The jobs that brought an upload's metadata to its store; `None` when the page does not say.
fn stored_jobs(page: &str) -> Option<f64> {
    sum(page, "headworks_jobs_total{", |labels| {
        labels.contains("kind=\"object_stored\"") && labels.contains("outcome=\"stored\"")
    })
}

/// The sum of the lines that begin with `name` and whose labels are `wanted`; `None` when there is no such line.
fn sum(page: &str, name: &str, wanted: impl Fn(&str) -> bool) -> Option<f64> {
    let lines = page.lines().filter(|line| line.starts_with(name) && wanted(line));
    let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.reduce(|sum, value| sum + value)
}

async fn read<B>(mut body: B) -> anyhow::Result<String>
where
    B: hyper::body::Body<Data = Bytes, Error = Box<dyn std::error::Error + Send + Sync>> + Unpin,
{
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(anyhow::Error::from_boxed)?;
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
    }
    Ok(String::from_utf8(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_credit_waits_nor_is_a_dead_job_stored() {
        let page = "# TYPE headworks_queue_depth_jobs gauge\n\
            headworks_queue_depth_jobs{priority=\"high\",state=\"ready\"} 3\n\
            headworks_queue_depth_jobs{priority=\"low\",state=\"in_flight\"} 4\n\
            headworks_queue_depth_jobs{priority=\"low\",state=\"credited\"} 64\n\
            headworks_queue_capacity_jobs 10000\n\
            headworks_jobs_total{kind=\"object_stored\",outcome=\"dead\"} 1\n\
            headworks_jobs_total{kind=\"object_stored\",outcome=\"stored\"} 9\n";
        assert_eq!(waiting_jobs(page), Some(7.0));
        assert_eq!(stored_jobs(page), Some(9.0));
    }

    #[test]
    fn a_page_without_a_depth_is_not_an_empty_queue() {
        let page = "headworks_queue_capacity_jobs 10000\n";
        assert_eq!((waiting_jobs(page), stored_jobs(page)), (None, None));
    }
}
