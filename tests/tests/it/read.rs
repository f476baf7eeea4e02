//! The read side: content, listings, deletion.

use anyhow::{Result, ensure};
use headworks_shared::http::Code;
use headworks_tests::{Client, Config, DEADLINE, Headworks, digest, remains, until};
use http::Method;

async fn stored(client: Client, path: &str, content: impl Into<bytes::Bytes>) -> Result<String> {
    client.put(path, content).header("prefer", "wait=10").send().await?.with_status(201)?.text("id")
}

#[tokio::test]
async fn content_is_read_whole_in_parts_and_only_when_it_is_new() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let client = headworks.client();
        let bytes = digest::content(4, 400_000);
        let id = stored(client, "dir/a.bin", bytes.clone()).await?;
        for target in [format!("/v1/objects/{id}/content"), "/v1/files/dir/a.bin".to_owned()] {
            let whole = client.get(&target).send().await?.with_status(200)?;
            ensure!(whole.body == bytes && whole.header("accept-ranges") == "bytes", "{:?}", whole.headers);
            let etag = whole.header("etag").to_owned();
            ensure!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
            for (range, from, to) in [
                ("0-0", 0, 1),
                ("100-70000", 100, 70_001),
                ("399999-", 399_999, 400_000),
                ("-10", 399_990, 400_000),
            ] {
                let part = client
                    .get(&target)
                    .header("range", format!("bytes={range}"))
                    .send()
                    .await?
                    .with_status(206)?;
                ensure!(part.body == bytes.slice(from..to), "bytes={range} of {target}");
                ensure!(
                    part.header("content-range") == format!("bytes {from}-{}/400000", to - 1),
                    "{:?}",
                    part.headers
                );
            }
            let beyond = client.get(&target).header("range", "bytes=400000-").send().await?;
            beyond.problem(Code::RangeNotSatisfiable)?;
            ensure!(beyond.header("content-range") == "bytes */400000", "{beyond:?}");
            let known = client.get(&target).header("if-none-match", &etag).send().await?.with_status(304)?;
            ensure!(known.body.is_empty() && known.header("etag") == etag, "{known:?}");
            client.get(&target).header("if-none-match", "\"other\"").send().await?.with_status(200)?;
            let head = client.call(Method::HEAD, &target).send().await?.with_status(200)?;
            ensure!(head.body.is_empty() && head.header("content-length") == "400000", "{head:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_listing_goes_on_from_page_to_page() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let client = headworks.client();
        for name in ["l/a", "l/b", "l/c", "l/d", "l/e", "m"] {
            stored(client, name, "x").await?;
        }
        stored(client, "l/b", "a newer one").await?;
        let (mut paths, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = client
                .get(&format!("/v1/objects?prefix=l/&limit=2{cursor}"))
                .send()
                .await?
                .with_status(200)?
                .json()?;
            let names = page["objects"].as_array().into_iter().flatten();
            paths.extend(names.filter_map(|object| object["path"].as_str().map(str::to_owned)));
            pages += 1;
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        ensure!(paths == ["l/a", "l/b", "l/c", "l/d", "l/e"] && pages == 3, "{paths:?} on {pages} pages");
        // Whose it is, decides who sees it.
        let others = client.get("/v1/objects").header("x-org-id", "other").send().await?.with_status(200)?;
        ensure!(others.json()?["objects"] == serde_json::json!([]), "{others:?}");
        client.get("/v1/objects?limit=many").send().await?.problem(Code::BadQuery)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_was_deleted_is_gone() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let client = headworks.client();
        let id = stored(client, "a", "x").await?;
        let object = format!("/v1/objects/{id}");
        client
            .call(Method::DELETE, &object)
            .header("x-org-id", "other")
            .send()
            .await?
            .problem(Code::NotFound)?;
        client.call(Method::DELETE, &object).send().await?.with_status(204)?;
        client.get(&object).send().await?.problem(Code::Deleted)?;
        client.get(&format!("{object}/content")).send().await?.problem(Code::Deleted)?;
        client.get("/v1/files/a").send().await?.problem(Code::NotFound)?;
        client.call(Method::DELETE, &object).send().await?.with_status(204)?;
        let left = async || remains::objects(&headworks.data());
        until("the bytes to go", DEADLINE, left, Vec::is_empty).await?;
        let listing = client.get("/v1/objects").send().await?.with_status(200)?.json()?;
        ensure!(listing["objects"] == serde_json::json!([]), "{listing}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_version_before_shows_again_when_the_newest_is_deleted() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let client = headworks.client();
        stored(client, "a", "old").await?;
        let newest = stored(client, "a", "new").await?;
        ensure!(client.get("/v1/files/a").send().await?.body == "new");
        client.call(Method::DELETE, &format!("/v1/objects/{newest}")).send().await?.with_status(204)?;
        ensure!(client.get("/v1/files/a").send().await?.body == "old");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_never_was_is_not_found() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        for target in
            ["/v1/files/a", "/v1/objects/0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a10", "/v1/objects/x", "/", "/v2"]
        {
            headworks.client().get(target).send().await?.problem(Code::NotFound)?;
        }
        Ok(())
    })
    .await
}
