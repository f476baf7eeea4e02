//! The ledger: batches, deletions, and what is known of each upload.

use std::collections::HashMap;

use async_trait::async_trait;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{PostgresMeta, delete, fault::Fault, persist, prune, rows, server::Mode};
use crate::{
    meta::{Deleted, Error, Ledger, Record, Verdict},
    model::{Envelope, Scope, State, Timestamp, UploadId},
};

pub(super) const STATES: &str = "SELECT id, state FROM ledger WHERE id = ANY($1)";

/// Locks in the order of ids, whatever order the update goes by.
const PURGED: &str = "WITH locked AS (
        SELECT id FROM ledger WHERE id = ANY($1) AND state <> 'stored' ORDER BY id FOR NO KEY UPDATE)
    UPDATE ledger l SET purged = true FROM locked WHERE l.id = locked.id";

const UNPURGED: &str = "SELECT l.id, s.org, s.project FROM ledger l JOIN scopes s ON s.id = l.scope
    WHERE l.state <> 'stored' AND NOT l.purged ORDER BY l.at LIMIT $1";

const SWEPT: &str = "SELECT swept FROM progress";

const SET_SWEPT: &str = "UPDATE progress SET swept = $1";

const QUEUE_SEEN: &str = "SELECT queue_seen FROM progress";

const SET_QUEUE_SEEN: &str = "UPDATE progress SET queue_seen = $1";

#[async_trait]
impl Ledger for PostgresMeta {
    async fn persist(&self, batch: &[Record], at: Timestamp) -> Result<Vec<Verdict>, Error> {
        Ok(persist::persist(self.writer()?, batch, at).await?)
    }

    async fn delete(
        &self,
        scope: &Scope,
        id: UploadId,
        envelope: Option<&Envelope>,
        at: Timestamp,
    ) -> Result<Deleted, Error> {
        let envelope = envelope.filter(|envelope| envelope.scope == *scope);
        Ok(delete::delete(self.writer()?, scope, id, envelope, at).await?)
    }

    async fn purged(&self, ids: &[UploadId]) -> Result<(), Error> {
        self.change(PURGED, &[(&rows::uuids(ids), Type::UUID_ARRAY)]).await?;
        Ok(())
    }

    async fn unpurged(&self, limit: usize) -> Result<Vec<(Scope, UploadId)>, Error> {
        let found = self.primary.ask(Mode::Read, UNPURGED, &[(&rows::at_most(limit), Type::INT8)]).await?;
        let entries = found.iter().map(|row| Ok((rows::scope(row, 1, 2)?, rows::upload_id(row, 0)?)));
        Ok(entries.collect::<Result<_, Fault>>()?)
    }

    async fn states(&self, ids: &[UploadId]) -> Result<Vec<Option<State>>, Error> {
        let found = self.primary.ask(Mode::Read, STATES, &[(&rows::uuids(ids), Type::UUID_ARRAY)]).await?;
        let pairs = found.iter().map(|row| Ok((rows::get(row, 0)?, rows::state(row, 1)?)));
        let known: HashMap<Uuid, State> = pairs.collect::<Result<_, Fault>>()?;
        Ok(ids.iter().map(|id| known.get(&Uuid::from(*id)).copied()).collect())
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, Error> {
        Ok(prune::prune(self.writer()?, before).await?)
    }

    async fn swept(&self) -> Result<Option<Timestamp>, Error> {
        let rows = self.primary.ask(Mode::Read, SWEPT, &[]).await?;
        let since = rows.first().map(|row| rows::get::<Option<i64>>(row, 0)).transpose()?.flatten();
        Ok(since.and_then(|ms| u64::try_from(ms).ok()).map(Timestamp::from_unix_ms))
    }

    async fn set_swept(&self, at: Timestamp) -> Result<(), Error> {
        self.change(SET_SWEPT, &[(&rows::ms(at)?, Type::INT8)]).await?;
        Ok(())
    }

    async fn queue_seen(&self) -> Result<Option<String>, Error> {
        let rows = self.primary.ask(Mode::Read, QUEUE_SEEN, &[]).await?;
        Ok(rows.first().map(|row| rows::get::<Option<String>>(row, 0)).transpose()?.flatten())
    }

    async fn set_queue_seen(&self, content: &str) -> Result<(), Error> {
        self.change(SET_QUEUE_SEEN, &[(&content, Type::TEXT)]).await?;
        Ok(())
    }
}
