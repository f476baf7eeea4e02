//! Gathers items into batches: until there are enough of them, or they are heavy enough, or the first has waited long enough.
//!
//! Items come in groups through a bounded channel; when it is full the senders wait. A group may be split between batches, so no batch
//! has more than `rows` items. Order is kept.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

/// When a batch is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// The most items, at least 1.
    pub(crate) rows: usize,
    /// The most bytes; a single item may be heavier.
    pub(crate) bytes: usize,
    /// The longest time that an item waits for others.
    pub(crate) wait: Duration,
}

/// Makes batches of what comes through a channel.
#[derive(Debug)]
pub(crate) struct Batcher<T> {
    incoming: mpsc::Receiver<Vec<T>>,
    limits: Limits,
    weigh: fn(&T) -> usize,
    gathered: Vec<T>,
    bytes: usize,
    since: Instant,
}

impl<T> Batcher<T> {
    /// `weigh` says how many bytes an item counts for.
    pub(crate) fn new(incoming: mpsc::Receiver<Vec<T>>, limits: Limits, weigh: fn(&T) -> usize) -> Self {
        Self { incoming, limits, weigh, gathered: Vec::new(), bytes: 0, since: Instant::now() }
    }

    /// The next batch, never empty; `None` when all senders are gone and everything was handed out.
    pub(crate) async fn next(&mut self) -> Option<Vec<T>> {
        while self.gathered.is_empty() {
            let group = self.incoming.recv().await?;
            self.take_in(group);
        }
        let due = self.since + self.limits.wait;
        while !self.is_full() {
            match timeout_at(due, self.incoming.recv()).await {
                Ok(Some(group)) => self.take_in(group),
                Ok(None) | Err(_) => break,
            }
        }
        Some(self.cut())
    }

    fn take_in(&mut self, group: Vec<T>) {
        if self.gathered.is_empty() {
            self.since = Instant::now();
        }
        self.bytes += group.iter().map(self.weigh).sum::<usize>();
        self.gathered.extend(group);
    }

    fn is_full(&self) -> bool {
        self.gathered.len() >= self.limits.rows || self.bytes >= self.limits.bytes
    }

    /// Takes off a batch's worth from the front, at least one item; the rest begins the next batch.
    fn cut(&mut self) -> Vec<T> {
        let mut bytes = 0;
        let fits = self.gathered.iter().take(self.limits.rows).take_while(|item| {
            bytes += (self.weigh)(item);
            bytes <= self.limits.bytes
        });
        let rest = self.gathered.split_off(fits.count().max(1).min(self.gathered.len()));
        self.bytes = rest.iter().map(self.weigh).sum();
        std::mem::replace(&mut self.gathered, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(20);

    fn batcher(rows: usize, bytes: usize) -> (mpsc::Sender<Vec<usize>>, Batcher<usize>) {
        let (sender, incoming) = mpsc::channel(8);
        (sender, Batcher::new(incoming, Limits { rows, bytes, wait: WAIT }, |weight| *weight))
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_does_not_wait() {
        let (sender, mut batcher) = batcher(3, 1000);
        let start = Instant::now();
        sender.send(vec![1, 2]).await.unwrap();
        sender.send(vec![3]).await.unwrap();
        assert_eq!(batcher.next().await, Some(vec![1, 2, 3]));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_item_waits_no_longer_than_allowed() {
        let (sender, mut batcher) = batcher(10, 1000);
        let start = Instant::now();
        sender.send(vec![1]).await.unwrap();
        assert_eq!(batcher.next().await, Some(vec![1]));
        assert_eq!(start.elapsed(), WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn no_batch_is_over_its_rows_and_order_is_kept() {
        let (sender, mut batcher) = batcher(2, 1000);
        sender.send(vec![1, 2, 3, 4, 5]).await.unwrap();
        drop(sender);
        let mut batches = Vec::new();
        while let Some(batch) = batcher.next().await {
            batches.push(batch);
        }
        assert_eq!(batches, [vec![1, 2], vec![3, 4], vec![5]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_heavy_item_stands_alone() {
        let (sender, mut batcher) = batcher(10, 100);
        sender.send(vec![50, 40, 20, 500, 1]).await.unwrap();
        drop(sender);
        let mut batches = Vec::new();
        while let Some(batch) = batcher.next().await {
            batches.push(batch);
        }
        assert_eq!(batches, [vec![50, 40], vec![20], vec![500], vec![1]]);
    }
}
