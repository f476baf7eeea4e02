//! One process has the file, so it leads whenever it asks.

use async_trait::async_trait;

use super::SqliteMeta;
use crate::meta::{Error, Lead, Leaders};

#[async_trait]
impl Leaders for SqliteMeta {
    async fn lead(&self, _: &str) -> Result<Option<Box<dyn Lead>>, Error> {
        Ok(Some(Box::new(Always)))
    }
}

#[derive(Debug)]
struct Always;

#[async_trait]
impl Lead for Always {
    async fn stands(&self) -> bool {
        true
    }
}
