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
    assert_eq!(store.dead(None, 9).await.unwrap(), [new]);
    assert_eq!(store.dead_count().await.unwrap(), 1);
}

pub async fn letters_come_newest_first(store: Tested) {
    let (old, new) = (letter(1), letter(2));
    store.bury(&new).await.unwrap();
    store.bury(&old).await.unwrap();
    assert_eq!(store.dead(None, 9).await.unwrap(), [new.clone(), old]);
    assert_eq!(store.dead(None, 1).await.unwrap(), [new]);
    assert_eq!(store.dead_count().await.unwrap(), 2);
}

pub async fn pages_of_letters_hold_each_once_and_none_that_was_buried_meanwhile(store: Tested) {
    // Some of the same moment.
    let mut letters: Vec<_> = [1, 2, 2, 2, 3].into_iter().map(letter).collect();
    for letter in &letters {
        store.bury(letter).await.unwrap();
    }
    letters.sort_by_key(|letter| std::cmp::Reverse((letter.at, letter.job.id)));
    let (mut page, mut seen) = (store.dead(None, 2).await.unwrap(), Vec::new());
    while let Some(last) = page.last().cloned() {
        seen.append(&mut page);
        store.bury(&letter(4)).await.unwrap();
        page = store.dead(Some(&last), 2).await.unwrap();
    }
    assert_eq!(seen, letters);
}

pub async fn a_letter_is_discarded_once(store: Tested) {
    let letter = letter(1);
    store.bury(&letter).await.unwrap();
    assert!(store.discard(&letter).await.unwrap());
    assert!(!store.discard(&letter).await.unwrap());
    assert_eq!(store.dead_count().await.unwrap(), 0);
}

pub async fn a_letter_that_was_buried_anew_is_not_discarded_with_the_old_one(store: Tested) {
    let old = letter(1);
    let new = DeadLetter { at: at(2), ..old.clone() };
    store.bury(&old).await.unwrap();
    store.bury(&new).await.unwrap();
    assert!(!store.discard(&old).await.unwrap());
    assert_eq!(store.dead_letter(new.job.id).await.unwrap(), Some(new));
}
