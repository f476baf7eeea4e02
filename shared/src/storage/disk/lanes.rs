//! Work on blocking threads, or on the spot. Writing has few threads, each going on with what waits: under load one that is done takes
//! the next piece of work along, and nobody is woken. A thread for each piece would cost more than writing a small file does.

use std::{
    collections::VecDeque,
    future::{Ready, ready},
    io,
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use super::spot::Spot;
use crate::shutdown::threads;

/// The longest wait for the disk: syncing a large body on a slow one takes its time, longer takes only one that is gone.
const PATIENCE: Duration = Duration::from_secs(300);

type Work = Box<dyn FnOnce() + Send>;

/// Runs work on blocking threads, on so many at once.
#[derive(Clone)]
pub(super) struct Lanes {
    line: Arc<Mutex<Line>>,
    most: usize,
    spot: Option<Arc<Spot>>,
}

/// What waits is bounded by those who wait: an upload has one piece of work at a time.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Work>,
    running: usize,
}

impl Lanes {
    /// For work that waits for the disk.
    pub(super) fn new(most: usize) -> Self {
        Self { line: Arc::default(), most, spot: None }
    }

    /// For work that a core does, on as many threads as there are cores.
    pub(super) fn of_cores() -> Self {
        let cores = thread::available_parallelism().map_or(2, NonZero::get);
        Self { spot: Spot::new(threads()).map(Arc::new), ..Self::new(cores) }
    }

    /// Does work on the spot if that is quick, else as [`Self::run`].
    pub(super) fn run_here<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Running<T> {
        let Some(spot) = &self.spot else { return self.run(work) };
        match spot.try_do(work) {
            Ok(done) => Running::Done(ready(done)),
            Err(work) => self.run(work),
        }
    }

    /// Where work is done on the spot, if it is.
    pub(super) fn spot(&self) -> Option<&Spot> {
        self.spot.as_deref()
    }

    /// Puts work in line; it runs in any case, also when nobody waits for its result.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Running<T> {
        let (tell, told) = oneshot::channel();
        // When nobody wants to know, the result is dropped there: that is what removes a staged file.
        let work = Box::new(move || drop(tell.send(work())));
        let mut line = self.line();
        line.waiting.push_back(work);
        if line.running < self.most {
            line.running += 1;
            drop(line);
            let lanes = self.clone();
            drop(tokio::task::spawn_blocking(move || lanes.work_off()));
        }
        Running::Told(told)
    }

    fn work_off(&self) {
        while let Some(work) = self.next() {
            // A panic was told by the runtime's hook; whoever waits is told by the dropped channel.
            drop(catch_unwind(AssertUnwindSafe(work)));
        }
    }

    fn next(&self) -> Option<Work> {
        let next = self.line().waiting.pop_front();
        if next.is_some() {
            return next;
        }
        // Who had no core meanwhile may have work too: with 64 clients a third fewer threads are woken for an upload.
        thread::yield_now();
        let mut line = self.line();
        let next = line.waiting.pop_front();
        if next.is_none() {
            line.running -= 1;
        }
        next
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = self.line();
        write!(f, "Lanes({} of {} run, {} wait)", line.running, self.most, line.waiting.len())
    }
}

/// Work in line, under way or done.
pub(super) enum Running<T> {
    Told(oneshot::Receiver<io::Result<T>>),
    Done(Ready<io::Result<T>>),
}

impl<T> Future for Running<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        match &mut *self {
            Self::Told(told) => Pin::new(told).poll(context).map(|told| {
                told.unwrap_or_else(|_| Err(io::Error::other("a thread that writes to the disk broke down")))
            }),
            Self::Done(done) => Pin::new(done).poll(context),
        }
    }
}

/// Starts work on a blocking thread of its own at once; the answer is its result.
pub(super) fn hop<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Hop<T> {
    Hop(tokio::task::spawn_blocking(work))
}

/// Work on a blocking thread. When nobody waits for it any more, it still runs to its end, and its result is dropped there.
pub(super) struct Hop<T>(JoinHandle<io::Result<T>>);

impl<T> Future for Hop<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|result| result.unwrap_or_else(|error| Err(io::Error::other(error))))
    }
}

/// Waits for work no longer than [`PATIENCE`]; it may still be done later.
pub(super) async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn all_work_is_done_on_no_more_threads_than_it_may_use() {
        let lanes = Lanes::new(2);
        let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let works: Vec<_> = (0..200)
            .map(|number| {
                let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
                lanes.run(move || {
                    most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    at_once.fetch_sub(1, Ordering::SeqCst);
                    Ok(number)
                })
            })
            .collect();
        for (number, work) in works.into_iter().enumerate() {
            assert_eq!(work.await.unwrap(), number);
        }
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
    }

    #[tokio::test]
    async fn a_panic_ends_one_piece_of_work_and_no_lane() {
        let lanes = Lanes::new(1);
        let broken = lanes.run(|| -> io::Result<()> { panic!("broken on purpose") });
        assert!(broken.await.is_err());
        assert_eq!(lanes.run(|| Ok(7)).await.unwrap(), 7);
    }
}
