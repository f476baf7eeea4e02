//! What each record of a batch leads to: pure, from what the ledger and the paths said.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::batch::Line;
use crate::{
    http::Code,
    meta::{Record, Verdict, event, postgres::fault::Fault},
    model::{Event, State, Timestamp, UploadId},
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
    /// What is to be told of the records that are new.
    pub(super) fn events(&self, lines: &[Line<'_>], at: Timestamp) -> Vec<Event> {
        let pairs = lines.iter().zip(&self.verdicts);
        pairs.filter_map(|(line, verdict)| event(line.record, (*verdict)?, at)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Crc64, Digests, Envelope, Priority, Scope, Seal};

    fn record(number: u8, only_if_absent: bool, failure: Option<&'static str>) -> Record {
        let envelope = Envelope {
            scope: Scope::default(),
            path: "a".parse().unwrap(),
            content_type: None,
            priority: Priority::Normal,
            only_if_absent,
            marker: None,
            request_id: None,
            trace: None,
        };
        let digests = Digests { crc64nvme: Crc64(0), sha256: None };
        let seal = Seal { size: 1, digests, sniffed_type: None };
        let id = UploadId::new(Timestamp::from_unix_ms(1_795_237_920_000), [number; 10]);
        Record { id, envelope, seal, failure }
    }

    /// The verdicts on records to one path; those named in `known` are in the ledger.
    fn verdicts(records: &[Record], known: &[u8], newest: Newest) -> Vec<Option<Verdict>> {
        let lines: Vec<_> =
            records.iter().map(|record| Line { record, scope: 0, path: 0, size: 1 }).collect();
        let known: Vec<_> = known.iter().map(|number| record(*number, false, None).id).collect();
        let new = records.iter().map(|record| record.id).filter(|id| !known.contains(id)).collect();
        judge(&lines, new, vec![newest]).verdicts
    }

    const STORED: fn(u64) -> Option<Verdict> = |version| Some(Verdict::Stored { version });
    const TAKEN: Option<Verdict> = Some(Verdict::Failed { reason: EXISTS });

    #[test]
    fn versions_go_on_behind_the_last_one_there_or_deleted() {
        let records =
            [record(1, false, None), record(2, false, Some("object_missing")), record(3, false, None)];
        let failed = Some(Verdict::Failed { reason: "object_missing" });
        assert_eq!(verdicts(&records, &[], Newest::default()), [STORED(1), failed, STORED(2)]);
        let deleted = Newest { last: 7, there: false };
        assert_eq!(verdicts(&records, &[], deleted), [STORED(8), failed, STORED(9)]);
    }

    #[test]
    fn a_path_that_must_be_free_may_be_taken_by_its_own_batch() {
        let records = [record(1, true, None), record(2, true, None), record(3, false, None)];
        assert_eq!(verdicts(&records, &[], Newest::default()), [STORED(1), TAKEN, STORED(2)]);
        let there = Newest { last: 1, there: true };
        assert_eq!(verdicts(&records, &[], there), [TAKEN, TAKEN, STORED(2)]);
        // What failed or was known before takes no path.
        let failed =
            [record(1, false, Some("object_missing")), record(2, false, None), record(3, true, None)];
        assert_eq!(verdicts(&failed, &[2], Newest::default())[1..], [None, STORED(1)]);
    }

    #[test]
    fn the_second_record_of_an_upload_finds_it_known() {
        let records = [record(1, false, None), record(1, false, Some("object_missing"))];
        let known = Some(Verdict::Known(State::Stored));
        assert_eq!(verdicts(&records, &[], Newest::default()), [STORED(1), known]);
        assert_eq!(verdicts(&records, &[1], Newest::default()), [None, None]);
    }
}
