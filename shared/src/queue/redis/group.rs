//! Group commit: what comes while one group is on its way goes together in the next. Who is alone does not wait, and the more come, or
//! the longer an answer takes, the larger the groups are.
//!
//! Nothing runs by itself. The first of a group makes its call, which belongs to all of the group: whoever is left goes on with it, and
//! when it ends, or nobody is left, the next in line makes the next.

use std::{
    collections::VecDeque,
    fmt, iter,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tokio::sync::oneshot;

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
    item: T,
    turn: oneshot::Sender<Turn<T, A>>,
}

/// A group's call, and in the end an answer for each.
type Call<A> = Shared<BoxFuture<'static, Arc<Vec<A>>>>;

/// What one in line comes to.
enum Turn<T, A> {
    /// It goes in somebody's group, at this place.
    Joins(Call<A>, usize),
    /// It leads the next.
    Leads(Lead<T, A>, T),
}

type Coming<T, A> = oneshot::Receiver<Turn<T, A>>;

/// The right to make a group's call; dropped, also unread in a channel, it goes to the next in line.
struct Lead<T, A>(Arc<Mutex<Line<T, A>>>);

impl<T, A> Groups<T, A>
where
    T: Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    /// None on its way.
    pub(super) fn new(most: usize) -> Self {
        Self { line: Arc::new(Mutex::new(Line { led: false, waiting: VecDeque::new() })), most }
    }

    /// Sends `item` in a group, with `call` or with somebody else's, which gives an answer for each, in order. `None` only when it
    /// gives too few.
    pub(super) async fn send<F>(&self, item: T, call: impl FnOnce(Vec<T>) -> F) -> Option<A>
    where
        F: Future<Output = Vec<A>> + Send + 'static,
    {
        let (lead, item) = match self.enter(item) {
            Ok(first) => first,
            Err(coming) => match coming.await.ok()? {
                Turn::Leads(lead, item) => (lead, item),
                Turn::Joins(call, at) => return call.await.get(at).cloned(),
            },
        };
        let (turns, others): (Vec<_>, Vec<_>) =
            lead.others(self.most - 1).into_iter().map(|it| (it.turn, it.item)).unzip();
        let answers = call(iter::once(item).chain(others).collect());
        let call = async move {
            let answers = answers.await;
            drop(lead);
            Arc::new(answers)
        };
        let call = call.boxed().shared();
        for (turn, at) in turns.into_iter().zip(1..) {
            // Who has gone is not told.
            drop(turn.send(Turn::Joins(call.clone(), at)));
        }
        call.await.first().cloned()
    }

    /// Gets the lead, or a place in line.
    fn enter(&self, item: T) -> Result<(Lead<T, A>, T), Coming<T, A>> {
        let mut line = locked(&self.line);
        if !line.led {
            line.led = true;
            return Ok((Lead(Arc::clone(&self.line)), item));
        }
        let (turn, coming) = oneshot::channel();
        line.waiting.push_back(Waiting { item, turn });
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
        if let Some(Waiting { item, turn }) = next {
            // Who has gone just now hands it on in its turn.
            drop(turn.send(Turn::Leads(Self(Arc::clone(&self.0)), item)));
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
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::time::{sleep, timeout};

    use super::*;

    const CALL: Duration = Duration::from_millis(10);

    type Sent = Arc<Mutex<Vec<Vec<u32>>>>;

    /// A server that takes a while, and answers each item with itself.
    async fn send(groups: &Groups<u32, u32>, sent: &Sent, item: u32) -> Option<u32> {
        let sent = Arc::clone(sent);
        let call = |items: Vec<u32>| async move {
            sent.lock().unwrap().push(items.clone());
            sleep(CALL).await;
            items
        };
        groups.send(item, call).await
    }

    fn all(sent: &Sent) -> Vec<Vec<u32>> {
        sent.lock().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_meanwhile_goes_together_and_no_more_of_it_than_fits() {
        let (groups, sent) = (Groups::new(4), Sent::default());
        let answers = join_all((0..7).map(|item| send(&groups, &sent, item))).await;
        assert_eq!(answers, (0..7).map(Some).collect::<Vec<_>>());
        assert_eq!(all(&sent), [vec![0], vec![1, 2, 3, 4], vec![5, 6]]);
        assert_eq!(send(&groups, &sent, 7).await, Some(7));
        assert_eq!(all(&sent).last(), Some(&vec![7]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_its_groups_whoever_goes_away() {
        let (groups, sent) = (Groups::new(4), Sent::default());
        let mut first = Box::pin(send(&groups, &sent, 0));
        assert!(first.as_mut().now_or_never().is_none());
        let mut others: Vec<_> = (1..7).map(|item| Box::pin(send(&groups, &sent, item))).collect();
        assert!(others.iter_mut().all(|it| it.as_mut().now_or_never().is_none()));
        // Nobody else is in its group, so that its call ends here.
        drop(first);
        // The next has the lead, and goes before it has read so.
        drop(others.remove(0));
        // This one has made the call, and goes; one of the others goes before it knows that it is in it.
        assert!(others[0].as_mut().now_or_never().is_none());
        drop(others.remove(0));
        drop(others.remove(0));
        assert_eq!(join_all(others).await, [Some(4), Some(5), Some(6)]);
        assert_eq!(all(&sent), [vec![0], vec![2, 3, 4, 5], vec![6]]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waits_for_any_more_is_not_sent() {
        let (groups, sent) = (Groups::new(4), Sent::default());
        let late = async {
            assert_eq!(timeout(CALL / 2, send(&groups, &sent, 1)).await, Err(elapsed().await));
        };
        tokio::join!(send(&groups, &sent, 0), late);
        assert_eq!(send(&groups, &sent, 2).await, Some(2));
        assert_eq!(all(&sent), [vec![0], vec![2]]);
    }

    async fn elapsed() -> tokio::time::error::Elapsed {
        timeout(Duration::ZERO, std::future::pending::<()>()).await.unwrap_err()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_goes_away_whenever_all_others_are_answered_and_nothing_is_sent_twice() {
        let (groups, sent) = (Arc::new(Groups::new(5)), Sent::default());
        let comes = |item: u32| {
            let (groups, sent) = (Arc::clone(&groups), Arc::clone(&sent));
            tokio::time::timeout(Duration::from_secs(20), async move {
                sleep(CALL.mul_f64(fastrand::f64() * 50.0)).await;
                let sending = send(&groups, &sent, item);
                if item.is_multiple_of(2) {
                    return timeout(CALL.mul_f64(fastrand::f64() * 3.0), sending).await.unwrap_or(Some(item));
                }
                sending.await
            })
        };
        let mut tasks = tokio::task::JoinSet::new();
        (0..2000).for_each(|item| drop(tasks.spawn(comes(item).map(move |answer| (item, answer)))));
        while let Some(answered) = tasks.join_next().await {
            let (item, answer) = answered.unwrap();
            assert_eq!(answer.expect("an answer in time"), Some(item));
        }
        let mut sent: Vec<u32> = all(&sent).concat();
        sent.sort_unstable();
        let many = sent.len();
        sent.dedup();
        assert_eq!(sent.len(), many, "sent twice");
        assert!(!locked(&groups.line).led);
    }
}
