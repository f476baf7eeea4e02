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

/// hyper's least bound: it must hold the largest head.
const LEAST_BOUND: usize = 40 << 10;

/// hyper's largest: a lone stream wakes up a quarter as often as with 128 KiB, and costs 40 % less CPU; more is no faster.
const MOST: usize = 512 << 10;

/// The least that one read may take: with 16 KiB a thousand streams need a third less memory, and nearly twice the CPU.
const LEAST_READ: usize = 64 << 10;

/// How many connections there are.
#[derive(Clone, Default, Debug)]
pub(super) struct Live(Arc<AtomicUsize>);

impl Live {
    /// One more, for as long as its place is kept.
    pub(super) fn enter(&self) -> Place {
        self.0.fetch_add(1, Ordering::Relaxed);
        Place(Arc::new(Entered(self.clone())))
    }

    /// What each of them may have of all there is.
    fn share(&self) -> usize {
        OF_ALL / self.0.load(Ordering::Relaxed).max(1)
    }
}

#[derive(Debug)]
struct Entered(Live);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection's place among the others.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<Entered>);

impl Place {
    /// hyper's bound for a connection that begins now.
    pub(super) fn bound(&self) -> usize {
        self.0.0.share().clamp(LEAST_BOUND, MOST)
    }

    /// What one read may take now. hyper doubles its buffer when one was filled, so a read takes a little less than a power of two.
    pub(super) fn read(&self) -> usize {
        self.0.0.share().clamp(LEAST_READ, MOST) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_connection_takes_much_and_one_of_a_thousand_little() {
        let live = Live::default();
        let first = live.enter();
        assert_eq!((first.bound(), first.read()), (MOST, MOST - 1));
        let mut others: Vec<_> = (1..1000).map(|_| live.enter()).collect();
        assert_eq!(others.pop().map(|last| (last.bound(), last.read())), Some((LEAST_BOUND, LEAST_READ - 1)));
        assert_eq!(first.read(), LEAST_READ - 1, "whenever it began");
        drop(others);
        assert_eq!(first.read(), MOST - 1);
    }
}
