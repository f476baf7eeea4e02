//! Group commit: what comes while one group is on its way goes together in the next. Who is alone does not wait, and the more come, or
//! the longer an answer takes, the larger the groups are.
//!
//! Nothing runs by itself: the first of a group leads it, and hands the lead on, answered or dropped in the middle.

use std::{
    collections::VecDeque,
    fmt, iter,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant, time::timeout_at};

/// Items of one kind, in groups of at most `most`, one after the other.
pub(super) struct Groups<T, A> {
    line: Arc<Mutex<Line<T, A>>>,
    most: usize,
}

struct Line<T, A> {
    /// Whether a group is on its way.
    led: bool,
    waiting: VecDeque<Waiting<T, A>>,
}

struct Waiting<T, A> {
    item: Arc<T>,
    turn: oneshot::Sender<Turn<T, A>>,
}

/// What one in line comes to.
enum Turn<T, A> {
    /// It went in somebody else's group.
    Answered(A),
    /// It leads the next.
    Leads(Lead<T, A>),
}

/// The right to send a group; dropped, also unread in a channel, it goes to the next in line.
struct Lead<T, A>(Arc<Mutex<Line<T, A>>>);

impl<T, A: Clone> Groups<T, A> {
    /// None on its way.
    pub(super) fn new(most: usize) -> Self {
        Self { line: Arc::new(Mutex::new(Line { led: false, waiting: VecDeque::new() })), most }
    }

    /// Sends `item` in a group, with its own call of `send` or in somebody else's. `send` gives an answer for each, in order. An item of
    /// a group whose leader went away is sent again. `None` when its turn has not come for `patience`; what it leads then takes as long
    /// as it takes.
    pub(super) async fn send(
        &self,
        item: T,
        patience: Duration,
        send: impl AsyncFnOnce(&[Arc<T>]) -> Vec<A>,
    ) -> Option<A> {
        let (item, until) = (Arc::new(item), Instant::now() + patience);
        let lead = loop {
            let coming = match self.enter(&item) {
                Ok(lead) => break lead,
                Err(coming) => coming,
            };
            match timeout_at(until, coming).await.ok()? {
                Ok(Turn::Answered(answer)) => return Some(answer),
                Ok(Turn::Leads(lead)) => break lead,
                // Whoever led has gone.
                Err(_) => {}
            }
        };
        let others = lead.others(self.most - 1);
        let items: Vec<_> = iter::once(item).chain(others.iter().map(|it| Arc::clone(&it.item))).collect();
        let mut answers = send(&items).await.into_iter();
        let own = answers.next();
        drop(lead);
        for (other, answer) in others.into_iter().zip(answers) {
            // Who has gone is not told.
            drop(other.turn.send(Turn::Answered(answer)));
        }
        own
    }

    /// Gets the lead, or a place in line.
    fn enter(&self, item: &Arc<T>) -> Result<Lead<T, A>, oneshot::Receiver<Turn<T, A>>> {
        let mut line = locked(&self.line);
        if !line.led {
            line.led = true;
            return Ok(Lead(Arc::clone(&self.line)));
        }
        let (turn, coming) = oneshot::channel();
        line.waiting.push_back(Waiting { item: Arc::clone(item), turn });
        Err(coming)
    }
}

impl<T, A> Lead<T, A> {
    /// Those that have waited longest.
    fn others(&self, most: usize) -> Vec<Waiting<T, A>> {
        let mut line = locked(&self.0);
        let line = iter::from_fn(|| line.waiting.pop_front());
        line.filter(|waiting| !waiting.turn.is_closed()).take(most).collect()
    }
}

impl<T, A> Drop for Lead<T, A> {
    fn drop(&mut self) {
        let next = {
            let mut line = locked(&self.0);
            let next = iter::from_fn(|| line.waiting.pop_front()).find(|waiting| !waiting.turn.is_closed());
            line.led = next.is_some();
            next
        };
        if let Some(Waiting { turn, .. }) = next {
            // Who has gone just now hands it on in its turn.
            drop(turn.send(Turn::Leads(Self(Arc::clone(&self.0)))));
        }
    }
}

impl<T, A> fmt::Debug for Groups<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("most", &self.most).finish_non_exhaustive()
    }
}

fn locked<T, A>(line: &Mutex<Line<T, A>>) -> MutexGuard<'_, Line<T, A>> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use futures_util::{FutureExt as _, future::join_all};
    use tokio::time::sleep;

    use super::*;

    const CALL: Duration = Duration::from_millis(10);
    const PATIENCE: Duration = Duration::from_secs(2);

    type Sent = Rc<RefCell<Vec<Vec<u32>>>>;

    /// A server that takes a while, and answers each item with itself.
    async fn send(groups: &Groups<u32, u32>, sent: &Sent, item: u32) -> Option<u32> {
        let call = async |items: &[Arc<u32>]| {
            let items: Vec<u32> = items.iter().map(|item| **item).collect();
            sent.borrow_mut().push(items.clone());
            sleep(CALL).await;
            items
        };
        groups.send(item, PATIENCE, call).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_meanwhile_goes_together_and_no_more_of_it_than_fits() {
        let (groups, sent) = (Groups::new(4), Sent::default());
        let answers = join_all((0..7).map(|item| send(&groups, &sent, item))).await;
        assert_eq!(answers, (0..7).map(Some).collect::<Vec<_>>());
        assert_eq!(*sent.borrow(), [vec![0], vec![1, 2, 3, 4], vec![5, 6]]);
        assert_eq!(send(&groups, &sent, 7).await, Some(7));
        assert_eq!(sent.borrow().last(), Some(&vec![7]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_goes_away_is_followed_and_its_group_sent_again() {
        let (groups, sent) = (Groups::new(3), Sent::default());
        let mut first = Box::pin(send(&groups, &sent, 0));
        assert!(first.as_mut().now_or_never().is_none());
        let mut others: Vec<_> = (1..6).map(|item| Box::pin(send(&groups, &sent, item))).collect();
        assert!(others.iter_mut().all(|it| it.as_mut().now_or_never().is_none()));
        drop(first);
        // The next has the lead, and goes before it has read so.
        drop(others.remove(0));
        // This one has read it, and goes in the middle of its call: two others were in its group.
        assert!(others[0].as_mut().now_or_never().is_none());
        drop(others.remove(0));
        assert_eq!(join_all(others).await, [Some(3), Some(4), Some(5)]);
        assert_eq!(*sent.borrow(), [vec![0], vec![2, 3, 4], vec![5, 3, 4]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_does_not_come_is_told_in_time() {
        let (groups, sent) = (Groups::new(3), Sent::default());
        let mut stuck = Box::pin(groups.send(0, PATIENCE, async |_: &[Arc<u32>]| {
            sleep(10 * PATIENCE).await;
            vec![0]
        }));
        assert!(stuck.as_mut().now_or_never().is_none());
        let asked = Instant::now();
        assert_eq!(send(&groups, &sent, 1).await, None);
        assert_eq!(asked.elapsed(), PATIENCE);
        // What nobody waits for any more is not sent.
        assert_eq!(stuck.await, Some(0));
        assert_eq!(send(&groups, &sent, 2).await, Some(2));
        assert_eq!(*sent.borrow(), [vec![2]]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_goes_away_whenever_all_others_are_answered() {
        for seed in 0..300 {
            let (groups, sent, mut random) =
                (Groups::new(5), Sent::default(), fastrand::Rng::with_seed(seed));
            let all = (0..40).map(|item| {
                let (comes, stays) = (CALL.mul_f64(random.f64() * 8.0), CALL.mul_f64(random.f64() * 3.0));
                let (groups, sent, leaves) = (&groups, &sent, random.bool());
                async move {
                    sleep(comes).await;
                    let sending = send(groups, sent, item);
                    if leaves {
                        tokio::time::timeout(stays, sending).await.unwrap_or(Some(item))
                    } else {
                        sending.await
                    }
                }
            });
            let answers = join_all(all).await;
            assert_eq!(answers, (0..40).map(Some).collect::<Vec<_>>(), "seed {seed}");
            assert!(!locked(&groups.line).led, "seed {seed}");
        }
    }
}
