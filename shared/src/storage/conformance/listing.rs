//! A listing has every finished object below its prefix, in the order of the keys.

#![expect(missing_docs, reason = "each name says what is promised")]

use bytes::Bytes;

use super::{Tested, content, hour, key, key_in, marker, put};
use crate::{
    model::Scope,
    storage::{Key, Prefix},
};

/// Objects of several hours, shards and scopes, and some markers; in the order of their keys.
async fn fill(store: &Tested) -> (Vec<Key>, Vec<Key>) {
    // Their order as names of folders is not that as parts of keys: '-' and '.' sort before '/'.
    let scopes = [("a", "b"), ("a-b", "c"), ("a", "b-c"), ("a", "b_c"), ("b", "a")];
    let mut objects = Vec::new();
    for at in [hour(0), hour(1), hour(30)] {
        for (org, project) in scopes {
            let scope = Scope::new(org, project).unwrap();
            objects.extend((0..6).map(|_| key_in(&scope, at)));
        }
    }
    // Two shards have objects of each scope, beside those that have some.
    let same_shard = |key: &Key| key.as_str().starts_with("o/3/") || key.as_str().starts_with("o/4/");
    for (org, project) in scopes {
        let scope = Scope::new(org, project).unwrap();
        let more = std::iter::repeat_with(|| key_in(&scope, hour(0))).filter(same_shard).take(4);
        objects.extend(more);
    }
    let mut markers: Vec<_> = (0..7).map(|_| marker()).collect();
    for (number, key) in objects.iter().enumerate() {
        put(store, key, &content(number, 1)).await;
    }
    for key in &markers {
        store.create(key, Bytes::from_static(b"marker")).await.unwrap();
    }
    objects.sort();
    markers.sort();
    (objects, markers)
}

async fn list(store: &Tested, prefix: &Prefix, after: Option<&Key>, limit: usize) -> Vec<Key> {
    let listed = store.list(prefix, after, limit).await.unwrap();
    listed.into_iter().map(|listed| listed.key).collect()
}

pub async fn keys_come_in_their_order(store: Tested) {
    let (objects, markers) = fill(&store).await;
    assert_eq!(list(&store, &Prefix::objects(), None, 1000).await, objects);
    assert_eq!(list(&store, &Prefix::markers(), None, 1000).await, markers);
    let listed = store.list(&Prefix::objects(), None, 1000).await.unwrap();
    let heads = store.stat(&objects).await;
    for (listed, head) in listed.iter().zip(heads) {
        assert_eq!(listed.size, head.unwrap().size, "{}", listed.key);
    }
}

pub async fn a_listing_goes_on_behind_a_key(store: Tested) {
    let (objects, _) = fill(&store).await;
    for limit in [1, 7, objects.len() - 1, objects.len(), objects.len() + 1] {
        let mut seen: Vec<Key> = Vec::new();
        loop {
            let page = list(&store, &Prefix::objects(), seen.last(), limit).await;
            assert_eq!(page.len(), limit.min(objects.len() - seen.len()), "a short page is the last one");
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, objects, "in pages of {limit}");
    }
    // A key that is not there any more is as good to go on behind.
    store.delete(&objects[10]).await.unwrap();
    assert_eq!(list(&store, &Prefix::objects(), Some(&objects[10]), 3).await, objects[11..14]);
}

pub async fn a_listing_keeps_to_its_prefix(store: Tested) {
    let (objects, markers) = fill(&store).await;
    let last = objects.last().unwrap();
    assert!(list(&store, &Prefix::markers(), markers.last(), 1000).await.is_empty());
    assert!(list(&store, &Prefix::objects(), Some(last), 1000).await.is_empty());
    assert_eq!(list(&store, &Prefix::objects(), markers.first(), 1000).await, objects, "k/ sorts before o/");
    assert!(list(&store, &Prefix::markers(), objects.first(), 1000).await.is_empty());
}

pub async fn an_hours_objects_are_found_by_its_prefixes(store: Tested) {
    let (objects, _) = fill(&store).await;
    for hours in [0, 1, 30, 31] {
        let (mut found, mut wanted) = (Vec::new(), Vec::new());
        for prefix in Prefix::objects_of_hour(hour(hours)) {
            let below = |key: &&Key| key.as_str().starts_with(prefix.as_str());
            wanted.extend(objects.iter().filter(below).cloned());
            found.extend(list(&store, &prefix, None, 1000).await);
        }
        assert_eq!(found, wanted, "after {hours} hours");
        assert_eq!(found.is_empty(), hours == 31);
    }
}

pub async fn nothing_is_listed_of_an_empty_store(store: Tested) {
    for prefix in [Prefix::objects(), Prefix::markers()].into_iter().chain(Prefix::objects_of_hour(hour(0))) {
        assert!(list(&store, &prefix, None, 10).await.is_empty());
        assert!(list(&store, &prefix, Some(&key()), 10).await.is_empty());
    }
}
