//! Pushes, those that come together in one call.

use std::sync::Arc;

use deadpool_redis::redis::Script;

use super::{
    super::Holder,
    answer::line,
    connections::{Connections, NoAnswer},
    group::Groups,
    keys::Keys,
    scripts,
};
use crate::model::{Priority, UploadId};

/// The most jobs in one call: Redis does nothing else meanwhile, for about a millisecond.
const MOST: usize = 64;

/// A job as it is pushed.
pub(super) struct Pushed {
    pub(super) id: UploadId,
    pub(super) tries: u32,
    pub(super) payload: Vec<u8>,
    pub(super) holder: Option<Holder>,
}

/// What came of one: whether it was taken.
type Taken = Result<bool, Arc<NoAnswer>>;

/// The pushes of this process.
pub(super) struct Pushes {
    /// Of each priority those with a credit, and those without: a process has one holder, so that a group is one call.
    groups: [[Groups<Arc<Pushed>, Taken>; 2]; 3],
    make: Arc<Make>,
}

/// What a call is made of.
struct Make {
    script: Script,
    keys: Arc<Keys>,
    capacity: usize,
}

impl Pushes {
    pub(super) fn new(keys: &Arc<Keys>, capacity: usize) -> Self {
        let make = Make { script: scripts::push(), keys: Arc::clone(keys), capacity };
        let groups = std::array::from_fn(|_| std::array::from_fn(|_| Groups::new(MOST)));
        Self { groups, make: Arc::new(make) }
    }

    /// Whether the queue takes the job.
    pub(super) async fn push(
        &self,
        connections: &Arc<Connections>,
        (priority, job): (Priority, Arc<Pushed>),
    ) -> Result<bool, NoAnswer> {
        let group = &self.groups[priority.index()][usize::from(job.holder.is_some())];
        let (make, to) = (Arc::clone(&self.make), Arc::clone(connections));
        let call = |jobs| async move { make.push_all(&to, priority, jobs).await };
        let taken = async {
            let none = || Err(Arc::new(NoAnswer::Miscounted { answers: 0, jobs: 1 }));
            group.send(job, call).await.unwrap_or_else(none).map_err(NoAnswer::OfAll)
        };
        connections.in_time(taken).await
    }
}

impl Make {
    /// Pushes jobs of one priority, and tells of each what came of it.
    async fn push_all(&self, to: &Connections, priority: Priority, jobs: Vec<Arc<Pushed>>) -> Vec<Taken> {
        let mut all: Vec<Taken> = Vec::with_capacity(jobs.len());
        for some in jobs.chunk_by(|one, next| one.holder == next.holder) {
            match self.push_some(to, priority, some).await {
                Ok(taken) => all.extend(taken.into_iter().map(Ok)),
                Err(error) => {
                    // Who would be next is not asked either.
                    all.resize(jobs.len(), Err(Arc::new(error)));
                    break;
                }
            }
        }
        all
    }

    /// Pushes jobs of one holder.
    async fn push_some(
        &self,
        to: &Connections,
        priority: Priority,
        jobs: &[Arc<Pushed>],
    ) -> Result<Vec<bool>, NoAnswer> {
        let holder = jobs.first().and_then(|job| job.holder.as_ref());
        let mut call = self.script.key(&self.keys.of_push(priority));
        call.arg(line(priority)).arg(holder.map_or("", |holder| &holder.0));
        call.arg(priority.share_of(self.capacity));
        for job in jobs {
            call.arg(job.id.to_string()).arg(job.tries).arg(&job.payload);
        }
        let taken: Vec<bool> = to.send(&call).await?;
        if taken.len() == jobs.len() {
            Ok(taken)
        } else {
            Err(NoAnswer::Miscounted { answers: taken.len(), jobs: jobs.len() })
        }
    }
}
