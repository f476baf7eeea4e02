//! The queue full, because nobody drains it: uploads are refused at the door, and taken again as soon as somebody does.

use anyhow::{Result, ensure};
use headworks_shared::http::Code;
use headworks_tests::{
    Answer, DEADLINE, Fleet, Raw, binary,
    fleet::{IMPATIENT, Kind, Node, Shape, Store, Uploads},
    raw::put,
    until,
};
use rustix::process::Signal;

/// The places on the queue.
const PLACES: usize = 50;

const LIMITS: [(&str, &str); 2] = [("queue.capacity", "50"), ("ingest.limits.hold", "300ms")];

/// The answer to an upload that waits to be asked for its body, and is not.
async fn refusal(ingest: &Node) -> Result<Option<Answer>> {
    let mut raw = Raw::connect(ingest.listen()).await?;
    raw.send(put("late", &["Content-Length: 5", "Expect: 100-continue"])).await?;
    raw.wanted().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_before_a_byte_of_the_body_until_a_processor_goes_on() -> Result<()> {
    let settings = [&IMPATIENT[..], &LIMITS].concat();
    let shape = Shape { binaries: binary::fleet()?, of_each: 1, store: Store::Disk, settings };
    let mut fleet = Fleet::start_as(shape).await?;
    let uploads = Uploads::default();
    fleet.alive(Kind::Processor).try_for_each(|processor| processor.signal(Signal::STOP))?;

    let ingest = fleet.alive(Kind::Ingest).next().expect("an ingest");
    let client = ingest.client();
    for number in 0..=PLACES {
        if uploads.send_once(&client, &format!("full/{number}"), 2000).await?.status != 201 {
            break;
        }
        ensure!(number < PLACES, "more were taken than there are places");
    }
    for _ in 0..3 {
        let answer = refusal(ingest).await?.expect("no 100 Continue from a full queue");
        let problem = answer.problem(Code::Refused)?;
        ensure!(problem["reason"] == "queue" && answer.interim.is_empty(), "{answer:?}");
        ensure!(problem["retry_after_s"].is_u64(), "{problem}");
    }

    fleet.alive(Kind::Processor).try_for_each(|processor| processor.signal(Signal::CONT))?;
    let again = async || Ok(uploads.send_once(&client, "full/again", 2000).await?.status);
    until("an upload to be taken again", DEADLINE, again, |status| *status == 201).await?;
    fleet.settles(&uploads).await
}
