//! What the protocol promises of every upload, whatever happens.

use super::{
    sentences::sentences,
    state::{Content, Row, Stage, State},
};

sentences! {
    /// A promise. The first two are looked at when everything has come to rest, the others in every state.
    pub enum Promise {
        AcknowledgedIsKept = "an acknowledged upload has its row and its bytes, unless it was deleted",
        NothingLeaks = "every object belongs to a row, or to a dead letter",
        RowHasObject = "a row in the catalog has its object, with those bytes",
        UsageIsExact = "usage is the sum of the rows",
        EventsAreExact = "one object.stored is told of a row, one object.deleted of a tombstone, and nothing after that",
        DeletedStaysDeleted = "a deleted upload has no row in the catalog again",
        RepeatKnowsDeletion = "a repeat that began after the deletion is not acknowledged",
    }
}

impl Promise {
    /// Whether `state` keeps the promise; `at_rest`: nobody has anything left to do.
    pub(super) fn is_kept(self, state: &State, at_rest: bool) -> bool {
        let State { ledger, store, tries, .. } = *state;
        let live = matches!(ledger.row, Row::Stored(_));
        let mut acknowledged = tries.into_iter().filter(|this| this.stage == Stage::Acknowledged);
        match self {
            Self::AcknowledgedIsKept => !at_rest || acknowledged.all(|this| state.holds(this.content)),
            Self::NothingLeaks => {
                !at_rest || store.visible.is_none() || live || ledger.row == Row::DeadLetter
            }
            Self::RowHasObject => !live || store.visible.map(Row::Stored) == Some(ledger.row),
            Self::UsageIsExact => ledger.usage == u8::from(live),
            Self::EventsAreExact => {
                let deleted = matches!(ledger.row, Row::Deleted { .. });
                let missing = (live && ledger.told_stored == 0) || (deleted && ledger.told_deleted == 0);
                !missing && ledger.told_stored <= 1 && ledger.told_deleted <= 1
            }
            Self::DeletedStaysDeleted => !live || ledger.told_deleted == 0,
            Self::RepeatKnowsDeletion => !acknowledged.any(|this| this.too_late),
        }
    }
}

impl State {
    /// Whether what a client was told to be safe is: as an object, or until a person has looked at its dead letter, or up to its deletion.
    fn holds(&self, content: Content) -> bool {
        match self.ledger.row {
            Row::Stored(_) | Row::DeadLetter => self.store.visible == Some(content),
            Row::Deleted { .. } => true,
            Row::None | Row::Failed { .. } => false,
        }
    }
}
