//! How the kernel shares the cores among a process's threads.

use rustix::process::nice;
use thread_priority::{
    Error, NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
};

/// The niceness that every process has by itself, as that library counts: from 0, the nicest, to 99.
const AVERAGE: u8 = 47;

/// Who goes first where there is work for more threads than there are cores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheduling {
    /// Who is woken interrupts who is at work: right for one that waits for others most of the time.
    Usual,
    /// Who is woken waits until who is at work has had its slice of time (`SCHED_BATCH` in sched(7)): right for one that copies bodies,
    /// because the thread that is told of every piece that came would interrupt those that are at the pieces before.
    InTurn,
}

/// Asks the kernel for it, for this thread and all that it starts; not where whoever started the process chose something else.
///
/// # Errors
/// When the kernel does not allow it.
pub(super) fn schedule(scheduling: Scheduling) -> Result<(), Error> {
    const USUAL: ThreadSchedulePolicy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
    const IN_TURN: ThreadSchedulePolicy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    if scheduling == Scheduling::Usual || thread_schedule_policy()? != USUAL || nice(0).ok() != Some(0) {
        return Ok(());
    }
    let average = ThreadPriorityValue::try_from(AVERAGE).map_err(|_| Error::Priority("out of range"))?;
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(average), IN_TURN)
}
