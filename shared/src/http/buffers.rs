//! How much a connection reads at once: the more of them there are, the less.
//!
//! hyper's bound is set when a connection begins, and must hold a head. What one read takes is decided at each read, so that a thousand
//! streams are cheap, whenever each of them began, and a lone one is fast.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The user-space read buffers of all connections together should come to this, in bytes, until there are so many that each has the least.
const OF_ALL: usize = 4 << 20;

/// hyper's least bound: it must hold the largest head. With 64 KiB a thousand fast streams take half as much memory again, and are no
/// faster.
const LEAST_BOUND: usize = 40 << 10;

/// hyper's largest: a lone stream wakes up a quarter as often as with 128 KiB, and costs 40 % less CPU; more is no faster.
const MOST: usize = 512 << 10;

/// What a read may take while it finds more than it takes, however many connections there are where bodies go to a disk: with 16 KiB a
/// thousand fast streams need a third less memory, and up to twice the CPU.
const PLENTY: usize = 64 << 10;

/// Where bodies are relayed to a store, that price is paid: all such reads together should come to this, in bytes, and each may take
/// `LEAST_PLENTY`. A store may stall, each piece that it has not taken keeps its buffer, and the next ones are read into new ones.
const PLENTY_OF_ALL: usize = 16 << 20;
const LEAST_PLENTY: usize = 16 << 10;

/// What a read takes at least: hyper allocates no less.
const LEAST_READ: usize = 8 << 10;

/// A head is read with what comes behind it, so that a small body takes one read. That is held until the upload's turn, which in a burst is
/// not soon; what all connections hold so should come to this, in bytes, until there are so many that each reads the least.
const WITH_HEADS_OF_ALL: usize = 2 << 20;
const MOST_WITH_HEAD: usize = 16 << 10;

/// What most heads fit in, in bytes.
const LEAST_WITH_HEAD: usize = 1 << 10;

/// How many connections there are.
#[derive(Clone, Debug)]
pub(super) struct Live {
    count: Arc<AtomicUsize>,
    relays: bool,
}

impl Live {
    /// None yet; of a listener that does or does not relay bodies to a store.
    pub(super) fn new(relays: bool) -> Self {
        Self { count: Arc::default(), relays }
    }

    /// One more, for as long as its place is kept.
    pub(super) fn enter(&self) -> Place {
        self.count.fetch_add(1, Ordering::Relaxed);
        Place(Arc::new(Entered(self.clone())))
    }

    /// What each of them may have of all there is.
    fn share(&self, of_all: usize) -> usize {
        of_all / self.count.load(Ordering::Relaxed).max(1)
    }
}

#[derive(Debug)]
struct Entered(Live);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection's place among the others.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<Entered>);

impl Place {
    /// hyper's bound for a connection that begins now.
    pub(super) fn bound(&self) -> usize {
        self.0.0.share(OF_ALL).clamp(LEAST_BOUND, MOST)
    }

    /// What a read may take now where a head is to come.
    pub(super) fn with_head(&self) -> usize {
        self.0.0.share(WITH_HEADS_OF_ALL).clamp(LEAST_WITH_HEAD, MOST_WITH_HEAD)
    }

    /// What one read may take now, when it is scarce and when there is plenty.
    fn reads(&self) -> (usize, usize) {
        let (live, share) = (&self.0.0, self.0.0.share(OF_ALL));
        let plenty = if live.relays { live.share(PLENTY_OF_ALL).clamp(LEAST_PLENTY, PLENTY) } else { PLENTY };
        (share.clamp(LEAST_READ, MOST), share.clamp(plenty, MOST))
    }
}

/// What a connection's next read takes: among many, little of a client that is waited for, whose buffer lies idle meanwhile.
#[derive(Debug)]
pub(super) struct Appetite {
    place: Place,
    now: usize,
    filled: bool,
}

impl Appetite {
    pub(super) fn new(place: Place) -> Self {
        Self { place, now: LEAST_READ, filled: false }
    }

    /// What a read takes where a head is to come, in bytes.
    pub(super) fn with_head(&self) -> usize {
        self.place.with_head()
    }

    /// In bytes. hyper doubles its buffer when a read filled it, so this is a little less than a power of two.
    pub(super) fn next(&self) -> usize {
        let (least, most) = self.place.reads();
        (1 << self.now.clamp(least, most).ilog2()) - 1
    }

    /// A read took so much of what it might: twice all of it says that there is more.
    pub(super) fn took(&mut self, bytes: usize, of: usize) {
        let filled = bytes == of;
        if filled && self.filled {
            self.now = (self.next() + 1).saturating_mul(2).min(MOST);
        }
        self.filled = filled && !self.filled;
    }

    /// There was nothing to read.
    pub(super) fn starved(&mut self) {
        self.now = self.next().div_ceil(2).max(LEAST_READ);
        self.filled = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_connection_takes_much_and_one_of_a_thousand_little() {
        let live = Live::new(false);
        let first = live.enter();
        assert_eq!((first.bound(), first.reads()), (MOST, (MOST, MOST)));
        let mut others: Vec<_> = (1..1000).map(|_| live.enter()).collect();
        let scarce = (LEAST_READ, PLENTY);
        assert_eq!(others.pop().map(|last| (last.bound(), last.reads())), Some((LEAST_BOUND, scarce)));
        assert_eq!(first.reads(), scarce, "whenever it began");
        drop(others);
        assert_eq!(first.reads(), (MOST, MOST));
    }

    #[test]
    fn what_is_relayed_is_read_in_smaller_pieces_the_more_streams_there_are() {
        let live = Live::new(true);
        let mut all = Vec::new();
        let mut most = |count| {
            all.resize_with(count, || live.enter());
            all.last().map(|place| place.reads().1)
        };
        assert_eq!([1, 256, 512, 2000].map(&mut most), [MOST, PLENTY, PLENTY / 2, LEAST_PLENTY].map(Some));
    }

    #[test]
    fn among_many_a_head_is_read_with_little_behind_it() {
        let live = Live::new(false);
        let mut all = Vec::new();
        let mut with_head = |count| {
            all.resize_with(count, || live.enter());
            all.last().map(Place::with_head)
        };
        assert_eq!([1, 128, 512, 5000].map(&mut with_head), [16 << 10, 16 << 10, 4 << 10, 1 << 10].map(Some));
    }

    #[test]
    fn among_many_a_client_that_is_waited_for_is_read_in_small_pieces_until_it_has_more() {
        let live = Live::new(false);
        let mut appetite = Appetite::new(live.enter());
        (0..10).for_each(|_| appetite.starved());
        assert_eq!(appetite.next(), MOST - 1, "alone it is fast");
        let others: Vec<_> = (1..1000).map(|_| live.enter()).collect();
        (0..3).for_each(|_| appetite.starved());
        let mut after = |took: &[usize]| {
            took.iter().for_each(|took| appetite.took(*took, 100));
            appetite.next() + 1
        };
        let sizes = [
            after(&[]),
            after(&[100, 9, 100]),
            after(&[100]),
            after(&[100; 2]),
            after(&[100; 2]),
            after(&[100; 9]),
        ];
        assert_eq!(sizes, [LEAST_READ, LEAST_READ, 16 << 10, 32 << 10, PLENTY, PLENTY]);
        appetite.starved();
        assert_eq!(appetite.next() + 1, 32 << 10);
        drop(others);
    }
}
