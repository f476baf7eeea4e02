//! A user's deletion: `catalog/src/delete.rs`, and `delete` in `shared/src/meta/sqlite/ledger.rs`.

use super::{
    processor::more,
    rule::{Rule, Rules},
    state::{Deletion, Ledger, Purge, Row, State},
    step::{Act, Next, Who},
};

pub(super) fn steps(next: &mut Next) {
    let (rules, purge) = (next.rules, next.purge());
    match next.state.deletion {
        Deletion::None if !is_there(&next.state) => {}
        Deletion::None if rules.keep(Rule::TombstoneBeforeBytes) => {
            next.step(Who::User, Act::Delete, |state| {
                state.ledger.delete(rules);
                state.deletion = Deletion::Purging(purge);
            });
        }
        Deletion::None => next.step(Who::User, Act::DeleteBytes, |state| {
            state.store.visible = None;
            state.deletion = Deletion::Bare;
        }),
        Deletion::Bare => next.step(Who::User, Act::WriteTombstone, |state| {
            state.ledger.delete(rules);
            state.deletion = Deletion::Purging(Purge::TellLedger);
        }),
        Deletion::Purging(purge) => next.step_purge(Who::User, purge, |state, then| {
            state.deletion = then.map_or(Deletion::None, Deletion::Purging);
        }),
    }
}

/// An object is there from its put on: while the ledger has no row, it is its own receipt.
fn is_there(state: &State) -> bool {
    match state.ledger.row {
        Row::None | Row::DeadLetter => state.store.visible.is_some(),
        Row::Stored(_) => true,
        Row::Failed { .. } | Row::Deleted { .. } => false,
    }
}

impl Ledger {
    /// One transaction.
    fn delete(&mut self, rules: Rules) {
        match self.row {
            Row::Failed { .. } | Row::Deleted { .. } => return,
            Row::Stored(_) => self.usage = self.usage.saturating_sub(1),
            Row::None | Row::DeadLetter => {}
        }
        self.told_deleted = more(self.told_deleted);
        self.told_stored = self.told_stored.max(1);
        self.row = if rules.keep(Rule::TombstoneStays) { Row::Deleted { purged: false } } else { Row::None };
    }
}
