//! Every put is create-only and all or nothing.

#![expect(missing_docs, reason = "each name says what is promised")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::{sync::Notify, time::timeout};

use super::{
    Body, End, PATIENCE, SMALL_BODY, Tested, assert_is, assert_nothing, content, envelope, frames, key,
    marker, put, stat,
};
use crate::storage::{BodyError, Key, Prefix, PutError};

/// Bodies that are taken in one piece and in several.
const SMALL_AND_LARGE: [usize; 2] = [1000, 700_000];

pub async fn a_second_put_is_refused_and_changes_nothing(store: Tested) {
    for size in SMALL_AND_LARGE {
        let (key, first) = (key(), content(size, 1));
        put(&store, &key, &first).await;
        let head = stat(&store, &key).await.unwrap();
        for second in [content(size, 2), content(0, 2), content(SMALL_BODY + 1, 2), first.clone()] {
            let again = store.put(&key, &envelope("b"), &mut Body::of(&second)).await;
            assert!(matches!(again, Err(PutError::Exists)), "{again:?}");
        }
        assert_is(&store, &key, &first).await;
        assert_eq!(stat(&store, &key).await.unwrap(), head);
    }
}

pub async fn of_many_puts_at_once_one_wins(store: Tested) {
    for _ in 0..10 {
        race(&store, 1000).await;
    }
}

pub async fn one_of_many_large_puts_at_once_wins(store: Tested) {
    race(&store, 700_000).await;
}

/// Eight puts under one key, each with a content and a path of its own.
async fn race(store: &Tested, size: usize) {
    let key = key();
    let contents: Vec<Bytes> = (0..8).map(|seed| content(size, seed)).collect();
    let puts = contents.iter().enumerate().map(|(number, content)| {
        let key = &key;
        async move { store.put(key, &envelope(&number.to_string()), &mut Body::of(content)).await }
    });
    let outcomes = join_all(puts).await;
    let winners: Vec<usize> = (0..8).filter(|number| outcomes[*number].is_ok()).collect();
    let [winner] = winners[..] else { panic!("{winners:?} won: {outcomes:?}") };
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(PutError::Exists))).count();
    assert_eq!(refused, 7, "{outcomes:?}");
    assert_is(store, &key, &contents[winner]).await;
    assert_eq!(stat(store, &key).await.unwrap().envelope, Some(envelope(&winner.to_string())));
}

pub async fn a_body_that_breaks_off_leaves_nothing_and_its_error_comes_back(store: Tested) {
    let errors = [
        BodyError::Client { received: 1 },
        BodyError::TooLarge { limit: 5 },
        BodyError::TooSlow { received: 3, waited: Duration::from_secs(1) },
        BodyError::Digest { algorithm: "sha-256" },
        BodyError::Malformed("chunk size"),
        BodyError::Malformed("a test"),
    ];
    for (error, size) in
        errors.iter().cycle().zip([0, 1, SMALL_BODY - 1, SMALL_BODY, SMALL_BODY + 1, 700_000])
    {
        let content = content(size, 1);
        for body in
            [Body::new(frames(&content, &[10_000])), Body::of(&content), Body::of(&content).hesitant()]
        {
            let key = key();
            let mut broken = body.ending(End::Broken(error.clone()));
            let outcome = store.put(&key, &envelope("a"), &mut broken).await;
            assert!(matches!(&outcome, Err(PutError::Body(back)) if back == error), "{outcome:?}");
            assert_nothing(&store, &key).await;
        }
    }
}

pub async fn a_put_that_is_dropped_leaves_nothing(store: Tested) {
    for size in [0, 1, SMALL_BODY, 700_000] {
        let (key, envelope, content) = (key(), envelope("a"), content(size, 1));
        let stalled = Arc::new(Notify::new());
        let mut body = Body::of(&content).announcing(size + 1).ending(End::Stalled(Arc::clone(&stalled)));
        tokio::select! {
            outcome = store.put(&key, &envelope, &mut body) => panic!("{outcome:?}"),
            reached = timeout(PATIENCE, stalled.notified()) => reached.unwrap(),
        }
        assert_nothing(&store, &key).await;
        put(&store, &key, &content).await;
        assert_is(&store, &key, &content).await;
    }
}

pub async fn a_marker_is_created_once(store: Tested) {
    for text in ["", "of an upload"] {
        let (key, text) = (marker(), Bytes::from(text));
        store.create(&key, text.clone()).await.unwrap();
        let again = store.create(&key, Bytes::from_static(b"of another")).await;
        assert!(matches!(again, Err(PutError::Exists)), "{again:?}");
        assert_is(&store, &key, &text).await;
        assert_eq!(stat(&store, &key).await.unwrap().envelope, None);
    }
}

pub async fn of_many_markers_at_once_one_is_created(store: Tested) {
    for _ in 0..10 {
        let key = marker();
        let outcomes =
            join_all((0..8_u8).map(|number| store.create(&key, Bytes::from(vec![number; 9])))).await;
        let winners: Vec<usize> = (0..8).filter(|number| outcomes[*number].is_ok()).collect();
        let [winner] = winners[..] else { panic!("{winners:?} won: {outcomes:?}") };
        let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(PutError::Exists))).count();
        assert_eq!(refused, 7, "{outcomes:?}");
        assert_is(&store, &key, &Bytes::from(vec![u8::try_from(winner).unwrap(); 9])).await;
    }
}

pub async fn what_is_visible_can_be_confirmed(store: Tested) {
    let (object, marker) = (key(), marker());
    let text = Bytes::from_static(b"abc");
    put(&store, &object, &text).await;
    store.create(&marker, text.clone()).await.unwrap();
    for key in [&object, &marker] {
        store.confirm(key).await.unwrap();
        assert_is(&store, key, &text).await;
    }
}

pub async fn what_is_deleted_is_gone_and_its_key_free(store: Tested) {
    let text = content(1000, 1);
    let (object, neighbour, mark) = (key(), key(), marker());
    put(&store, &object, &text).await;
    put(&store, &neighbour, &text).await;
    store.create(&mark, text.clone()).await.unwrap();
    let never: [Key; 2] = [key(), marker()];
    for gone in [&object, &mark, &never[0], &never[1]] {
        store.delete(gone).await.unwrap();
        assert_nothing(&store, gone).await;
        store.delete(gone).await.unwrap();
    }
    assert_is(&store, &neighbour, &text).await;
    put(&store, &object, &content(5, 2)).await;
    assert_is(&store, &object, &content(5, 2)).await;
}

pub async fn sweeping_leaves_finished_objects_alone(store: Tested) {
    let (object, mark, text) = (key(), marker(), content(SMALL_BODY + 1, 1));
    put(&store, &object, &text).await;
    store.create(&mark, text.clone()).await.unwrap();
    assert_eq!(store.sweep_unfinished(Duration::ZERO).await.unwrap(), 0, "nothing was unfinished");
    assert_is(&store, &object, &text).await;
    assert_is(&store, &mark, &text).await;
}

pub async fn a_fresh_store_is_well(store: Tested) {
    let health = store.health().await.unwrap();
    assert!(health.free_ratio.is_none_or(|free| (0.0..=1.0).contains(&free)), "{health:?}");
    assert_eq!(store.list(&Prefix::objects(), None, 10).await.unwrap(), [], "looking at it leaves nothing");
}
