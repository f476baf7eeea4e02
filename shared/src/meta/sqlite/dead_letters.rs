//! Jobs that came to a bad end, as they stood on the queue: so that they can be put back.

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, Row};

use super::{SqliteMeta, rows};
use crate::{
    meta::{DeadLetter, DeadLetters, Error},
    model::UploadId,
};

const BURY: &str = "INSERT INTO dead_letters (id, job, error, at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (id) DO UPDATE SET job = excluded.job, error = excluded.error, at = excluded.at";

pub(super) const NEWEST: &str =
    "SELECT job, error, at FROM dead_letters WHERE (at, id) < (?1, ?2) ORDER BY at DESC, id DESC LIMIT ?3";

const ONE: &str = "SELECT job, error, at FROM dead_letters WHERE id = ?1";

const DISCARD: &str = "DELETE FROM dead_letters WHERE id = ?1 AND at = ?2";

const COUNT: &str = "SELECT count(*) FROM dead_letters";

#[async_trait]
impl DeadLetters for SqliteMeta {
    async fn bury(&self, letter: &DeadLetter) -> Result<(), Error> {
        let letter = letter.clone();
        self.write(move |connection| {
            let job = serde_json::to_string(&letter.job)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
            let row = (letter.job.id.as_bytes(), job, letter.error, rows::ms(letter.at)?);
            connection.prepare_cached(BURY)?.execute(row).map(drop)
        })
        .await
    }

    async fn dead(&self, after: Option<&DeadLetter>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let after = after.map(|letter| (letter.at, *letter.job.id.as_bytes()));
        self.read(move |connection| {
            let (at, id) = match after {
                Some((at, id)) => (rows::ms(at)?, id),
                None => (i64::MAX, [u8::MAX; 16]),
            };
            let page = (at, id, rows::at_most(limit));
            connection.prepare_cached(NEWEST)?.query_map(page, letter)?.collect()
        })
        .await
    }

    async fn dead_letter(&self, id: UploadId) -> Result<Option<DeadLetter>, Error> {
        self.read(move |connection| {
            connection.prepare_cached(ONE)?.query_row([id.as_bytes()], letter).optional()
        })
        .await
    }

    async fn discard(&self, letter: &DeadLetter) -> Result<bool, Error> {
        let (id, at) = (letter.job.id, letter.at);
        self.write(move |connection| Ok(connection.execute(DISCARD, (id.as_bytes(), rows::ms(at)?))? == 1))
            .await
    }

    async fn dead_count(&self) -> Result<u64, Error> {
        self.read(|connection| connection.query_row(COUNT, [], |row| rows::unsigned(row, 0))).await
    }
}

fn letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let job = serde_json::from_str(row.get_ref(0)?.as_str()?).map_err(|error| rows::broken(0, error))?;
    Ok(DeadLetter { job, error: row.get(1)?, at: rows::time(row, 2)? })
}
