//! Clears away what nobody will finish: broken-off puts, markers that are no longer valid, rows that nobody needs.

use headworks_shared::{
    model::IDEMPOTENCY_KEY_VALID,
    storage::{Key, Prefix},
};

use super::{DEEP, SweepError, SweepReport, Sweeper};

/// How many markers are listed at once.
const PAGE: usize = 1000;

impl Sweeper<'_> {
    /// Clears away; the objects themselves are never touched.
    pub(super) async fn clear_away(&self, report: &mut SweepReport) -> Result<(), SweepError> {
        let stack = self.stack;
        report.unfinished += stack.blobs.sweep_unfinished(DEEP).await?;
        report.markers += self.clear_markers().await?;
        report.pruned += stack.meta.prune(stack.clock.now().before(self.settings.keep.0)).await?;
        Ok(())
    }

    async fn clear_markers(&self) -> Result<u64, SweepError> {
        let oldest = self.stack.clock.now().before(IDEMPOTENCY_KEY_VALID);
        let mut cleared = 0;
        let mut after: Option<Key> = None;
        loop {
            let page = self.stack.blobs.list(&Prefix::markers(), after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(cleared) };
            after = Some(last.key.clone());
            for marker in page.iter().filter(|marker| marker.modified < oldest) {
                self.stack.blobs.delete(&marker.key).await?;
                cleared += 1;
            }
        }
    }
}
