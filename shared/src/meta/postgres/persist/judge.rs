//! What each record of a batch leads to: pure, from what the ledger and the paths said.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::batch::Line;
use crate::{
    http::Code,
    meta::{Record, Verdict, postgres::fault::Fault},
    model::{State, UploadId},
};

/// Why an upload fails whose path had to be free.
pub(super) const EXISTS: &str = Code::Exists.as_str();

/// The versions of a path: the number given last, and whether one of them is there.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Newest {
    pub(super) last: u64,
    pub(super) there: bool,
}

impl Newest {
    /// Takes a version into account, which is there or was deleted.
    pub(super) fn add(&mut self, version: u64, there: bool) {
        self.last = self.last.max(version);
        self.there |= there;
    }

    /// What a new upload to this path leads to.
    fn next(&mut self, record: &Record) -> Verdict {
        if let Some(reason) = record.failure {
            return Verdict::Failed { reason };
        }
        if self.there && record.envelope.only_if_absent {
            return Verdict::Failed { reason: EXISTS };
        }
        self.add(self.last.saturating_add(1), true);
        Verdict::Stored { version: self.last }
    }
}

/// What a batch leads to.
#[derive(Default, Debug)]
pub(super) struct Judged {
    /// For each record; `None` where the ledger must be asked.
    pub(super) verdicts: Vec<Option<Verdict>>,
    /// What becomes an object.
    pub(super) stored: Vec<Stored>,
    /// Uploads that the ledger knew before.
    pub(super) known: Vec<Uuid>,
    /// Uploads whose path had to be free and is not.
    pub(super) taken: Vec<Uuid>,
}

/// A record that becomes an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stored {
    /// Its place in the batch.
    pub(super) line: usize,
    pub(super) version: u64,
}

/// Goes through the records in their order. `new` are those that the ledger has only now; `newest` is for each path.
pub(super) fn judge(lines: &[Line<'_>], mut new: HashSet<UploadId>, mut newest: Vec<Newest>) -> Judged {
    let mut judged = Judged::default();
    let mut ended = HashMap::new();
    for (place, line) in lines.iter().enumerate() {
        let id = line.record.id;
        let verdict = match newest.get_mut(line.path) {
            Some(path) if new.remove(&id) => Some(path.next(line.record)),
            _ => ended.get(&id).copied().map(Verdict::Known),
        };
        match verdict {
            Some(Verdict::Stored { version }) => {
                judged.stored.push(Stored { line: place, version });
                ended.insert(id, State::Stored);
            }
            Some(Verdict::Failed { .. }) => {
                if line.record.failure.is_none() {
                    judged.taken.push(id.into());
                }
                ended.insert(id, State::Failed);
            }
            Some(Verdict::Known(_)) => {}
            None => judged.known.push(id.into()),
        }
        judged.verdicts.push(verdict);
    }
    judged
}

impl Judged {
    /// The records that are new, with what became of them.
    pub(super) fn new<'r>(&self, lines: &[Line<'r>]) -> Vec<(&'r Record, Verdict)> {
        let pairs = lines.iter().zip(&self.verdicts);
        pairs.filter_map(|(line, verdict)| Some((line.record, (*verdict)?))).collect()
    }

    /// All verdicts, with what the ledger said of the uploads that it knew.
    pub(super) fn finish(
        &self,
        lines: &[Line<'_>],
        known: &HashMap<UploadId, State>,
    ) -> Result<Vec<Verdict>, Fault> {
        let ask = |line: &Line<'_>| known.get(&line.record.id).copied().map(Verdict::Known);
        let pairs = lines.iter().zip(&self.verdicts);
        pairs.map(|(line, verdict)| verdict.or_else(|| ask(line)).ok_or(Fault::Overtaken)).collect()
    }
}
