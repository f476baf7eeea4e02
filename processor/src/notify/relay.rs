//! Outbox → deliveries: right after a batch was written, and once a second for events that others wrote.
//!
//! Where nobody wants to be told, the relay only marks events as done, and nobody waits for that: then it goes by the second alone.

use std::{sync::Arc, time::Duration};

use headworks_shared::{meta::Receiver, report::Report, shutdown::Stop};
use tokio::{sync::Notify, time::sleep};
use tracing::warn;

use super::POLL;
use crate::Processor;

/// The most events in one transaction: it shares the database's one writer with the batches.
const EVENTS: usize = 1000;

/// The shortest time between two rounds, so that many small batches cost one round and not one each.
const PACE: Duration = Duration::from_millis(50);

/// Relays until the stop; wakes the deliverers when there is something for them.
pub(super) async fn run(
    processor: Arc<Processor>,
    receivers: Vec<Receiver>,
    wakes: Vec<Arc<Notify>>,
    stop: Stop,
) {
    let pause = async || {
        sleep(PACE).await;
        if receivers.is_empty() {
            return sleep(POLL).await;
        }
        tokio::select! {
            () = processor.persisted.notified() => {}
            () = sleep(POLL) => {}
        }
    };
    while !stop.is_cancelled() {
        match relay(&processor, &receivers, &stop).await {
            Ok(0) => {}
            Ok(_) => wakes.iter().for_each(|wake| wake.notify_one()),
            Err(error) => warn!(error = %Report(&error), "events not relayed, they wait"),
        }
        stop.run_until_cancelled(pause()).await;
    }
}

/// Relays all that is there; says how many events that were.
async fn relay(
    processor: &Processor,
    receivers: &[Receiver],
    stop: &Stop,
) -> Result<usize, headworks_shared::meta::Error> {
    let mut total = 0;
    loop {
        let taken = processor.stack.meta.relay(receivers, EVENTS, processor.stack.clock.now()).await?;
        total += taken;
        if taken < EVENTS || stop.is_cancelled() {
            return Ok(total);
        }
    }
}
