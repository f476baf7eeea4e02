//! The promises of [`Leaders`](crate::meta::Leaders). That one of many leads is each backend's to show: some have one process only.

#![expect(missing_docs, reason = "each name says what is promised")]

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Tested;

pub async fn a_lead_stands_until_it_is_given_back(store: Tested) {
    let sweeper = store.lead("sweeper").await.unwrap().expect("nobody leads yet");
    let other = store.lead("another role").await.unwrap().expect("another role has its own leader");
    assert!(sweeper.stands().await && other.stands().await);
    drop(sweeper);
    assert!(other.stands().await);
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.lead("sweeper").await.unwrap().is_none() {
        assert!(Instant::now() < deadline, "the lead was given back, and nobody gets it");
        sleep(Duration::from_millis(10)).await;
    }
}
