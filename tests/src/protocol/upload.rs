//! The two tries of the upload: `ingest/src/upload/{repeat,simple,commit}.rs`.

use super::{
    rule::{Rule, Rules},
    state::{Content, Row, Stage, State, Try},
    step::{Act, Next, Who},
};

pub(super) fn steps(next: &mut Next) {
    for (number, who) in [Who::First, Who::Second].into_iter().enumerate() {
        step(next, number, who);
    }
}

fn step(next: &mut Next, number: usize, who: Who) {
    let this = next.state.tries[number];
    let go = |stage| move |state: &mut State| state.tries[number].stage = stage;
    match this.stage {
        Stage::Waiting if next.state.in_reach => {
            let begun = begin(next, this);
            next.step(who, Act::Begin, |state| state.tries[number] = begun);
        }
        Stage::Announcing => next.step(who, Act::Announce, |state| {
            state.queue.push(this.content);
            state.tries[number].stage = Stage::Streaming;
        }),
        Stage::Streaming => match next.state.store.visible {
            Some(there) if next.keep(Rule::CreateOnly) => {
                next.step(who, Act::MeetObject, go(meet(next.rules, this.content, there)));
            }
            _ => next.step(who, Act::Put, |state| {
                state.store.visible = Some(this.content);
                state.tries[number].stage = Stage::Syncing(this.content);
            }),
        },
        Stage::Syncing(content) if next.state.store.is_synced() => {
            let announced = !next.keep(Rule::ObjectBeforeJob);
            let then = if announced { Stage::Acknowledged } else { Stage::Pushing(content) };
            next.step(who, Act::Sync, go(then));
        }
        Stage::Pushing(content) => next.step(who, Act::Push, |state| {
            state.queue.push(content);
            state.tries[number].stage = Stage::Acknowledged;
        }),
        Stage::Waiting | Stage::Syncing(_) | Stage::Acknowledged | Stage::Ended => {}
    }
}

/// A try begins with a look at the object: it may be a repeat.
fn begin(next: &Next, this: Try) -> Try {
    let row = next.state.ledger.row;
    let stage = match next.state.store.visible {
        _ if row.is_worthless() && next.keep(Rule::RepeatAsksLedger) => Stage::Ended,
        Some(there) => meet(next.rules, this.content, there),
        None if next.keep(Rule::ObjectBeforeJob) => Stage::Streaming,
        None => Stage::Announcing,
    };
    let too_late = matches!(row, Row::Deleted { .. }) && stage != Stage::Ended;
    Try { stage, too_late, ..this }
}

/// A repeat is answered as the try was that made the object; other content is refused.
fn meet(rules: Rules, content: Content, there: Content) -> Stage {
    match (content == there, rules.keep(Rule::RepeatWaitsForSync)) {
        (false, _) if rules.keep(Rule::RepeatComparesContent) => Stage::Ended,
        (_, true) => Stage::Syncing(there),
        (_, false) => Stage::Pushing(there),
    }
}
