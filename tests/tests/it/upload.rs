//! Uploads that go well.

use anyhow::{Result, ensure};
use bytes::Bytes;
use headworks_shared::http::Code;
use headworks_tests::{Config, Headworks, Raw, digest::content, raw::put};

const EXPECT: &str = "Expect: 100-continue";

#[tokio::test]
async fn what_was_put_is_there_byte_for_byte() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let client = headworks.client();
        for size in [0, 1, 65_535, 65_536, 65_537, 3_000_000] {
            let bytes = content(size as u64, size);
            let pieces: Vec<Bytes> = bytes.chunks(70_001).map(Bytes::copy_from_slice).collect();
            for (name, call) in [
                ("known", client.put("a/b", bytes.clone())),
                ("chunked", client.put("a/b", "").chunks(pieces)),
            ] {
                let receipt = call.header("content-type", "text/x-test").send().await?.with_status(201)?;
                let id = receipt.text("id")?;
                ensure!(receipt.header("location") == format!("/v1/objects/{id}"), "{receipt:?}");
                ensure!(!receipt.header("etag").is_empty(), "{receipt:?}");
                let json = receipt.json()?;
                ensure!(
                    json["path"] == "a/b" && json["size"] == size && json["content_type"] == "text/x-test",
                    "{json}"
                );
                ensure!(json["status"] == "queued" || json["status"] == "stored", "{json}");
                let there =
                    client.get(&format!("/v1/objects/{id}/content")).send().await?.with_status(200)?;
                ensure!(there.body == bytes, "{name}, {size} bytes: {} came back", there.body.len());
                ensure!(there.header("content-type") == "text/x-test", "{:?}", there.headers);
            }
        }
        headworks.until_idle().await
    })
    .await
}

#[tokio::test]
async fn a_client_that_waits_is_told_when_it_is_stored() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let put = headworks.client().put("a", "x").header("prefer", "wait=5");
        let receipt = put.send().await?.with_status(201)?;
        ensure!(receipt.text("status")? == "stored", "{receipt:?}");
        let told = headworks.client().get(receipt.header("location")).send().await?.with_status(200)?;
        ensure!(told.text("status")? == "stored" && told.json()?["version"] == 1, "{told:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn continue_is_said_only_when_the_body_is_wanted() -> Result<()> {
    let config = Config::new()?.text("ingest.max_object", "1MiB");
    Headworks::run(config, async |headworks| {
        let mut raw = Raw::connect(headworks.listen()).await?;
        raw.send(put("a", &["Content-Length: 5", "Prefer: wait=10", EXPECT])).await?;
        ensure!(raw.wanted().await?.is_none(), "it was refused");
        raw.send(b"hello").await?;
        raw.answer().await?.with_status(201)?;
        let fields = ["If-None-Match: *", "Content-Length: 5", EXPECT];
        for (head, code) in [
            (put("a", &fields), Code::Exists),
            (put("a/../b", &fields), Code::BadPath),
            (put("a", &fields).replace("/v1/files", ""), Code::NotFound),
            (put("a", &fields).replace("PUT", "PATCH"), Code::MethodNotAllowed),
        ] {
            let answer = Raw::ask(headworks.listen(), head).await?;
            answer.problem(code)?;
            ensure!(answer.interim.is_empty(), "{answer:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_urgency_is_taken() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        for urgency in 0..=7 {
            let put = headworks
                .client()
                .put(&format!("u/{urgency}"), "x")
                .header("priority", format!("u={urgency}"));
            let receipt = put.header("prefer", "wait=5").send().await?.with_status(201)?;
            ensure!(receipt.text("status")? == "stored", "{receipt:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn many_uploads_share_one_connection() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let mut raw = Raw::connect(headworks.listen()).await?;
        for (framing, body) in [
            ("Content-Length: 5", "hello"),
            ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
            ("Transfer-Encoding: chunked", "2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: z\r\n\r\n"),
            ("Content-Length: 5", "hello"),
        ] {
            raw.send(put("a", &[framing]) + body).await?;
            let receipt = raw.answer().await?.with_status(201)?;
            ensure!(receipt.json()?["size"] == 5, "{receipt:?}");
        }
        Ok(())
    })
    .await
}
