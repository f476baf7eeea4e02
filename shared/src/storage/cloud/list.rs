//! Lists what Headworks has put below a prefix, page by page.

use object_store::list::PaginatedListOptions;
use tokio::time::timeout;

use super::{
    PATIENCE,
    answer::{Told, unavailable},
    http::NoAnswer,
    provider::Provider,
    read::modified,
};
use crate::storage::{Error, Key, Listed, Prefix};

/// The most that stores give out at once.
const PAGE: usize = 1000;

/// Up to `limit` objects whose keys sort behind `after`; fewer only when there are no more.
pub(super) async fn list(
    provider: &Provider,
    prefix: &Prefix,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<Listed>, Error> {
    let below = format!("{}{}", provider.prefix, prefix.as_str());
    let offset = match after.map(Key::as_str) {
        None => None,
        Some(after) if after.starts_with(prefix.as_str()) => Some(format!("{}{after}", provider.prefix)),
        // Behind all of it, or before.
        Some(after) if after > prefix.as_str() => return Ok(Vec::new()),
        Some(_) => None,
    };
    let (mut listed, mut page_token) = (Vec::new(), None);
    loop {
        let options = PaginatedListOptions {
            offset: offset.clone(),
            max_keys: Some((limit - listed.len()).clamp(1, PAGE)),
            page_token,
            ..PaginatedListOptions::default()
        };
        let page = timeout(PATIENCE, provider.listing.0.list_paginated(Some(&below), options));
        let late = |_| unavailable("list", prefix.as_str(), NoAnswer(PATIENCE));
        let page = page.await.map_err(late)?;
        let page = page.map_err(|error| unavailable("list", prefix.as_str(), Told::from(error)))?;
        let ours = page.result.objects.iter().filter_map(|meta| {
            let key = Key::parse(meta.location.as_ref().strip_prefix(&provider.prefix)?).ok()?;
            Some(Listed { key, size: meta.size, modified: modified(meta) })
        });
        listed.extend(ours.take(limit - listed.len()));
        page_token = page.page_token;
        if page_token.is_none() || listed.len() >= limit {
            return Ok(listed);
        }
    }
}
