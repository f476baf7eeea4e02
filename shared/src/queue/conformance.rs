//! What every queue must keep: each promise in the docs of [`JobQueue`] has its function here, and [`suite`] runs them all.
//!
//! Time is real for a backend with a thread or a process of its own, so the suite's leases and grants are short where it
//! waits for them to lapse, and long elsewhere. A backend that runs on tokio's clock can be tested with the clock paused.

mod bound;
mod claims;
mod credits;
mod leases;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{Claimed, Depth, Error, Grant, Holder, JobQueue, Settings, Ticket};
use crate::model::{Crc64, Digests, Envelope, Job, ObjectPath, Priority, Scope, Seal, Timestamp, UploadId};

/// A lease or grant that lapses while a test waits.
const SHORT: Duration = Duration::from_millis(250);
/// One that does not.
const LONG: Duration = Duration::from_secs(600);
/// The longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Settings under which nothing lapses during a test.
fn lasting(capacity: usize) -> Settings {
    Settings { capacity, lease: LONG, credit_ttl: LONG }
}

/// Runs every promise against a queue of its own, made by `make`.
///
/// # Panics
/// When a promise is broken.
pub async fn suite(make: impl AsyncFn(Settings) -> Arc<dyn JobQueue>) {
    macro_rules! promises {
        ($($file:ident::$promise:ident($settings:expr))+) => { $(
            $file::$promise(&Queue(make($settings).await)).await;
        )+ };
    }
    let short_lease = Settings { lease: SHORT, ..lasting(10) };
    let short_grant = Settings { credit_ttl: SHORT, ..lasting(10) };
    promises! {
        credits::what_is_asked_is_granted_as_far_as_bound_and_share_allow(lasting(10))
        credits::asking_again_for_as_many_takes_nothing_away(lasting(10))
        credits::fewer_or_none_can_be_asked_for(lasting(10))
        credits::a_grant_lapses_unless_it_is_asked_for_again(short_grant)
        credits::holders_share_one_bound(lasting(10))
        credits::a_push_spends_one_credit_of_its_priority(lasting(10))
        credits::a_push_without_a_credit_gets_in_while_there_is_room(lasting(10))
        credits::a_lapsed_credit_is_as_good_as_none(short_grant)
        credits::an_error_spends_no_credit(lasting(10))
        bound::each_priority_may_fill_its_share(lasting(10))
        bound::jobs_count_in_whatever_state(lasting(3))
        bound::a_known_job_changes_nothing_and_spends_the_credit(lasting(10))
        bound::the_bound_is_exact_under_concurrency(lasting(30))
        claims::the_order_is_eight_three_one(lasting(200))
        claims::small_claims_are_as_fair_as_large_ones(lasting(200))
        claims::empty_lines_give_their_turns_away(lasting(50))
        claims::the_oldest_of_a_line_comes_first(lasting(50))
        claims::no_more_than_asked_for_are_taken(lasting(10))
        claims::an_empty_answer_comes_when_the_wait_is_over(lasting(10))
        claims::a_push_wakes_who_waits(lasting(10))
        claims::each_of_many_who_wait_gets_a_job(lasting(20))
        claims::a_delayed_job_wakes_who_waits(lasting(10))
        claims::a_lapsed_lease_wakes_who_waits(short_lease)
        claims::a_lease_that_began_while_one_waits_wakes_it_when_it_lapses(short_lease)
        leases::a_lapsed_lease_is_delivered_again_with_one_more_delivery(short_lease)
        leases::a_heartbeat_keeps_the_lease(Settings { lease: 4 * SHORT, ..lasting(10) })
        leases::late_answers_change_nothing(short_lease)
        leases::an_answer_to_an_earlier_claim_changes_nothing(lasting(10))
        leases::done_jobs_leave_the_queue(lasting(10))
        leases::a_job_put_back_waits_for_its_delay(lasting(10))
        leases::a_job_put_back_stands_at_the_end_of_its_line(lasting(10))
        leases::a_job_given_back_unstarted_has_no_more_tries(lasting(10))
        leases::depth_tells_every_state_and_the_oldest(lasting(20))
        leases::what_is_not_lost_keeps_its_name(lasting(10))
    }
}

/// A queue whose failures end the test.
struct Queue(Arc<dyn JobQueue>);

impl Queue {
    async fn hold(&self, who: u8, want: [usize; 3]) -> [usize; 3] {
        self.grant(who, want).await.held
    }

    async fn grant(&self, who: u8, want: [usize; 3]) -> Grant {
        self.0.hold_credits(&holder(who), want).await.expect("hold credits")
    }

    /// Says whether the job got in.
    async fn push(&self, n: u64, priority: Priority, who: Option<u8>) -> bool {
        let pushed = self.0.push(job(n, priority), who.map(holder).as_ref()).await;
        assert!(matches!(pushed, Ok(()) | Err(Error::Full)), "push: {pushed:?}");
        pushed.is_ok()
    }

    async fn fill(&self, numbers: std::ops::Range<u64>, priority: Priority) {
        for n in numbers {
            assert!(self.push(n, priority, None).await, "job {n} does not get in");
        }
    }

    async fn claim(&self, max: usize, wait: Duration) -> Vec<Claimed> {
        self.0.claim(max, wait).await.expect("claim")
    }

    /// The one job that is there now.
    async fn claim_one(&self) -> Claimed {
        let mut claimed = self.claim(1, Duration::ZERO).await;
        assert_eq!(claimed.len(), 1, "{:?}", self.depth().await);
        claimed.remove(0)
    }

    async fn extend(&self, ticket: Ticket) {
        self.0.extend(&[ticket]).await.expect("extend");
    }

    async fn done(&self, ticket: Ticket) {
        self.0.done(&[ticket]).await.expect("done");
    }

    async fn again(&self, ticket: Ticket, delay: Duration, tried: bool) {
        self.0.again(ticket, delay, tried).await.expect("again");
    }

    async fn depth(&self) -> Depth {
        self.0.depth().await.expect("depth")
    }

    /// Waits until the queue is as `wanted`.
    async fn until(&self, what: &str, wanted: impl Fn(&Depth) -> bool) -> Depth {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let depth = self.depth().await;
            if wanted(&depth) {
                return depth;
            }
            assert!(Instant::now() < deadline, "not {what}: {depth:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The numbers of these jobs.
fn numbers(claimed: &[Claimed]) -> Vec<u64> {
    claimed.iter().map(|one| number(one.job.id)).collect()
}

/// The `n`th job: always the same one.
pub fn job(n: u64, priority: Priority) -> Job {
    let envelope = Envelope {
        scope: Scope::default(),
        path: format!("photos/{n}.jpg").parse::<ObjectPath>().expect("a path"),
        content_type: Some("image/jpeg".to_owned()),
        priority,
        only_if_absent: false,
        marker: None,
        request_id: Some(format!("request-{n}")),
        trace: None,
    };
    let digests = Digests { crc64nvme: Crc64(n), sha256: None };
    let seal = Seal { size: n, digests, sniffed_type: None };
    Job::object_stored(UploadId::new(Timestamp::from_unix_ms(FIRST_MS + n), [7; 10]), envelope, seal, false)
}

/// When the job of number 0 was made.
const FIRST_MS: u64 = 1_700_000_000_000;

fn number(id: UploadId) -> u64 {
    id.time().unix_ms() - FIRST_MS
}

/// The `n`th holder of credits.
pub fn holder(n: u8) -> Holder {
    Holder(format!("node-{n}").into())
}
