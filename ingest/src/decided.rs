//! Who waits for an upload's end hears of it from the ledger, where the processor is another process.

use std::time::Duration;

use headworks_shared::{
    meta::Error, model::UploadId, outcomes::Outcome, report::Report, shutdown::Stop, stack::Stack,
};
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

/// How often the ledger is asked: a batch of rows is written about as often.
const EVERY: Duration = Duration::from_millis(50);

/// How many uploads it is asked about at once.
const PAGE: usize = 500;

/// Asks the ledger about the uploads that are waited for, until the stop. When nobody waits it is not asked.
pub(crate) async fn watch(stack: Stack, stop: Stop) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        for ids in stack.outcomes.waited_for().chunks(PAGE) {
            if let Err(error) = ask(&stack, ids).await {
                // They wait on, and are answered when their time is up.
                debug!(error = %Report(&error), "ledger not asked for who waits");
                break;
            }
        }
    }
}

async fn ask(stack: &Stack, ids: &[UploadId]) -> Result<(), Error> {
    let states = stack.meta.states(ids).await?;
    let ended = ids.iter().zip(states).filter_map(|(id, state)| Some((*id, state?)));
    ended.for_each(|(id, state)| stack.outcomes.tell(id, &Outcome { state, reason: None }));
    Ok(())
}
