//! Asks a subject's operators' pages: whether it is ready, and how deep its queue is.

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
const AGAIN: Duration = Duration::from_millis(50);

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

/// Waits until no job is left in the queue, as the page of metrics tells it; how long that took.
///
/// # Errors
/// When jobs are left after `patience`, or the page cannot be read.
pub(crate) async fn queue_is_empty(admin: SocketAddr, patience: Duration) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    loop {
        let (_, page) = get(admin, "/metrics").await?;
        let left = waiting_jobs(&page).context("the page of metrics has no queue depth")?;
        if left == 0.0 {
            return Ok(begun.elapsed());
        }
        anyhow::ensure!(begun.elapsed() < patience, "{left} jobs are left in the queue after {patience:?}");
        sleep(AGAIN).await;
    }
}

/// The jobs that wait, are in work or are put off; `None` when the page does not say.
fn waiting_jobs(page: &str) -> Option<f64> {
    let depths = page.lines().filter(|line| line.starts_with("headworks_queue_depth_jobs{"));
    let waiting = depths.filter(|line| WAITING.iter().any(|state| line.contains(state)));
    let counts: Vec<f64> = waiting
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(_, count)| count.parse().ok())
        .collect();
    (!counts.is_empty()).then(|| counts.iter().sum())
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
    fn a_credit_is_not_a_job_that_waits() {
        let page = "# TYPE headworks_queue_depth_jobs gauge\n\
            headworks_queue_depth_jobs{priority=\"high\",state=\"ready\"} 3\n\
            headworks_queue_depth_jobs{priority=\"low\",state=\"in_flight\"} 4\n\
            headworks_queue_depth_jobs{priority=\"low\",state=\"credited\"} 64\n\
            headworks_queue_capacity_jobs 10000\n";
        assert_eq!(waiting_jobs(page), Some(7.0));
    }

    #[test]
    fn a_page_without_a_depth_is_not_an_empty_queue() {
        assert_eq!(waiting_jobs("headworks_queue_capacity_jobs 10000\n"), None);
    }
}
