//! Looking into the queue from outside: which uploads have their jobs on it.

use deadpool_redis::redis;

use super::{Error, RedisQueue, unavailable};
use crate::model::UploadId;

impl RedisQueue {
    /// The uploads whose jobs are on the queue, wherever they stand. All at once: for a person who asks, not for the way of an upload.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    pub async fn waiting(&self) -> Result<Vec<UploadId>, Error> {
        let mut ask = redis::pipe();
        ask.cmd("ZRANGE").arg(self.keys.jobs()).arg(0).arg(-1);
        let (ids,): (Vec<String>,) = self.connections.query(&ask).await.map_err(unavailable)?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }
}
