//! What the servers can do at most: a loop that reads a stream in blocks and copies each into one table, with no index and no answer
//! to anybody but Redis.

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{SinkExt as _, pin_mut};
use redis::{
    AsyncCommands as _, Pipeline,
    streams::{StreamReadOptions, StreamReadReply},
};
use tokio::time::Instant;

use super::{
    Fleet,
    drain::{JOBS, Sample},
};
use crate::measure::own_cpu_seconds;

const STREAM: &str = "ceiling";
const GROUP: &str = "workers";

/// Entries in a block, as many as a processor's batch has rows.
const BLOCK: usize = 500;

/// As long as a job's.
const PAYLOAD: usize = 400;

/// Runs it once.
///
/// # Errors
/// When a server says no.
pub(super) async fn once(fleet: &Fleet) -> anyhow::Result<Sample> {
    let mut queue = fleet.redis.connect().await?;
    for block in 0..JOBS.div_ceil(1000) {
        let mut pipeline = Pipeline::new();
        for number in 0..1000 {
            let id = block * 1000 + number;
            pipeline.xadd(STREAM, "*", &[("id", id.to_string()), ("job", "x".repeat(PAYLOAD))]).ignore();
        }
        pipeline.exec_async(&mut queue).await?;
    }
    queue.xgroup_create::<_, _, _, ()>(STREAM, GROUP, "0").await?;
    let database = fleet.postgres.connect(&fleet.database).await?;
    database.batch_execute("CREATE TABLE ceiling (id bigint NOT NULL, job text NOT NULL)").await?;
    let (redis, postgres) = (fleet.redis.cpu()?, fleet.postgres.cpu()?);
    let (begun, own) = (Instant::now(), own_cpu_seconds()?);
    let options = StreamReadOptions::default().group(GROUP, "one").count(BLOCK);
    let mut done = 0;
    while done < JOBS {
        let reply: StreamReadReply = queue.xread_options(&[STREAM], &[">"], &options).await?;
        let stream = reply.keys.into_iter().next().context("the stream ends early")?;
        let mut lines = String::new();
        for entry in &stream.ids {
            let field = |name| entry.get::<String>(name).context("a field");
            lines += &format!("{}\t{}\n", field("id")?, field("job")?);
        }
        let copy = database.copy_in("COPY ceiling FROM STDIN").await?;
        pin_mut!(copy);
        copy.send(Bytes::from(lines)).await?;
        copy.finish().await?;
        let ids: Vec<&str> = stream.ids.iter().map(|entry| entry.id.as_str()).collect();
        let mut answer = Pipeline::new();
        answer.xack(STREAM, GROUP, &ids).ignore().xdel(STREAM, &ids).ignore();
        answer.exec_async(&mut queue).await?;
        done += u64::try_from(ids.len())?;
    }
    Ok(Sample {
        seconds: begun.elapsed().as_secs_f64(),
        worker: own_cpu_seconds()? - own,
        redis: (fleet.redis.cpu()? - redis).as_secs_f64(),
        postgres: (fleet.postgres.cpu()? - postgres).as_secs_f64(),
    })
}
