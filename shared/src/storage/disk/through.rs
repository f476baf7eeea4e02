//! Passes a body on from its client to its file while it comes, by the thread that reads it: what it was read into is used again for
//! the next one, and no upload holds any of it, not even while it waits for a place.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    task::{Context, Poll},
};

use tokio::task::yield_now;

use super::{lanes::within, spot::Spot, stage::Staged};
use crate::{
    limits::{Budget, woken},
    storage::{BodyError, Source},
};

/// How many bytes of one body are passed on before others have their turn.
const TURN: usize = 1 << 20;

/// How a turn ended.
enum Turn {
    Ended,
    /// No more has come.
    Starved,
    /// More may have come.
    Over,
}

/// Passes a body on; says whether it has ended, or there is no place for it on the spot.
pub(super) async fn pass(
    (spot, budget): (&Spot, &Budget),
    body: &mut dyn Source,
    staged: &mut Staged,
) -> Result<io::Result<bool>, BodyError> {
    body.want(usize::MAX);
    loop {
        let released = async {
            budget.released().await;
            Ok(())
        };
        if let Err(error) = within(released).await {
            return Ok(Err(error));
        }
        let Some(place) = spot.wait().await else { return Ok(Ok(false)) };
        let turn = poll_fn(|context| Poll::Ready(turn(body, staged, context))).await?;
        drop(place);
        match turn {
            Err(error) => return Ok(Err(error)),
            Ok(Turn::Ended) => return Ok(Ok(true)),
            Ok(Turn::Starved) => woken().await,
            Ok(Turn::Over) => yield_now().await,
        }
    }
}

fn turn(
    body: &mut dyn Source,
    staged: &mut Staged,
    context: &mut Context<'_>,
) -> Result<io::Result<Turn>, BodyError> {
    let mut passed = 0;
    while passed < TURN {
        let mut written = Ok(());
        let lent = body.poll_lend(context, &mut |bytes| {
            passed += bytes.len();
            written = staged.append(&mut [IoSlice::new(bytes)]);
        });
        match lent {
            Poll::Pending => return Ok(Ok(Turn::Starved)),
            Poll::Ready(None) => return Ok(Ok(Turn::Ended)),
            Poll::Ready(Some(lent)) => lent?,
        }
        if let Err(error) = written {
            return Ok(Err(error));
        }
    }
    Ok(Ok(Turn::Over))
}
