//! Clients of a fleet: each sends its uploads, again and again until they are acknowledged, and remembers what it was told.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::{Answer, Client, digest::content};

/// How often an upload is looked for at once.
const AT_ONCE: usize = 200;

/// What was acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub path: String,
    /// 201, or 202 when it was deferred.
    pub status: u16,
    content: Bytes,
}

/// All that was acknowledged, and all that was answered otherwise.
#[derive(Clone, Debug, Default)]
pub struct Uploads(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    acknowledged: Vec<Acknowledged>,
    others: HashMap<u16, usize>,
    broken: usize,
    /// How many were begun.
    begun: usize,
}

impl Uploads {
    /// Sends an upload with an `Idempotency-Key` to one of `addresses` after the other until it is acknowledged, or `until` has come;
    /// says whether it was. Every third one goes in chunks, so that nobody knows how long it is.
    pub async fn send(&self, addresses: &[SocketAddr], path: &str, size: usize, until: Instant) -> bool {
        let content = content(path.len() as u64 ^ fastrand::u64(..), size);
        let in_chunks = self.begin().is_multiple_of(3);
        let mut turn = 0;
        while Instant::now() < until {
            let Some(address) = addresses.get(turn % addresses.len().max(1)) else { return false };
            turn += 1;
            let call = Client::new(*address).put(path, content.clone()).header("idempotency-key", path);
            let call = if in_chunks { call.chunks(pieces(&content)) } else { call };
            match call.send().await {
                Ok(answer) if matches!(answer.status, 201 | 202) => {
                    return self.acknowledged(&answer, path, content).is_ok();
                }
                Ok(answer) => self.other(answer.status),
                Err(_) => self.lock().broken += 1,
            }
            sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// The number of the upload that begins now.
    fn begin(&self) -> usize {
        let mut told = self.lock();
        told.begun += 1;
        told.begun
    }

    /// Sends an upload once, without a key.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send_once(&self, client: &Client, path: &str, size: usize) -> Result<Answer> {
        let content = content(fastrand::u64(..), size);
        let answer = client.put(path, content.clone()).send().await?;
        if matches!(answer.status, 201 | 202) {
            self.acknowledged(&answer, path, content)?;
        } else {
            self.other(answer.status);
        }
        Ok(answer)
    }

    fn acknowledged(&self, answer: &Answer, path: &str, content: Bytes) -> Result<()> {
        let (id, status) = (answer.text("id")?, answer.status);
        self.lock().acknowledged.push(Acknowledged { id, path: path.to_owned(), status, content });
        Ok(())
    }

    fn other(&self, status: u16) {
        *self.lock().others.entry(status).or_default() += 1;
    }

    /// How many were acknowledged.
    pub fn count(&self) -> usize {
        self.lock().acknowledged.len()
    }

    /// How many were acknowledged as deferred.
    pub fn deferred(&self) -> usize {
        self.lock().acknowledged.iter().filter(|one| one.status == 202).count()
    }

    /// Which other answers there were, and how many of each.
    pub fn others(&self) -> HashMap<u16, usize> {
        self.lock().others.clone()
    }

    /// Those that are not stored, as the catalog tells.
    ///
    /// # Errors
    /// None: a catalog that does not answer knows of none.
    pub async fn missing(&self, catalog: &Client) -> Result<Vec<String>> {
        let all: Vec<_> = self.lock().acknowledged.iter().map(|one| one.id.clone()).collect();
        let mut missing = Vec::new();
        for ids in all.chunks(AT_ONCE) {
            let looks = ids.iter().map(|id| async move {
                let answer = catalog.get(&format!("/v1/objects/{id}")).send().await;
                let stored = answer.is_ok_and(|answer| answer.text("status").is_ok_and(|it| it == "stored"));
                (!stored).then(|| id.clone())
            });
            missing.extend(futures_util::future::join_all(looks).await.into_iter().flatten());
        }
        Ok(missing)
    }

    /// Makes sure that all of them are there, byte for byte.
    pub(super) async fn are_there(&self, catalog: &Client) -> Result<()> {
        let all = self.lock().acknowledged.clone();
        for Acknowledged { id, path, content, .. } in all {
            let answer = catalog.get(&format!("/v1/objects/{id}/content")).send().await?.with_status(200)?;
            ensure!(answer.body == content, "{path} ({id}) came back with other bytes");
        }
        Ok(())
    }

    /// Those whose `object.stored` nobody was told of.
    pub(super) fn untold(&self, told: &HashMap<(String, String), HashSet<String>>) -> Vec<String> {
        let heard = |id: &str| {
            told.keys().any(|(subject, kind)| kind.ends_with("object.stored") && subject.contains(id))
        };
        self.lock().acknowledged.iter().filter(|one| !heard(&one.id)).map(|one| one.id.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pieces(content: &Bytes) -> Vec<Bytes> {
    const PIECE: usize = 10_000;
    (0..content.len()).step_by(PIECE).map(|at| content.slice(at..content.len().min(at + PIECE))).collect()
}
