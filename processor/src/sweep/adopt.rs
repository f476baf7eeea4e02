//! Adopts objects that the ledger does not know: their job was never queued, or was lost with the queue.

use std::{fmt, ops::ControlFlow};

use futures_util::future::join_all;
use headworks_shared::{
    model::{Envelope, Job, Priority, Scope, Seal, State, Timestamp, UploadId},
    queue::Error as QueueError,
    report::Report,
    storage::{Error, Head, Key, Listed, Prefix, digest},
};
use tracing::warn;

use super::{SweepError, SweepReport, Sweeper};
use crate::purge;

/// How many objects are listed and looked up at once.
const PAGE: usize = 1000;

/// How many strangers are remembered, so that each is told once; beyond that they are told again.
const STRANGERS: usize = 10_000;

/// Keys in storage go by the hour.
const HOUR_MS: u64 = 3_600_000;

/// Which objects a round looks at.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// Uploads that began before are left to the deep round.
    from: Timestamp,
    /// Objects that became visible later are still on their way.
    settled: Timestamp,
}

impl Window {
    fn covers(self, listed: &Listed, id: UploadId) -> bool {
        id.time() >= self.from && listed.modified <= self.settled
    }

    /// Where to list on after `last`: right behind it, or, when that upload began before the window, behind all others of its scope
    /// that did. So a long hour before the window costs a page for each scope, and not all of its pages.
    fn on_from(self, last: &Key) -> Key {
        let Some((scope, id)) = last.upload().filter(|(_, id)| id.time() < self.from) else {
            return last.clone();
        };
        // The last byte decides the shard; with zeros before it no id of that moment and shard sorts lower.
        let mut random = [0; 10];
        random[9] = id.as_bytes()[15] % 16;
        Key::object(&scope, UploadId::new(self.from, random)).max(last.clone())
    }
}

impl Sweeper<'_> {
    /// Looks at all objects whose upload began at `from` or later.
    pub(super) async fn adopt(
        &mut self,
        from: Timestamp,
        report: &mut SweepReport,
    ) -> Result<(), SweepError> {
        self.full = None;
        let now = self.stack.clock.now();
        let window = Window { from, settled: now.before(self.settings.settle.0) };
        for hour in hours(window.from, now) {
            // The first pages of all shards are asked for at once: a store far away takes its time for each.
            let shards: Vec<_> = Prefix::objects_of_hour(hour).collect();
            let first = shards.iter().map(|shard| self.stack.blobs.list(shard, None, PAGE));
            for (shard, page) in shards.iter().zip(join_all(first).await) {
                if self.adopt_below(shard, page?, window, report).await?.is_break() {
                    report.cut_short = true;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn adopt_below(
        &mut self,
        prefix: &Prefix,
        mut page: Vec<Listed>,
        window: Window,
        report: &mut SweepReport,
    ) -> Result<ControlFlow<()>, SweepError> {
        loop {
            let on_from = page.last().map(|last| window.on_from(&last.key));
            let settled = page.iter().filter_map(|listed| {
                let upload = listed.key.upload()?;
                window.covers(listed, upload.1).then_some(upload)
            });
            if self.look_up(settled.collect(), report).await?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if page.len() < PAGE {
                return Ok(ControlFlow::Continue(()));
            }
            page = self.stack.blobs.list(prefix, on_from.as_ref(), PAGE).await?;
        }
    }

    /// Asks the ledger about objects: unknown ones are adopted, the bytes of deleted ones removed. Those of failed ones are removed when
    /// the ledger lists them, or left alone for ever: `headworks audit` tells of them.
    async fn look_up(
        &mut self,
        uploads: Vec<(Scope, UploadId)>,
        report: &mut SweepReport,
    ) -> Result<ControlFlow<()>, SweepError> {
        if uploads.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        report.looked_up += uploads.len() as u64;
        let ids: Vec<_> = uploads.iter().map(|(_, id)| *id).collect();
        let states = self.stack.meta.states(&ids).await?;
        let (mut lost, mut worthless) = (Vec::new(), Vec::new());
        for (upload, state) in uploads.into_iter().zip(states) {
            match state {
                Some(State::Stored | State::Failed) => {}
                Some(State::Deleted) => worthless.push(upload),
                None if self.stack.meta.dead_letter(upload.1).await?.is_some() => {}
                None => lost.push(upload),
            }
        }
        report.removed += purge::remove(self.stack, worthless).await?;
        self.queue_again(lost, report).await
    }

    /// Makes jobs of objects; stops when the queue is full.
    async fn queue_again(
        &mut self,
        lost: Vec<(Scope, UploadId)>,
        report: &mut SweepReport,
    ) -> Result<ControlFlow<()>, SweepError> {
        let keys: Vec<Key> = lost.iter().map(|(scope, id)| Key::object(scope, *id)).collect();
        let heads = if keys.is_empty() { Vec::new() } else { self.stack.blobs.stat(&keys).await };
        for (((_, id), key), head) in lost.into_iter().zip(&keys).zip(heads) {
            let Some(Receipt { envelope, seal, unseen }) = self.receipt(id, key, head, report).await else {
                continue;
            };
            let priority = envelope.priority;
            if self.full.is_some_and(|full| priority.index() >= full.index()) {
                continue;
            }
            match self.stack.queue.push(Job::object_stored(id, envelope, seal, unseen), None).await {
                Ok(()) => report.adopted += 1,
                Err(QueueError::Full) if priority == Priority::High => return Ok(ControlFlow::Break(())),
                Err(QueueError::Full) => {
                    self.full = Some(priority);
                    report.cut_short = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Tells once of an object that says nothing about itself.
    fn pass_over(&mut self, id: UploadId, why: &dyn fmt::Display) {
        if self.strangers.len() < STRANGERS && self.strangers.insert(id) {
            warn!(upload.id = %id, %why, "object left alone");
        }
    }

    /// What an object says of itself; `None` when it says nothing, or cannot be looked at now.
    async fn receipt(
        &mut self,
        id: UploadId,
        key: &Key,
        head: Result<Head, Error>,
        report: &mut SweepReport,
    ) -> Option<Receipt> {
        let read = match head {
            Ok(head) => self.read(key, head).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(Some(receipt)) => return Some(receipt),
            Ok(None) => {
                self.pass_over(id, &format_args!("{key} has no envelope"));
                report.strangers += 1;
            }
            Err(Error::NotFound) => {}
            Err(error @ Error::Damaged { .. }) => {
                self.pass_over(id, &Report(&error));
                report.strangers += 1;
            }
            // The others are not to wait for it. If it is the whole store, the next page says so.
            Err(error) => {
                self.pass_over(id, &Report(&error));
                report.unread += 1;
            }
        }
        None
    }

    /// Where the store could not keep the seal, it is made of the bytes.
    async fn read(&self, key: &Key, head: Head) -> Result<Option<Receipt>, Error> {
        let Some(envelope) = head.envelope else { return Ok(None) };
        if let Some(seal) = head.seal {
            return Ok(Some(Receipt { envelope, seal, unseen: true }));
        }
        let (size, digests) = digest(&*self.stack.blobs, key, false).await?;
        let seal = Seal { size, digests, sniffed_type: None };
        Ok(Some(Receipt { envelope, seal, unseen: false }))
    }
}

/// What an object says of itself.
struct Receipt {
    envelope: Envelope,
    seal: Seal,
    /// Nobody who still lives has seen its bytes.
    unseen: bool,
}

/// The hours in which uploads began from `from` to `to`, the last one first: what was lost just now is missed most.
fn hours(from: Timestamp, to: Timestamp) -> impl Iterator<Item = Timestamp> {
    let hour = |at: Timestamp| at.unix_ms() / HOUR_MS;
    (hour(from)..=hour(to)).rev().map(|hour| Timestamp::from_unix_ms(hour * HOUR_MS))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::id_at;

    #[test]
    fn listing_skips_what_began_before_the_window_and_nothing_else() {
        let from: Timestamp = "2026-11-21T05:12:00Z".parse().unwrap();
        let window = Window { from, settled: from };
        let scope = Scope::default();
        let key = |at| Key::object(&scope, id_at(at));
        for _ in 0..1000 {
            let old = key(from.before(Duration::from_secs(60)));
            let on = window.on_from(&old);
            assert!(on > old && on.as_str().split_at(16).0 == old.as_str().split_at(16).0, "{old} {on}");
            let inside = key(from);
            let same_shard = inside.as_str().get(..3) == old.as_str().get(..3);
            assert!(!same_shard || on < inside, "{on} skips {inside}");
            assert_eq!(window.on_from(&inside), inside);
        }
    }

    #[test]
    fn all_hours_that_are_touched_are_looked_at_the_last_one_first() {
        let hours = |from: &str, to: &str| -> Vec<String> {
            let hour = |at: Timestamp| {
                let mut text = String::new();
                at.push_day_and_hour(&mut text);
                text.split_off("20261121/".len())
            };
            hours(from.parse().unwrap(), to.parse().unwrap()).map(hour).collect()
        };
        assert_eq!(hours("2026-11-21T04:55:00Z", "2026-11-21T05:05:00Z"), ["05", "04"]);
        assert_eq!(hours("2026-11-21T05:00:00Z", "2026-11-21T05:10:00Z"), ["05"]);
        assert_eq!(hours("2026-11-20T23:59:59Z", "2026-11-21T01:00:00Z"), ["01", "00", "23"]);
    }
}
