//! The promises of [`DeadLetters`](crate::meta::DeadLetters).

#![expect(missing_docs, reason = "each name says what is promised")]

use super::{Tested, at, envelope, id, seal};
use crate::{meta::DeadLetter, model::Job};

fn letter(seconds: u64) -> DeadLetter {
    let mut job = Job::object_stored(id(), envelope("a"), seal(3), true);
    job.tries = 5;
    DeadLetter { job, error: "read object: connection reset".to_owned(), at: at(seconds) }
}

pub async fn a_letter_is_kept_as_it_was(store: Tested) {
    let letter = letter(1);
    store.bury(&letter).await.unwrap();
    assert_eq!(store.dead_letter(letter.job.id).await.unwrap(), Some(letter));
    assert_eq!(store.dead_letter(id()).await.unwrap(), None);
}

pub async fn burying_again_replaces_the_letter(store: Tested) {
    let old = letter(1);
    let new = DeadLetter { error: "another".to_owned(), at: at(2), ..old.clone() };
    store.bury(&old).await.unwrap();
    store.bury(&new).await.unwrap();
    assert_eq!(store.dead(9).await.unwrap(), [new]);
    assert_eq!(store.dead_count().await.unwrap(), 1);
}

pub async fn letters_come_newest_first(store: Tested) {
    let (old, new) = (letter(1), letter(2));
    store.bury(&new).await.unwrap();
    store.bury(&old).await.unwrap();
    assert_eq!(store.dead(9).await.unwrap(), [new.clone(), old]);
    assert_eq!(store.dead(1).await.unwrap(), [new]);
    assert_eq!(store.dead_count().await.unwrap(), 2);
}

pub async fn a_letter_is_discarded_once(store: Tested) {
    let letter = letter(1);
    store.bury(&letter).await.unwrap();
    assert!(store.discard(letter.job.id).await.unwrap());
    assert!(!store.discard(letter.job.id).await.unwrap());
    assert_eq!(store.dead_count().await.unwrap(), 0);
}
