//! The sweep: `processor/src/sweep/{mod,adopt}.rs`. Between its look and its deed anything may happen.

use super::{
    rule::Rule,
    state::{Row, Stage, State, Sweep},
    step::{Act, Next, Who},
};

pub(super) fn steps(next: &mut Next) {
    leave_reach(next);
    match next.state.sweep {
        Sweep::Resting => look(next),
        // The object is looked at again, for what it says of itself; it may be gone.
        Sweep::Adopting => next.step(Who::Sweep, Act::Adopt, |state| {
            if let Some(content) = state.store.visible {
                state.queue.push(content);
            }
            state.sweep = Sweep::Resting;
        }),
        Sweep::Purging(purge) => next.step_purge(Who::Sweep, purge, |state, then| {
            state.sweep = then.map_or(Sweep::Resting, Sweep::Purging);
        }),
    }
}

/// The reach is a time, so an upload leaves it some day. Whoever repeats it by then begins another: its key is no longer valid.
fn leave_reach(next: &mut Next) {
    let state = &next.state;
    let begun = state.tries.iter().any(|this| this.stage != Stage::Waiting);
    let over = state.tries.iter().all(|this| !this.stage.is_under_way());
    let accounted_for = state.ledger.row != Row::None || state.store.visible.is_none();
    let clear = over && accounted_for && state.store.is_synced() && !meets_worthless(next);
    if state.in_reach && begun && (clear || !next.keep(Rule::ReachOutlastsUploads)) {
        next.step(Who::Time, Act::LeaveReach, |state| state.in_reach = false);
    }
}

/// What it sees; nothing, most of the time.
fn look(next: &mut Next) {
    if !next.keep(Rule::Sweep) {
        return;
    }
    let purge = next.purge();
    if meets_lost(next) {
        next.step(Who::Sweep, Act::MeetLost, |state| state.sweep = Sweep::Adopting);
    }
    if meets_worthless(next) {
        next.step(Who::Sweep, Act::MeetWorthless, |state| state.sweep = Sweep::Purging(purge));
    }
}

/// An object without a row. One with a dead letter waits for a person.
fn meets_lost(next: &Next) -> bool {
    let State { store, ledger, in_reach, .. } = next.state;
    let settled = store.is_synced() || !next.keep(Rule::SweepLetsSettle);
    in_reach && store.visible.is_some() && settled && ledger.row == Row::None
}

/// Bytes that the ledger does not know to be gone, however old; and within reach, those that it thinks are.
fn meets_worthless(next: &Next) -> bool {
    let State { store, ledger, in_reach, .. } = next.state;
    let met = in_reach && store.visible.is_some() && next.keep(Rule::SweepRemovesWhatItMeets);
    ledger.row.is_unpurged() || (met && ledger.row.is_worthless())
}
