//! Removes the bytes of an upload that failed or was deleted, and says so in the ledger: `processor/src/purge.rs`, and the end of
//! `catalog/src/delete.rs`. Processor, sweep and deletion may do it at the same time.

use super::{
    rule::Rule,
    state::{Purge, State},
    step::{Act, Next, Who},
};

impl Next {
    /// Where a purge begins.
    pub(super) fn purge(&self) -> Purge {
        if self.keep(Rule::BytesBeforePurged) { Purge::RemoveBytes } else { Purge::TellLedger }
    }

    /// The next step of a purge; `then` is told how it goes on.
    pub(super) fn step_purge(
        &mut self,
        who: Who,
        purge: Purge,
        then: impl FnOnce(&mut State, Option<Purge>),
    ) {
        let bytes_first = self.keep(Rule::BytesBeforePurged);
        let State { store, ledger, .. } = self.state;
        match purge {
            Purge::RemoveBytes => self.step(who, Act::RemoveBytes, |state| {
                state.store.visible = None;
                then(state, (bytes_first && ledger.row.is_unpurged()).then_some(Purge::TellLedger));
            }),
            Purge::TellLedger if store.is_synced() || !self.keep(Rule::RemovalIsSynced) => {
                self.step(who, Act::TellPurged, |state| {
                    state.ledger.row.note_purged();
                    then(state, (!bytes_first).then_some(Purge::RemoveBytes));
                });
            }
            Purge::TellLedger => {}
        }
    }
}
