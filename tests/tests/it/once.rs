//! Uploads that must count once: repeats of a key, and races for a path.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use headworks_shared::http::Code;
use headworks_tests::{Config, DEADLINE, Headworks, digest, remains, until};
use http::Method;

#[tokio::test]
async fn a_repeat_gets_the_same_answer_and_no_second_object() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let put = || headworks.client().put("a", "hello").header("idempotency-key", "k-1");
        let first = put().send().await?.with_status(201)?;
        let mut again = put().send().await?;
        for _ in 0..2 {
            ensure!(matches!(again.status, 200 | 201), "{again:?}");
            ensure!(again.text("id")? == first.text("id")?, "{again:?} after {first:?}");
            ensure!(again.json()?["received_at"] == first.json()?["received_at"], "{again:?}");
            // Also when it is stored.
            headworks.until_idle().await?;
            again = put().send().await?;
        }
        // The key is the scope's own.
        let other = put().header("x-org-id", "other").send().await?.with_status(201)?;
        ensure!(other.text("id")? != first.text("id")?);
        headworks.until_idle().await?;
        ensure!(remains::objects(&headworks.data())?.len() == 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_key_is_good_for_one_content_and_one_path() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let put = |path: &str, content: &'static str| {
            let digest = digest::header("sha-256", content.as_bytes());
            headworks
                .client()
                .put(path, content)
                .header("idempotency-key", "k")
                .header("content-digest", digest)
        };
        put("a", "hello").send().await?.with_status(201)?;
        put("a", "another").send().await?.problem(Code::KeyReused).context("other content")?;
        put("b", "hello").send().await?.problem(Code::KeyReused).context("other path")?;
        let unannounced = headworks.client().put("a", "jello").header("idempotency-key", "k").send().await?;
        unannounced.problem(Code::KeyReused).context("other content without a digest")?;
        headworks.until_idle().await?;
        ensure!(remains::objects(&headworks.data())?.len() == 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn repeats_at_the_same_time_make_one_object() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let bytes = digest::content(3, 300_000);
        let repeat = || headworks.client().put("a", bytes.clone()).header("idempotency-key", "k").send();
        let answers = try_join_all((0..16).map(|_| repeat())).await?;
        for answer in &answers {
            ensure!(answer.status == 201 && answer.text("id")? == answers[0].text("id")?, "{answer:?}");
        }
        headworks.until_idle().await?;
        ensure!(remains::objects(&headworks.data())?.len() == 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_repeat_of_what_was_deleted_does_not_bring_it_back() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let put = || headworks.client().put("a", "hello").header("idempotency-key", "k");
        let id = put().header("prefer", "wait=5").send().await?.with_status(201)?.text("id")?;
        headworks
            .client()
            .call(Method::DELETE, &format!("/v1/objects/{id}"))
            .send()
            .await?
            .with_status(204)?;
        put().send().await?.problem(Code::Deleted)?;
        headworks.until_idle().await?;
        ensure!(remains::objects(&headworks.data())?.is_empty());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_key_is_free_again_when_its_upload_broke_off() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let put = |content: &'static str| headworks.client().put("a", content).header("idempotency-key", "k");
        let wrong = put("hello").header("content-digest", digest::header("sha-256", b"other")).send().await?;
        wrong.problem(Code::DigestMismatch)?;
        put("hello").send().await?.with_status(201)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn of_those_who_race_for_a_free_path_exactly_one_wins() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        for round in 0..5 {
            let race = |racer: u64| {
                let bytes = digest::content(racer, 50_000);
                headworks.client().put(&format!("race/{round}"), bytes).header("if-none-match", "*").send()
            };
            let answers = try_join_all((0..12).map(race)).await?;
            for lost in answers.iter().filter(|answer| answer.status != 201) {
                lost.problem(Code::Exists)?;
            }
            let won: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
            ensure!(won.len() == 1, "{won:#?}");
            let there =
                headworks.client().get(&format!("/v1/files/race/{round}")).send().await?.with_status(200)?;
            let by_id = format!("/v1/objects/{}/content", won[0].text("id")?);
            ensure!(there.body == headworks.client().get(&by_id).send().await?.with_status(200)?.body);
        }
        headworks.until_idle().await?;
        let left = async || remains::objects(&headworks.data());
        until("the bytes of the losers to go", DEADLINE, left, |left| left.len() == 5).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_path_that_is_taken_is_not_free() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let put = || headworks.client().put("a", "x");
        let first = put().header("if-none-match", "*").send().await?.with_status(201)?;
        put().header("if-none-match", "*").send().await?.problem(Code::Exists)?;
        // Without the condition it is the next version.
        let second = put().header("prefer", "wait=5").send().await?.with_status(201)?;
        let versions = format!("/v1/objects/{}/versions", second.text("id")?);
        let versions = headworks.client().get(&versions).send().await?.with_status(200)?.json()?;
        ensure!(
            versions["versions"][0]["version"] == 2 && versions["versions"][1]["id"] == first.text("id")?,
            "{versions}"
        );
        Ok(())
    })
    .await
}
