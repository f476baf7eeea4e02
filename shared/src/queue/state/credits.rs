//! Credits: the right to put one job on the queue, held for a while by one holder.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use tokio::time::Instant;

use super::super::Holder;
use crate::model::Priority;

/// All unspent credits.
#[derive(Debug, Default)]
pub(super) struct Credits {
    holders: HashMap<Holder, Held>,
    lapses: BTreeSet<(Instant, Arc<str>)>,
    count: [usize; 3],
}

#[derive(Clone, Copy, Debug)]
struct Held {
    credits: [usize; 3],
    until: Instant,
}

impl Credits {
    /// Unspent credits of each priority.
    pub(super) fn count(&self) -> [usize; 3] {
        self.count
    }

    /// Unspent credits.
    pub(super) fn total(&self) -> usize {
        self.count.iter().sum()
    }

    /// Lets `holder` hold `want` credits until `until`, as far as there is room beside `jobs` jobs. What it gives back is
    /// counted first, then the more urgent is served before the less urgent.
    pub(super) fn hold(
        &mut self,
        holder: &Holder,
        want: [usize; 3],
        until: Instant,
        jobs: usize,
        capacity: usize,
    ) -> [usize; 3] {
        let before = self.take(holder);
        let mut credits = [0, 1, 2].map(|of| want[of].min(before[of]));
        let mut total = jobs + self.total() + credits.iter().sum::<usize>();
        for priority in Priority::ALL {
            let of = priority.index();
            let more = (want[of] - credits[of]).min(priority.share_of(capacity).saturating_sub(total));
            credits[of] += more;
            total += more;
        }
        self.put(holder, Held { credits, until });
        credits
    }

    /// Spends one; says whether there was one.
    pub(super) fn spend(&mut self, holder: &Holder, priority: Priority) -> bool {
        let Some(held) = self.holders.get_mut(holder) else { return false };
        let of = priority.index();
        if held.credits[of] == 0 {
            return false;
        }
        held.credits[of] -= 1;
        self.count[of] -= 1;
        if held.credits == [0; 3] {
            self.take(holder);
        }
        true
    }

    /// Takes back all credits whose time was up at `now`.
    pub(super) fn lapse(&mut self, now: Instant) {
        while let Some((until, holder)) = self.lapses.first()
            && *until <= now
        {
            let holder = Holder(Arc::clone(holder));
            self.take(&holder);
        }
    }

    fn take(&mut self, holder: &Holder) -> [usize; 3] {
        let Some(held) = self.holders.remove(holder) else { return [0; 3] };
        self.lapses.remove(&(held.until, Arc::clone(&holder.0)));
        for (count, credits) in self.count.iter_mut().zip(held.credits) {
            *count -= credits;
        }
        held.credits
    }

    /// Who holds nothing is not remembered.
    fn put(&mut self, holder: &Holder, held: Held) {
        if held.credits == [0; 3] {
            return;
        }
        for (count, credits) in self.count.iter_mut().zip(held.credits) {
            *count += credits;
        }
        self.lapses.insert((held.until, Arc::clone(&holder.0)));
        self.holders.insert(holder.clone(), held);
    }

    /// Counts anew, for tests: panics when a counter or an index is wrong.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut count = [0; 3];
        for (holder, held) in &self.holders {
            assert_ne!(held.credits, [0; 3]);
            assert!(self.lapses.contains(&(held.until, Arc::clone(&holder.0))));
            count = [0, 1, 2].map(|of| count[of] + held.credits[of]);
        }
        assert_eq!((count, self.holders.len()), (self.count, self.lapses.len()));
    }
}
