//! Bodies that are not what their head announced.

use anyhow::{Context as _, Result, ensure};
use headworks_shared::http::Code;
use headworks_tests::{Config, DEADLINE, Headworks, Raw, raw::put};

fn chunked() -> String {
    put("a", &["Transfer-Encoding: chunked"])
}

#[tokio::test]
async fn a_body_that_breaks_off_or_is_malformed_leaves_nothing() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let (length, chunked) = (put("a", &["Content-Length: 200000"]), chunked());
        let (part, most) = ("x".repeat(100), "x".repeat(150_000));
        for (name, request) in [
            ("no byte of it", length.clone()),
            ("a small part of it", format!("{length}{part}")),
            ("most of it", format!("{length}{most}")),
            ("no chunk", chunked.clone()),
            ("half a chunk", format!("{chunked}ff\r\n{part}")),
            ("a chunk and no last one", format!("{chunked}64\r\n{part}\r\n")),
            ("many bytes and no last chunk", format!("{chunked}249f0\r\n{most}\r\n")),
            ("no end of the trailer", format!("{chunked}64\r\n{part}\r\n0\r\n")),
            ("a chunk size that is none", format!("{chunked}zz\r\n{part}")),
            ("a chunk size with a sign", format!("{chunked}-1\r\n{part}")),
            ("an endless chunk", format!("{chunked}fffffffffffffffff\r\n{part}")),
            ("a chunk longer than it says", format!("{chunked}10\r\n{part}\r\n0\r\n\r\n")),
            ("a bare line feed", format!("{chunked}64\r\n{part}\n0\r\n\r\n")),
        ] {
            let mut raw = Raw::connect(headworks.listen()).await?;
            raw.send(request).await?;
            raw.half_close().await?;
            raw.answer().await.context(name)?.problem(Code::BadBody).context(name)?;
            raw.closed(DEADLINE).await.context(name)?;
            headworks.nothing_is_left().await.context(name)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_comes_behind_the_announced_length_is_no_part_of_the_object() -> Result<()> {
    let head = put("a", &["Content-Length: 5", "Prefer: wait=10"]);
    Headworks::run(Config::new()?, async |headworks| {
        // In one piece, and behind the answer: what was acknowledged stays as it is.
        for (sent_with, sent_behind) in [(" and more\r\n\r\n", ""), ("", " and more\r\n\r\n")] {
            let mut raw = Raw::connect(headworks.listen()).await?;
            raw.send(format!("{head}hello{sent_with}")).await?;
            let receipt = raw.answer().await?.with_status(201)?;
            ensure!(receipt.json()?["size"] == 5, "{receipt:?}");
            raw.send(sent_behind).await?;
            raw.answer().await?.problem(Code::MalformedRequest)?;
            raw.closed(DEADLINE).await?;
        }
        let content = headworks.client().get("/v1/files/a").send().await?;
        ensure!(content.body == "hello", "{content:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_object_that_is_too_large_is_refused_before_its_body() -> Result<()> {
    let config = Config::new()?.text("ingest.max_object", "1MiB");
    Headworks::run(config, async |headworks| {
        let length = "Content-Length: 1048577";
        for fields in [&[length][..], &[length, "Expect: 100-continue"]] {
            // The whole of the body is missing, and yet there is an answer.
            let answer = Raw::ask(headworks.listen(), put("a", fields)).await?;
            answer.problem(Code::TooLarge)?;
            ensure!(answer.interim.is_empty(), "{answer:?}");
        }
        headworks.nothing_is_left().await?;
        headworks.client().put("a", vec![b'x'; 1 << 20]).send().await?.with_status(201)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_off_at_the_limit() -> Result<()> {
    let config = Config::new()?.text("ingest.max_object", "1MiB").text("ingest.limits.linger", "8MiB");
    Headworks::run(config, async |headworks| {
        let piece = format!("10000\r\n{}\r\n", "x".repeat(64 << 10));
        let mut raw = Raw::connect(headworks.listen()).await?;
        raw.send(chunked()).await?;
        raw.send(piece.repeat(17)).await?;
        // No last chunk: it need not come to an end.
        raw.answer().await?.problem(Code::TooLarge)?;
        headworks.nothing_is_left().await?;
        // A client that sends on and on before it looks gets to read the answer too.
        let mut raw = Raw::connect(headworks.listen()).await?;
        raw.send(chunked()).await?;
        raw.send(piece.repeat(64)).await?;
        raw.answer().await?.problem(Code::TooLarge)?;
        headworks.nothing_is_left().await
    })
    .await
}
