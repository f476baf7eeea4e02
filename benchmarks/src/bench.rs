//! The benchmarks of a fleet, as they are asked for on the command line, and the pages that they write.

use std::path::PathBuf;

use clap::Args;

use crate::{
    burst::{self, Manners},
    fleet::{Programs, drain, journey, scale},
    memory::{self, Way, stall},
    page::Page,
    subjects::Paths,
    turns,
    warm::WARMED,
};

/// What all of them are told.
#[derive(Args)]
struct Common {
    /// How often each contender runs; an odd number has a middle.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=99))]
    repetitions: u16,
    /// Where the programs are.
    #[arg(long, value_name = "DIR", default_value = "target/release")]
    programs: PathBuf,
    /// Write the page to benchmarks/results as well.
    #[arg(long)]
    write: bool,
}

impl Common {
    fn programs(&self) -> Programs {
        Programs { folder: self.programs.clone() }
    }
}

/// How fast jobs that wait become rows.
#[derive(Args)]
pub(crate) struct Drain {
    /// Only this worker (repeatable).
    #[arg(long, value_name = "WORKER")]
    worker: Vec<drain::Worker>,
    #[command(flatten)]
    common: Common,
}

impl Drain {
    const PAGE: Page = Page {
        name: "drain",
        title: "Drain rate: 50,000 waiting jobs become rows",
        notes: &[
            "Redis syncs its file once a second, PostgreSQL each commit. Each job becomes a row in the ledger, an object with its version, \
             a change of its project's usage (50 projects) and an event in the outbox: the same tables and rows for all, but for the ceiling.",
            "Headworks also looks at each object in the store (files in memory) and compares it with its job. The peers check nothing.",
            "The time is from the worker's start until the last row is there; CPU is what worker, Redis and PostgreSQL used meanwhile.",
        ],
    };

    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let (workers, skipped) = able(super::wanted(&self.worker), drain::missing);
        let programs = self.common.programs();
        let all = turns::take(&workers, self.common.repetitions, async |worker| {
            drain::once(worker, &programs).await
        });
        let all = all.await?;
        Self::PAGE.tell(
            &drain::table(&all),
            &[drain::plot(&all)],
            self.common.repetitions,
            &skipped,
            self.common.write,
        )
    }
}

/// How fast, with one processor and with more.
#[derive(Args)]
pub(crate) struct Scale {
    #[command(flatten)]
    common: Common,
}

impl Scale {
    const PAGE: Page = Page {
        name: "scale",
        title: "Scale: 50,000 waiting jobs become rows, by 1, 2 and 4 processors",
        notes: &[
            "As in [drain](drain.md), with so many headworks-processors started at once. The time is from their start until the last row is there.",
            "*Cores busy* is all CPU time (processors, Redis, PostgreSQL) by the time that it took. Where it comes near the machine's cores, more \
             processors have nothing to run on: then they cost more CPU for each job, and bring nothing. *Evenness* is 1 when each processor \
             used as much CPU as any other, and 0 when one used none.",
        ],
    };

    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let programs = self.common.programs();
        let all = turns::take(&scale::Processors::ALL, self.common.repetitions, async |processors| {
            scale::once(processors, &programs).await
        });
        Self::PAGE.tell(&scale::table(&all.await?), &[], self.common.repetitions, &[], self.common.write)
    }
}

/// An upload's whole way.
#[derive(Args)]
pub(crate) struct Journey {
    /// Only this line of processes (repeatable).
    #[arg(long, value_name = "WHO")]
    who: Vec<journey::Who>,
    #[command(flatten)]
    common: Common,
}

impl Journey {
    const PAGE: Page = Page {
        name: "journey",
        title: "W5, the whole way: 10 KiB uploads until their rows are there",
        notes: &[
            "One headworks-ingest and one headworks-processor, Redis (synced once a second), PostgreSQL (synced), and an S3 server or files in memory. \
             64 clients for 20 s, each with one upload after the other; the rate is counted until the last row is there. *At once* (W7): so many clients \
             of one project with one upload each, to an idle fleet.",
            "The pipelines in Node (fastify, BullMQ, pg) and Python (uvicorn, Starlette, arq, asyncpg) have servers of the same kind, a process for each \
             core that takes uploads, and one worker; they write the same rows. They make no checksum, look at no object again, and do not bound their \
             queue: what they take in faster than they work it off waits there, which is their lag.",
            "*201 to row* is from the moment the client has its answer to the row's commit, as PostgreSQL notes it. CPU: *own* is of the processes that take \
             uploads and of the worker, *servers* are Redis, PostgreSQL and S3.",
            WARMED,
        ],
    };

    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let who = super::wanted(&self.who);
        let ways: Vec<_> = journey::Way::ALL.into_iter().filter(|way| who.contains(&way.who)).collect();
        let (ways, skipped) = able(&ways, journey::Way::missing);
        let programs = self.common.programs();
        let all =
            turns::take(&ways, self.common.repetitions, async |way| journey::once(way, &programs).await);
        let all = all.await?;
        Self::PAGE.tell(
            &journey::table(&all),
            &[journey::plot(&all)],
            self.common.repetitions,
            &skipped,
            self.common.write,
        )
    }
}

/// Ten times as many clients as Headworks is made for.
#[derive(Args)]
pub(crate) struct Burst {
    /// Only clients with these manners (repeatable).
    #[arg(long, value_name = "MANNERS")]
    manners: Vec<Manners>,
    #[command(flatten)]
    common: Common,
}

impl Burst {
    const PAGE: Page = Page {
        name: "burst",
        title: "W6, a burst: 5,000 clients come to a Headworks that is made for 500",
        notes: &[
            "`headworks serve`, files in memory, `durability = \"none\"`, `streams = 500`, `queue.capacity = 1250` (about as \
             many for each stream as by default), `hold = \"0s\"`: who is one too many is refused at once. Bodies have 64 KiB.",
            "Each of the two loads has a fresh Headworks. *Unburdened*: 500 clients for 10 s, each with one upload after the other, beside 100 small uploads a second. *Burst*: 5,000 clients, \
             whose connections are open beforehand and who come within half a second; then each has one upload after the other for 10 s, beside the same \
             small uploads. Who is refused comes back when the answer says, over a new connection. Rates count acknowledged uploads until the last answer.",
            "A refusal's latency is from the moment that the generator gives a request to its connection to the moment that it has read the answer; \
             most of it is the wait for five thousand others in the generator, which has one thread and shares two cores with Headworks. *Beside it* are \
             the refusals of the small uploads, which have a thread of their own, from the moment that each was due: what one more client gets. \
             *Neither* is all that is not a 2xx nor a 503 with `Retry-After`, of both, in all loads of all runs.",
            "*Normal again* is from the moment that no client begins anything more until these small uploads are all taken within 20 ms (or twice their p99 \
             before the burst); the longest of all runs. RSS is looked at every 50 ms.",
            WARMED,
        ],
    };

    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let headworks = self.common.programs().find("headworks")?;
        let paths = Paths { headworks, target: PathBuf::from("target") };
        let manners = super::wanted(&self.manners);
        let all =
            turns::take(manners, self.common.repetitions, async |manners| burst::once(manners, &paths).await);
        let all = all.await?;
        Self::PAGE.tell(
            &burst::table(&all),
            &[burst::plot(&all)],
            self.common.repetitions,
            &[],
            self.common.write,
        )
    }
}

/// What a stream costs in memory.
#[derive(Args)]
pub(crate) struct Memory {
    /// Only this way (repeatable).
    #[arg(long, value_name = "WAY")]
    way: Vec<Way>,
    /// A folder on the disk for the files.
    #[arg(long, value_name = "DIR", default_value = "target")]
    disk: PathBuf,
    #[command(flatten)]
    common: Common,
}

impl Memory {
    const PAGE: Page = Page {
        name: "memory",
        title: "Memory: 1,000 streams of 16 MiB at once",
        notes: &[
            "Growth of the resident set from before the load to its peak, looked at every 50 ms, for each stream. All streams begin at once.",
            "S3 is a server that throws the bytes away, so that the way to it is what is measured. Files are written to disk and not synced.",
            "The peer's server holds one part of 5 MiB for each stream, and gathers no next one while that is on its way. It makes no checksum and queues no job.",
        ],
    };

    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let (ways, skipped) = able(super::wanted(&self.way), |way| memory::missing(way, &self.disk));
        let programs = self.common.programs();
        let all = turns::take(&ways, self.common.repetitions, async |way| {
            memory::once(way, &programs, &self.disk).await
        });
        let all = all.await?;
        Self::PAGE.tell(
            &memory::table(&all),
            &[memory::plot(&all)],
            self.common.repetitions,
            &skipped,
            self.common.write,
        )
    }
}

/// What a store costs that stalls.
#[derive(Args)]
pub(crate) struct Stall {
    /// Only this way (repeatable).
    #[arg(long, value_name = "WAY")]
    way: Vec<Way>,
    #[command(flatten)]
    common: Common,
}

impl Stall {
    const PAGE: Page = Page {
        name: "stall",
        title: "A store that stalls under 1,000 streams",
        notes: &[
            "A thousand clients send 16 MiB each, as fast as they can, to a server that hands them on to S3. After three seconds the S3 server stands \
             still for six (SIGSTOP); then it goes on, and all uploads must be taken.",
            "RSS is the server's own, the most of these six seconds. *In sockets* is what the kernel keeps for its connections, to the clients and to the \
             store, as `ss -m` tells it at their end.",
            "Bodies whose length is told come evenly. Of the others those come first whose parts have room in the budget, so some two hundred have ended when \
             the store stalls (by their rate in `memory`), and their sockets keep nothing.",
            "The peer holds one part of 5 MiB for each stream, and gathers no next one while that is on its way.",
        ],
    };

    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let (ways, skipped) = able(super::wanted(&self.way), stall::missing);
        let (programs, disk) = (self.common.programs(), PathBuf::from("target"));
        let all =
            turns::take(&ways, self.common.repetitions, async |way| stall::once(way, &programs, &disk).await);
        let all = all.await?;
        Self::PAGE.tell(
            &stall::table(&all),
            &[stall::plot(&all)],
            self.common.repetitions,
            &skipped,
            self.common.write,
        )
    }
}

/// Those of the chosen that can run, and why others cannot.
fn able<C: Copy + std::fmt::Display>(
    chosen: &[C],
    missing: impl Fn(C) -> Option<String>,
) -> (Vec<C>, Vec<String>) {
    let mut skipped = Vec::new();
    let mut able = chosen.to_vec();
    able.retain(|&contender| match missing(contender) {
        Some(reason) => {
            skipped.push(format!("{contender}: {reason}"));
            false
        }
        None => true,
    });
    (able, skipped)
}
