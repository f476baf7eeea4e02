//! Jobs that came to a bad end, as they stood on the queue: so that they can be put back.

use async_trait::async_trait;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{PostgresMeta, fault::Fault, rows, server::Mode};
use crate::{
    meta::{DeadLetter, DeadLetters, Error},
    model::UploadId,
};

const BURY: &str = "INSERT INTO dead_letters (id, job, error, at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (id) DO UPDATE SET job = excluded.job, error = excluded.error, at = excluded.at";

const NEWEST: &str =
    "SELECT job, error, at FROM dead_letters WHERE (at, id) < ($1, $2) ORDER BY at DESC, id DESC LIMIT $3";

const ONE: &str = "SELECT job, error, at FROM dead_letters WHERE id = $1";

const DISCARD: &str = "DELETE FROM dead_letters WHERE id = $1 AND at = $2 RETURNING id";

const COUNT: &str = "SELECT count(*) FROM dead_letters";

#[async_trait]
impl DeadLetters for PostgresMeta {
    async fn bury(&self, letter: &DeadLetter) -> Result<(), Error> {
        let job = serde_json::to_string(&letter.job).map_err(Fault::value)?;
        // The database takes no NUL in a text, and an error may quote anything.
        let error = letter.error.replace('\0', "\u{fffd}");
        let values = [
            (&Uuid::from(letter.job.id) as _, Type::UUID),
            (&job as _, Type::TEXT),
            (&error as _, Type::TEXT),
            (&rows::ms(letter.at)? as _, Type::INT8),
        ];
        self.change(BURY, &values).await?;
        Ok(())
    }

    async fn dead(&self, after: Option<&DeadLetter>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let (at, id) = match after {
            Some(letter) => place(letter)?,
            None => (i64::MAX, Uuid::max()),
        };
        let page = [(&at as _, Type::INT8), (&id as _, Type::UUID), (&rows::at_most(limit) as _, Type::INT8)];
        let rows = self.primary.ask(Mode::Read, NEWEST, &page).await?;
        Ok(rows.iter().map(letter).collect::<Result<_, _>>()?)
    }

    async fn dead_letter(&self, id: UploadId) -> Result<Option<DeadLetter>, Error> {
        let rows = self.primary.ask(Mode::Read, ONE, &[(&Uuid::from(id), Type::UUID)]).await?;
        Ok(rows.first().map(letter).transpose()?)
    }

    async fn discard(&self, letter: &DeadLetter) -> Result<bool, Error> {
        let (at, id) = place(letter)?;
        Ok(!self.change(DISCARD, &[(&id, Type::UUID), (&at, Type::INT8)]).await?.is_empty())
    }

    async fn dead_count(&self) -> Result<u64, Error> {
        let rows = self.primary.ask(Mode::Read, COUNT, &[]).await?;
        Ok(rows.first().map(|row| rows::unsigned(row, 0)).transpose()?.unwrap_or_default())
    }
}

/// Where a letter stands in the order of letters.
fn place(letter: &DeadLetter) -> Result<(i64, Uuid), Fault> {
    Ok((rows::ms(letter.at)?, Uuid::from(letter.job.id)))
}

fn letter(row: &Row) -> Result<DeadLetter, Fault> {
    let job = serde_json::from_str(rows::get(row, 0)?).map_err(Fault::row)?;
    Ok(DeadLetter { job, error: rows::get(row, 1)?, at: rows::time(row, 2)? })
}
