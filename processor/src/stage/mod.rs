//! The stages of a group of jobs: each job ends as a record for the batch, or is put back.
//!
//! There is one stage so far. What an object looks like was seen while its bytes passed (`Seal::sniffed_type`), so no stage reads an
//! object again, but for those that the sweep adopted.

mod verify;

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use headworks_shared::{
    meta::Record,
    model::{Job, JobPayload, Seal},
    report::Report,
    shutdown::Stop,
    storage::{Key, digest},
};
use tokio::{sync::mpsc, time::timeout};
use tracing::{debug, error, warn};

use verify::Finding;

use crate::{Processor, answer::MISSING, lease::Lease};

/// How many adopted objects of a group are read at once.
const READS: usize = 4;

/// How often an object must not have been there until it is missing: one broken node of a store may deny what the others have.
const LOOKS: u32 = 3;

/// A job that went through all stages: what to write, and whom to answer.
#[derive(Debug)]
pub(crate) struct Checked {
    /// What is to be written.
    pub(crate) record: Record,
    /// What is to be answered after it.
    pub(crate) lease: Lease,
}

/// Sees a group through; what is to be written goes to `checked`.
pub(crate) async fn run(
    processor: &Processor,
    leases: Vec<Lease>,
    checked: &mpsc::Sender<Vec<Checked>>,
    stop: &Stop,
) {
    if leases.is_empty() {
        return;
    }
    let mut ready = Vec::with_capacity(leases.len());
    let (mut unread, mut unclear, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for (finding, lease) in verify(processor, &leases).await.into_iter().zip(leases) {
        match finding {
            Finding::Sound if is_adopted(lease.job()) => unread.push(lease),
            Finding::Sound => ready.push(Checked::new(lease, None)),
            Finding::Failed(MISSING) if lease.job().tries + 1 < LOOKS.min(processor.settings.max_tries) => {
                missing.push(lease);
            }
            Finding::Failed(reason) => ready.push(Checked::new(lease, Some(reason))),
            Finding::Unclear(error) => unclear.push((lease, error)),
        }
    }
    for (ended, lease) in known(processor, &missing).await.into_iter().zip(missing) {
        if ended {
            ready.push(Checked::new(lease, Some(MISSING)));
        } else {
            unclear.push((lease, "object is not there".to_owned()));
        }
    }
    pass_on(checked, ready).await;
    put_back(processor, unclear).await;
    read_again(processor, unread, checked, stop).await;
}

/// Compares all objects of a group with their jobs, in one call to the store.
async fn verify(processor: &Processor, leases: &[Lease]) -> Vec<Finding> {
    let keys: Vec<Key> = leases.iter().map(|lease| key(lease.job())).collect();
    let Ok(heads) = timeout(processor.settings.job_timeout.0, processor.stack.blobs.stat(&keys)).await else {
        return leases
            .iter()
            .map(|_| Finding::Unclear("object store did not answer in time".into()))
            .collect();
    };
    heads.into_iter().zip(leases).map(|(head, lease)| verify::compare(head, seal(lease.job()))).collect()
}

/// Which of them the ledger knows: an object that was deleted is rightly gone, and its job changes nothing.
async fn known(processor: &Processor, missing: &[Lease]) -> Vec<bool> {
    if missing.is_empty() {
        return Vec::new();
    }
    let ids: Vec<_> = missing.iter().map(|lease| lease.job().id).collect();
    match processor.stack.meta.states(&ids).await {
        Ok(states) => states.iter().map(Option::is_some).collect(),
        // They are looked for again anyway.
        Err(error) => {
            debug!(error = %Report(&error), "ledger not asked for missing objects");
            vec![false; missing.len()]
        }
    }
}

/// Reads the objects that the sweep adopted: nobody who still lives has seen their bytes.
async fn read_again(
    processor: &Processor,
    leases: Vec<Lease>,
    checked: &mpsc::Sender<Vec<Checked>>,
    stop: &Stop,
) {
    let mut findings = stream::iter(leases)
        .map(async |lease| (stop.run_until_cancelled(read_one(processor, lease.job())).await, lease))
        .buffer_unordered(READS);
    while let Some((finding, lease)) = findings.next().await {
        match finding {
            Some(Finding::Sound) => pass_on(checked, vec![Checked::new(lease, None)]).await,
            Some(Finding::Failed(reason)) => pass_on(checked, vec![Checked::new(lease, Some(reason))]).await,
            Some(Finding::Unclear(error)) => put_back(processor, vec![(lease, error)]).await,
            None => processor.give_back(vec![lease], Duration::ZERO).await,
        }
    }
}

async fn read_one(processor: &Processor, job: &Job) -> Finding {
    let (key, seal) = (key(job), seal(job));
    let read = digest(&*processor.stack.blobs, &key, seal.digests.sha256.is_some());
    match timeout(processor.settings.job_timeout.0, read).await {
        Ok(Ok(found)) => verify::compare_bytes(found, seal),
        Ok(Err(error)) => verify::unread(&error),
        Err(_) => Finding::Unclear("object was not read in time".into()),
    }
}

/// Tells it once for all: a store that is down fails whole groups.
async fn put_back(processor: &Processor, unclear: Vec<(Lease, String)>) {
    if let Some((lease, error)) = unclear.first() {
        warn!(jobs = unclear.len(), upload.id = %lease.job().id, error, "objects not checked, their jobs are tried again");
    }
    for (lease, error) in unclear {
        processor.put_back(lease, error).await;
    }
}

/// Waits for room among the checked. It fails only when the batches are gone: then the leases lapse, and the jobs come again.
async fn pass_on(checked: &mpsc::Sender<Vec<Checked>>, group: Vec<Checked>) {
    if !group.is_empty()
        && let Err(error) = checked.send(group).await
    {
        error!(error = %Report(&error), "no batch takes the checked jobs");
    }
}

impl Checked {
    fn new(lease: Lease, failure: Option<&'static str>) -> Self {
        let JobPayload::ObjectStoredV1 { envelope, seal, .. } = &lease.job().payload;
        let record = Record { id: lease.job().id, envelope: envelope.clone(), seal: seal.clone(), failure };
        Self { record, lease }
    }
}

fn key(job: &Job) -> Key {
    let JobPayload::ObjectStoredV1 { envelope, .. } = &job.payload;
    Key::object(&envelope.scope, job.id)
}

fn seal(job: &Job) -> &Seal {
    let JobPayload::ObjectStoredV1 { seal, .. } = &job.payload;
    seal
}

fn is_adopted(job: &Job) -> bool {
    let JobPayload::ObjectStoredV1 { adopted, .. } = &job.payload;
    *adopted
}
