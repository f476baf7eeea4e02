//! How many bytes each connection may send ahead of what its streams have read: a lone one many, one of a thousand few.
//!
//! What was sent ahead is kept in memory (RFC 9113 section 5.2), so all of it together has a bound: [`POOL`], and [`LEAST`] for each
//! connection, which is no more than what an HTTP/1 connection's read buffer takes.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// What the protocol gives every connection and every stream at its beginning, in bytes; of a connection it cannot be taken back.
const LEAST: u32 = 65_535;

/// The most for one connection, beside [`LEAST`]: 100 ms of a client that sends 80 MB/s.
const MOST: u32 = 8 << 20;

/// What all connections have beside their [`LEAST`].
const POOL: u32 = 64 << 20;

/// A connection gets this part of what is left, so that there is always something for the next one.
const PART: u32 = 8;

/// The windows of all connections of a listener.
#[derive(Clone, Debug)]
pub(in crate::http) struct Windows(Arc<AtomicU32>);

impl Default for Windows {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(POOL)))
    }
}

impl Windows {
    /// A window for a connection that begins, for as long as it is kept.
    pub(super) fn take(&self) -> Window {
        let part = |left: u32| (left / PART).min(MOST);
        let before =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left - part(left)));
        Window { more: before.map_or(0, part), pool: self.clone() }
    }
}

/// A connection's window.
#[derive(Debug)]
pub(super) struct Window {
    more: u32,
    pool: Windows,
}

impl Window {
    /// What all streams of the connection may send ahead, in bytes.
    pub(super) fn of_connection(&self) -> u32 {
        LEAST + self.more
    }

    /// What one of them may: a part, so that a few that are not read do not stop the others.
    pub(super) fn of_stream(&self) -> u32 {
        LEAST.max(self.more / PART)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.pool.0.fetch_add(self.more, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_connection_may_send_much_ahead_and_all_of_them_no_more_than_the_pool() {
        let windows = Windows::default();
        let first = windows.take();
        assert_eq!((first.of_connection(), first.of_stream()), (LEAST + MOST, MOST / PART));
        let mut all: Vec<_> = (1..1000).map(|_| windows.take()).collect();
        let more: u32 = all.iter().chain([&first]).map(|window| window.of_connection() - LEAST).sum();
        assert!(more <= POOL, "{more}");
        assert_eq!(all.pop().map(|last| (last.of_connection(), last.of_stream())), Some((LEAST, LEAST)));
        drop((all, first));
        assert_eq!(windows.take().of_connection(), LEAST + MOST, "what was given back is there again");
    }
}
