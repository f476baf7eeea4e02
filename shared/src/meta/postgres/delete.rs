//! Deletes an object: alone in its scope, so that no batch gives the number of a version that goes at this moment; first its ledger row,
//! then the object, and its scope's usage last; the order in which batches go, too.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    events,
    fault::Fault,
    locks,
    persist::{ALONE, NUMBER},
    rows,
    server::{Mode, Server},
    transaction::{Statement, Transaction},
};
use crate::{
    meta::{Deleted, deletion},
    model::{Envelope, Event, ObjectPath, Scope, State, Timestamp, UploadId, Version},
};

const LOCK: &str = "SELECT l.state, s.org = $2 AND s.project = $3
    FROM ledger l JOIN scopes s ON s.id = l.scope WHERE l.id = $1 FOR NO KEY UPDATE OF l";

/// Keeps the number of the version from being given again.
const REMOVE: &str = "WITH gone AS (
        DELETE FROM objects WHERE id = $1 RETURNING scope, path, version, size, stored_at),
    buried AS (INSERT INTO tombstones (scope, path, version, id, stored_at, at)
        SELECT scope, path, version, $1, stored_at, $2 FROM gone)
    SELECT path, version, size FROM gone";

/// Keeps the row: its id must never be taken for a new upload's.
const MARK_DELETED: &str = "UPDATE ledger SET state = 'deleted', size = 0, at = $2 WHERE id = $1";

const USE_LESS: &str =
    "UPDATE scopes SET objects = objects - 1, bytes = bytes - $3 WHERE org = $1 AND project = $2";

/// An upload that is deleted before its job is done. Does nothing when its job has been done meanwhile.
const ENTER_DELETED: &str = "INSERT INTO ledger (id, scope, state, size, at)
    SELECT $1, s.id, 'deleted', 0, $4 FROM scopes s WHERE s.org = $2 AND s.project = $3
    ON CONFLICT (id) DO NOTHING RETURNING id";

/// Deletes; `envelope`, if given, is of this scope.
pub(super) async fn delete(
    server: &Server,
    scope: &Scope,
    id: UploadId,
    envelope: Option<&Envelope>,
    at: Timestamp,
) -> Result<Deleted, Fault> {
    let deletion = Deletion { scope, id, envelope, at };
    let mut tries = server.tries(Mode::Write);
    loop {
        let transaction = server.begin_by(Mode::Write, tries.deadline).await?;
        match deletion.run(transaction).await {
            Err(fault) if tries.again(&fault).await => {}
            outcome => return outcome,
        }
    }
}

struct Deletion<'a> {
    scope: &'a Scope,
    id: UploadId,
    envelope: Option<&'a Envelope>,
    at: Timestamp,
}

impl Deletion<'_> {
    async fn run(&self, mut transaction: Transaction<'_>) -> Result<Deleted, Fault> {
        let (org, project) = (self.scope.org(), self.scope.project());
        let values = [(&self.uuid() as _, Type::UUID), (&org as _, Type::TEXT), (&project as _, Type::TEXT)];
        let scopes = vec![locks::of_scope(self.scope)];
        let alone = [(&scopes as _, Type::INT8_ARRAY)];
        let (alone, lock) =
            (Statement { sql: ALONE, values: &alone }, Statement { sql: LOCK, values: &values });
        let [_, found] = transaction.say([alone, lock]).await?;
        let known = found.first().map(|row| Ok::<_, Fault>((rows::state(row, 0)?, rows::get(row, 1)?)));
        match (known.transpose()?, self.envelope) {
            (Some((State::Stored, true)), _) => self.remove(transaction).await,
            (None, Some(envelope)) => self.enter(transaction, &envelope.path).await,
            (known, _) => {
                transaction.end(&[]).await?;
                let ended = matches!(known, Some((_, true)));
                Ok(if ended { Deleted::Before } else { Deleted::Unknown })
            }
        }
    }

    /// Takes a stored object out of the objects and the usage, and leaves tombstones.
    async fn remove(&self, mut transaction: Transaction<'_>) -> Result<Deleted, Fault> {
        let (id, at) = (self.uuid(), rows::ms(self.at)?);
        let key = [(&id as _, Type::UUID), (&at as _, Type::INT8)];
        let [gone] = transaction.say([Statement { sql: REMOVE, values: &key }]).await?;
        let row = gone.first().ok_or_else(|| Fault::row("stored, but there is no object"))?;
        let path = rows::parsed::<ObjectPath>(row, 0)?;
        let was = Version { version: rows::unsigned(row, 1)?, size: rows::unsigned(row, 2)? };
        let (size, org, project) = (rows::signed(was.size)?, self.scope.org(), self.scope.project());
        let used = [(&org as _, Type::TEXT), (&project as _, Type::TEXT), (&size as _, Type::INT8)];
        let event = self.event(&path, Some(was))?;
        let steps = [
            Statement { sql: MARK_DELETED, values: &key },
            Statement { sql: events::APPEND, values: &event.values() },
            Statement { sql: USE_LESS, values: &used },
        ];
        transaction.end(&steps).await?;
        Ok(Deleted::Now)
    }

    /// Makes the tombstone that the upload's job will find.
    async fn enter(&self, mut transaction: Transaction<'_>, path: &ObjectPath) -> Result<Deleted, Fault> {
        let (id, at) = (self.uuid(), rows::ms(self.at)?);
        let (org, project) = (self.scope.org(), self.scope.project());
        let names = [(&vec![org] as _, Type::TEXT_ARRAY), (&vec![project] as _, Type::TEXT_ARRAY)];
        let row = [
            (&id as _, Type::UUID),
            (&org as _, Type::TEXT),
            (&project as _, Type::TEXT),
            (&at as _, Type::INT8),
        ];
        let (number, enter) =
            (Statement { sql: NUMBER, values: &names }, Statement { sql: ENTER_DELETED, values: &row });
        let [_, entered] = transaction.say([number, enter]).await?;
        if entered.is_empty() {
            transaction.end(&[]).await?;
            return Err(Fault::Overtaken);
        }
        let event = self.event(path, None)?;
        transaction.end(&[Statement { sql: events::APPEND, values: &event.values() }]).await?;
        Ok(Deleted::Now)
    }

    fn event(&self, path: &ObjectPath, was: Option<Version>) -> Result<events::Batch, Fault> {
        let trace = self.envelope.and_then(|envelope| envelope.trace);
        let event: Event = deletion(self.id, self.scope, path, was, trace, self.at);
        events::Batch::new(&[event], self.at)
    }

    fn uuid(&self) -> Uuid {
        self.id.into()
    }
}
