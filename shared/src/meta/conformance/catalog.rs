//! The promises of [`Catalog`](crate::meta::Catalog).

#![expect(missing_docs, reason = "each name says what is promised")]

use super::{Tested, at, id, other_scope, paths, scope, store_all};
use crate::meta::Usage;

pub async fn an_upload_without_an_end_is_not_found(store: Tested) {
    assert_eq!(store.find(&scope(), id()).await.unwrap(), None);
    assert_eq!(store.at_path(&scope(), &"a".parse().unwrap()).await.unwrap(), None);
}

pub async fn another_scope_finds_nothing(store: Tested) {
    let [record] = store_all(&store, &["a"]).await.try_into().unwrap();
    let path = &record.envelope.path;
    assert_eq!(store.find(&other_scope(), record.id).await.unwrap(), None);
    assert_eq!(store.at_path(&other_scope(), path).await.unwrap(), None);
    assert_eq!(store.versions(&other_scope(), path, 9).await.unwrap(), []);
    assert_eq!(store.list(&other_scope(), "", None, 9).await.unwrap(), []);
}

pub async fn a_listing_has_the_newest_of_each_path_in_the_order_of_bytes(store: Tested) {
    store_all(&store, &["b", "é", "a/c", "Z", "a", "b", "a-b", "\u{ffff}", "\u{10000}"]).await;
    let listed = store.list(&scope(), "", None, 100).await.unwrap();
    // "-" is below "/", capitals are below small letters, and U+FFFF is below U+10000 in UTF-8 but not in UTF-16.
    assert_eq!(paths(&listed), ["Z", "a", "a-b", "a/c", "b", "é", "\u{ffff}", "\u{10000}"]);
    let versions: Vec<_> = listed.iter().map(|object| object.version).collect();
    assert_eq!(versions, [1, 1, 1, 1, 2, 1, 1, 1]);
}

pub async fn a_listing_goes_on_behind_its_last_page(store: Tested) {
    store_all(&store, &["x/a", "x/a", "x/a!", "x/b", "x/c", "y"]).await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.list(&scope(), "x/", after.as_ref(), 2).await.unwrap();
        seen.extend(page.iter().map(|object| object.path.to_string()));
        match page.last() {
            Some(last) => after = Some(last.path.clone()),
            None => break,
        }
    }
    assert_eq!(seen, ["x/a", "x/a!", "x/b", "x/c"]);
    // A cursor from before the prefix begins with the prefix; one from behind it finds nothing.
    let from = async |path: &str| {
        let after = path.parse().unwrap();
        store.list(&scope(), "x/", Some(&after), 9).await.unwrap().len()
    };
    assert_eq!((from("a").await, from("z").await), (4, 0));
    assert_eq!(store.list(&scope(), "x/", None, 0).await.unwrap(), []);
}

pub async fn a_prefix_is_a_beginning_and_not_a_pattern(store: Tested) {
    store_all(&store, &["a%/x", "a_/x", "ab/x", "a", "b", "\u{10ffff}x", "é", "ê"]).await;
    for (prefix, found) in [
        ("a%", &["a%/x"][..]),
        ("a_", &["a_/x"]),
        ("a", &["a", "a%/x", "a_/x", "ab/x"]),
        ("\u{10ffff}", &["\u{10ffff}x"]),
        ("é", &["é"]),
        ("c", &[]),
    ] {
        let listed = store.list(&scope(), prefix, None, 9).await.unwrap();
        assert_eq!(paths(&listed), found, "{prefix}");
    }
}

pub async fn a_listing_leaves_out_what_is_deleted(store: Tested) {
    let [a, _b, c] = store_all(&store, &["a", "b", "c"]).await.try_into().unwrap();
    store.delete(&scope(), a.id, None, at(1)).await.unwrap();
    store.delete(&scope(), c.id, None, at(1)).await.unwrap();
    assert_eq!(paths(&store.list(&scope(), "", None, 9).await.unwrap()), ["b"]);
}

pub async fn versions_come_newest_first(store: Tested) {
    let records = store_all(&store, &["a", "a", "b", "a", "a"]).await;
    store.delete(&scope(), records[1].id, None, at(1)).await.unwrap();
    let versions = async |limit| {
        let objects = store.versions(&scope(), &records[0].envelope.path, limit).await.unwrap();
        objects.iter().map(|object| object.version).collect::<Vec<_>>()
    };
    assert_eq!(versions(9).await, [4, 3, 1]);
    assert_eq!(versions(2).await, [4, 3]);
}

pub async fn a_scope_that_nobody_used_uses_nothing(store: Tested) {
    assert_eq!(store.usage(&scope()).await.unwrap(), Usage::default());
}
