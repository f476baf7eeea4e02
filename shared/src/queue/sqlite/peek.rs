//! A look into the file of a queue that another process may be using.

use std::path::Path;

use rusqlite::Connection;

use super::{
    super::{Depth, Error},
    unavailable,
};
use crate::{
    clock::Clock,
    model::{Timestamp, UploadId},
    sqlite::open_to_read,
};

/// One row for each priority, and for those ready and those delayed.
const COUNT: &str = "SELECT priority, due > ?1, COUNT(*), MIN(enqueued_at) FROM jobs GROUP BY 1, 2";

/// Counts the jobs of a queue's file, beside the process that uses it. Leases and credits are that process's own: what is in
/// flight counts as ready here, and `credited` is zero. Reads the whole file, and blocks meanwhile.
///
/// # Errors
/// When there is no such file, or it is not a queue's.
pub fn peek_depth(path: &Path, clock: &Clock) -> Result<Depth, Error> {
    let connection = open_to_read(path).map_err(unavailable)?;
    count(&connection, clock.now()).map_err(unavailable)
}

/// The uploads whose jobs are in a queue's file, beside the process that uses it.
///
/// # Errors
/// When there is no such file, or it is not a queue's.
pub fn waiting(path: &Path) -> Result<Vec<UploadId>, Error> {
    let read = |connection: &Connection| {
        let mut select = connection.prepare("SELECT id FROM jobs")?;
        select.query_map([], |row| row.get::<_, [u8; 16]>(0))?.collect::<rusqlite::Result<Vec<_>>>()
    };
    let ids = read(&open_to_read(path).map_err(unavailable)?).map_err(unavailable)?;
    Ok(ids.into_iter().filter_map(|id| UploadId::from_bytes(id).ok()).collect())
}

fn count(connection: &Connection, wall: Timestamp) -> rusqlite::Result<Depth> {
    let now = i64::try_from(wall.unix_ms()).unwrap_or(i64::MAX);
    let mut depth = Depth::default();
    let mut select = connection.prepare(COUNT)?;
    let mut rows = select.query([now])?;
    while let Some(row) = rows.next()? {
        let (priority, delayed): (u8, bool) = (row.get(0)?, row.get(1)?);
        let (jobs, since): (i64, i64) = (row.get(2)?, row.get(3)?);
        let counts = if delayed { &mut depth.delayed } else { &mut depth.ready };
        if let Some(count) = counts.get_mut(usize::from(priority)) {
            *count = usize::try_from(jobs).unwrap_or(0);
        }
        let age = wall.since(Timestamp::from_unix_ms(u64::try_from(since).unwrap_or(0)));
        depth.oldest = depth.oldest.max(Some(age));
    }
    Ok(depth)
}
