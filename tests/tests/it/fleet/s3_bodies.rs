//! Bodies on their way into a bucket: of known and of unknown length, in parts, broken off, dropped, and with an end that is wrong.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use bytes::Bytes;
use headworks_shared::storage::{
    Blobs as _, BodyError, PutError,
    conformance::{self, Body, End, SMALL_BODY, content, envelope, frames, key},
};
use headworks_tests::{DEADLINE, seed::seed, until};
use tokio::{sync::Notify, time::timeout};

use super::s3::{Broken, PART};

/// The longest that any put may take here.
const PUT: Duration = Duration::from_secs(60);

/// With this limit, a body of known length above it goes by parts of 5 MiB or more.
const LIMIT: u64 = 6 << 20;

async fn start() -> Result<Broken> {
    Broken::with(|options| options.single_put_limit = LIMIT).await
}

fn bodies(content: &Bytes) -> [Body; 2] {
    let in_frames = || Body::new(frames(content, &[50_000, 1, 16 << 10]));
    [in_frames().announcing(content.len()), in_frames()]
}

#[tokio::test]
async fn bodies_around_every_border_come_back_byte_for_byte() -> Result<()> {
    let broken = start().await?;
    let limit = usize::try_from(LIMIT)?;
    let borders = [SMALL_BODY, PART, limit, 2 * PART, 2 * limit];
    let sizes = borders.into_iter().flat_map(|border| [border - 1, border, border + 1]);
    let mut keys = Vec::new();
    for size in sizes {
        let content = content(size, 1);
        for mut body in bodies(&content) {
            let key = key();
            let seal = timeout(PUT, broken.store.put(&key, &envelope("a"), &mut body)).await??;
            ensure!(seal.size == size as u64);
            let (_, back) = conformance::read(&broken.store, &key, None).await?;
            ensure!(back == content, "{size} bytes came back other than they were put");
            let head = broken.store.stat(std::slice::from_ref(&key)).await.remove(0)?;
            ensure!(head.envelope == Some(envelope("a")), "{head:?}");
            ensure!(head.seal.is_none_or(|kept| kept == seal));
            keys.push(key);
        }
    }
    broken.assert_clean(&keys.iter().collect::<Vec<_>>()).await
}

#[tokio::test]
async fn a_body_over_the_limit_goes_by_parts_and_one_below_by_a_single_put() -> Result<()> {
    let broken = start().await?;
    for (size, parts) in [(usize::try_from(LIMIT)?, 0), (usize::try_from(LIMIT)? + 1, 2), (14 << 20, 3)] {
        broken.proxy.clear();
        let content = content(size, 1);
        timeout(PUT, broken.store.put(&key(), &envelope("a"), &mut Body::of(&content))).await??;
        let seen = broken.proxy.seen();
        let sent = seen.iter().filter(|line| line.contains("partNumber")).count();
        ensure!(sent == parts, "{size} bytes went by {seen:#?}");
    }
    Ok(())
}

/// As GCS is used.
#[tokio::test]
async fn without_parts_a_body_that_needs_them_is_too_large() -> Result<()> {
    let broken = Broken::with(|options| (options.single_put_limit, options.parts) = (LIMIT, false)).await?;
    let limit = usize::try_from(LIMIT)?;
    let mut keys = Vec::new();
    for (size, known) in [(limit, true), (PART, false), (limit + 1, true), (PART + 1, false)] {
        let (key, content) = (key(), content(size, 1));
        let [announced, unknown] = bodies(&content);
        let mut body = if known { announced } else { unknown };
        let outcome = timeout(PUT, broken.store.put(&key, &envelope("a"), &mut body)).await?;
        match (outcome, if known { limit } else { PART }) {
            (Ok(seal), most) => {
                ensure!(seal.size == size as u64 && size <= most, "{size} bytes were taken");
                keys.push(key);
            }
            (Err(PutError::Body(BodyError::TooLarge { limit })), most) => {
                ensure!(limit == most as u64 && size > most, "{size} bytes are over {limit}");
            }
            (Err(error), _) => return Err(error.into()),
        }
    }
    ensure!(broken.proxy.seen().iter().all(|line| !line.starts_with("POST")), "{:?}", broken.proxy.seen());
    broken.assert_clean(&keys.iter().collect::<Vec<_>>()).await
}

#[tokio::test]
async fn of_many_objects_of_parts_under_one_key_one_wins() -> Result<()> {
    let broken = start().await?;
    let key = key();
    let contents: Vec<_> = (0..4).map(|seed| content(PART + 1000, seed)).collect();
    let puts = contents.iter().map(|content| {
        let (key, store) = (&key, &broken.store);
        async move {
            let mut body = Body::new(frames(content, &[60_000]));
            timeout(PUT, store.put(key, &envelope("a"), &mut body)).await
        }
    });
    let outcomes = futures_util::future::join_all(puts).await;
    let mut won = Vec::new();
    for (outcome, content) in outcomes.into_iter().zip(&contents) {
        match outcome? {
            Ok(_) => won.push(content),
            Err(error) => ensure!(matches!(error, PutError::Exists), "{error:?}"),
        }
    }
    ensure!(won.len() == 1, "{} won", won.len());
    let (_, back) = conformance::read(&broken.store, &key, None).await?;
    ensure!(back == *won[0], "the winner's bytes are not there");
    broken.assert_clean(&[&key]).await
}

#[tokio::test]
async fn a_wrong_digest_is_never_visible_however_the_body_goes() -> Result<()> {
    let broken = start().await?;
    for size in [0, 1, SMALL_BODY, SMALL_BODY + 1, 1 << 20, usize::try_from(LIMIT)? + 1] {
        let content = content(size, 1);
        for body in bodies(&content) {
            let key = key();
            let wrong = BodyError::Digest { algorithm: "sha-256" };
            let mut body = body.ending(End::Broken(wrong.clone()));
            let outcome = timeout(PUT, broken.store.put(&key, &envelope("a"), &mut body)).await?;
            ensure!(matches!(&outcome, Err(PutError::Body(error)) if *error == wrong), "{outcome:?}");
            broken.assert_clean(&[]).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn clients_that_are_cut_anywhere_leave_nothing() -> Result<()> {
    let broken = start().await?;
    let mut random = fastrand::Rng::with_seed(seed()?);
    for _ in 0..24 {
        let size = *random.choice(&[200_000, 2 << 20, 7 << 20]).unwrap_or(&1);
        let cut = random.usize(0..size);
        let content = content(cut, 1);
        let gone = BodyError::Client { received: cut as u64 };
        let mut body = Body::new(frames(&content, &[16 << 10])).ending(End::Broken(gone.clone()));
        if random.bool() {
            body = body.announcing(size);
        }
        let outcome = timeout(PUT, broken.store.put(&key(), &envelope("a"), &mut body)).await?;
        ensure!(
            matches!(&outcome, Err(PutError::Body(error)) if *error == gone),
            "cut at {cut} of {size}: {outcome:?}"
        );
    }
    broken.assert_clean(&[]).await
}

#[tokio::test]
async fn puts_that_are_dropped_anywhere_leave_nothing() -> Result<()> {
    let broken = start().await?;
    for (size, came) in [(1 << 20, 0), (1 << 20, 500_000), (8 << 20, 100_000), (8 << 20, 7 << 20)] {
        for known in [true, false] {
            let (content, reached) = (content(came, 1), Arc::new(Notify::new()));
            let mut body =
                Body::new(frames(&content, &[16 << 10])).ending(End::Stalled(Arc::clone(&reached)));
            if known {
                body = body.announcing(size);
            }
            let (key, envelope) = (key(), envelope("a"));
            tokio::select! {
                outcome = broken.store.put(&key, &envelope, &mut body) => anyhow::bail!("{outcome:?}"),
                reached = timeout(DEADLINE, reached.notified()) => reached?,
            }
            broken.assert_clean(&[]).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_stops_in_a_streamed_body_is_told_that_it_was_too_slow() -> Result<()> {
    let broken = Broken::with(|options| options.stall = Duration::from_millis(500)).await?;
    let stalled = End::Stalled(Arc::new(Notify::new()));
    let mut body = Body::new(frames(&content(500_000, 1), &[16 << 10])).announcing(1 << 20).ending(stalled);
    let outcome = timeout(PUT, broken.store.put(&key(), &envelope("a"), &mut body)).await?;
    ensure!(matches!(outcome, Err(PutError::Body(BodyError::TooSlow { .. }))), "{outcome:?}");
    broken.assert_clean(&[]).await
}

#[tokio::test]
async fn no_byte_is_read_without_a_lease() -> Result<()> {
    let broken = start().await?;
    broken.budget.hold();
    let content = content(1 << 20, 1);
    for mut body in bodies(&content) {
        let (key, envelope) = (key(), envelope("a"));
        let put = broken.store.put(&key, &envelope, &mut body);
        ensure!(
            timeout(Duration::from_millis(1500), put).await.is_err(),
            "a put ended while the budget was held"
        );
        use headworks_shared::storage::Source as _;
        ensure!(body.seal().size == 0, "{} bytes were read", body.seal().size);
    }
    broken.budget.release();
    broken.assert_clean(&[]).await
}

#[tokio::test]
async fn a_sweep_aborts_what_a_crash_left_behind_and_nothing_younger() -> Result<()> {
    let broken = start().await?;
    let (content, reached) = (content(PART + 100_000, 1), Arc::new(Notify::new()));
    let mut body = Body::new(frames(&content, &[16 << 10])).ending(End::Stalled(Arc::clone(&reached)));
    let (key, envelope) = (key(), envelope("a"));
    let put = async {
        tokio::select! {
            outcome = broken.store.put(&key, &envelope, &mut body) => anyhow::bail!("{outcome:?}"),
            swept = async {
                timeout(DEADLINE, reached.notified()).await?;
                let begun = async || Ok(broken.server.unfinished()?);
                until("parts", DEADLINE, begun, |parts| *parts >= 2).await?;
                let young = broken.store.sweep_unfinished(Duration::from_secs(3600)).await?;
                anyhow::Ok((young, broken.store.sweep_unfinished(Duration::ZERO).await?))
            } => swept,
        }
    };
    ensure!(put.await? == (0, 1));
    broken.assert_clean(&[]).await
}
