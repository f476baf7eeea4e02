//! Listings: the objects of a scope, and the versions of a path.

use headworks_shared::{
    http::{Problem, Reply},
    model::UploadId,
};
use serde::Serialize;

use crate::{
    Catalog, Request, answer,
    lookup::Entry,
    query::{Page, cursor_behind, limit_only},
};

/// One page of objects, in the order of their paths.
#[derive(Debug, Serialize)]
struct Objects {
    objects: Vec<Entry>,
    /// Leads to the next page; `null` on the last one.
    next_cursor: Option<String>,
}

/// The versions of a path, newest first.
#[derive(Debug, Serialize)]
struct Versions {
    versions: Vec<Entry>,
    /// Whether there are older ones, beyond the limit.
    more: bool,
}

impl Catalog {
    /// The newest version at each path. Keyset pages: what is stored or deleted meanwhile moves no other object between pages.
    pub(crate) async fn list(&self, request: &Request<'_>) -> Result<Reply, Problem> {
        let page = Page::parse(request.query)?;
        // One more than asked for tells whether there is a next page.
        let found = self.meta.list(&request.scope, &page.prefix, page.after.as_ref(), page.limit + 1).await;
        let mut objects = found.map_err(|error| request.unavailable(&error))?;
        let more = objects.len() > page.limit;
        objects.truncate(page.limit);
        let next_cursor = objects.last().filter(|_| more).map(|last| cursor_behind(&last.path));
        Ok(answer(&Objects { objects: objects.into_iter().map(Entry::from).collect(), next_cursor }))
    }

    /// All stored versions of the path of one object, itself among them once it is stored.
    pub(crate) async fn versions(&self, request: &Request<'_>, id: UploadId) -> Result<Reply, Problem> {
        let limit = limit_only(request.query)?;
        let entry = self.look_up(request, id).await?.into_entry()?;
        let found = self.meta.versions(&request.scope, &entry.path, limit + 1).await;
        let mut versions = found.map_err(|error| request.unavailable(&error))?;
        let more = versions.len() > limit;
        versions.truncate(limit);
        Ok(answer(&Versions { versions: versions.into_iter().map(Entry::from).collect(), more }))
    }
}
