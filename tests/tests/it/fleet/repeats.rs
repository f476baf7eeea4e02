//! Repeats of an upload to a store that is asked before the body is read.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use headworks_shared::http::Code;
use headworks_tests::{
    Client, Fleet, digest,
    fleet::{Kind, Store, Uploads},
};

/// A body that is piped: small ones are read whole before the store is asked.
const SIZE: usize = 300_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_at_the_same_time_make_one_object_in_a_bucket_too() -> Result<()> {
    let mut fleet = Fleet::start(Store::S3).await?;
    let client = fleet.alive(Kind::Ingest).next().context("an ingest")?.client();
    for round in 0..3 {
        let bytes = digest::content(round, SIZE);
        let put =
            |client: Client| client.put("a", bytes.clone()).header("idempotency-key", round.to_string());
        let answers = try_join_all((0..12).map(|_| put(client).send())).await?;
        for answer in &answers {
            ensure!(answer.status == 201 && answer.text("id")? == answers[0].text("id")?, "{answer:?}");
        }
        let other = client.put("a", digest::content(100, SIZE)).header("idempotency-key", round.to_string());
        other.send().await?.problem(Code::KeyReused)?;
        let objects = fleet.objects()?.into_iter().filter(|key| key.contains("/o/")).count();
        ensure!(objects as u64 == round + 1, "{objects} objects");
    }
    fleet.settles(&Uploads::default()).await
}
