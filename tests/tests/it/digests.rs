//! What the bytes must add up to.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use headworks_shared::http::Code;
use headworks_tests::{
    Config, Headworks,
    digest::{ALGORITHMS, content, header},
};

const FIELDS: [&str; 2] = ["content-digest", "repr-digest"];

/// One that is read whole, and one that is streamed.
const SIZES: [usize; 2] = [1000, 300_000];

fn pieces(content: &Bytes) -> Vec<Bytes> {
    content.chunks(50_000).map(Bytes::copy_from_slice).collect()
}

#[tokio::test]
async fn a_body_with_another_digest_leaves_nothing() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        for algorithm in ALGORITHMS {
            for field in FIELDS {
                for size in SIZES {
                    let wanted = header(algorithm, b"something else");
                    let bytes = content(1, size);
                    let put = || headworks.client().put("a", bytes.clone()).header(field, &wanted);
                    let name = || format!("{field} {algorithm}, {size} bytes");
                    put().send().await?.problem(Code::DigestMismatch).with_context(name)?;
                    let chunked = put().chunks(pieces(&bytes)).send().await?;
                    chunked.problem(Code::DigestMismatch).with_context(name)?;
                    headworks.nothing_is_left().await.with_context(name)?;
                }
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_digest_that_cannot_be_read_is_refused() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        for value in [
            "sha-256",
            "sha-256=",
            "sha-256=abc",
            "sha-256=:abc",
            "sha-256=:!!!!:",
            "sha-256=:YWJj:",
            "sha-256=\"abc\"",
            "sha-512=:YWJj:",
            "crc64nvme=:YWJj:",
            ":YWJj:",
        ] {
            for field in FIELDS {
                let answer = headworks.client().put("a", "x").header(field, value).send().await?;
                answer.problem(Code::BadDigest).with_context(|| format!("{field}: {value}"))?;
            }
        }
        headworks.nothing_is_left().await
    })
    .await
}

#[tokio::test]
async fn a_body_with_the_right_digests_is_taken_and_told_back() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        for size in SIZES {
            let bytes = content(2, size);
            let all = ALGORITHMS.map(|algorithm| header(algorithm, &bytes)).join(", ");
            for field in FIELDS {
                let put = || headworks.client().put("a", bytes.clone()).header(field, &all);
                for answer in [put().send().await?, put().chunks(pieces(&bytes)).send().await?] {
                    let answer = answer.with_status(201)?;
                    for algorithm in ["sha-256", "crc64nvme"] {
                        let told = answer.header("repr-digest");
                        ensure!(told.contains(&header(algorithm, &bytes)), "{algorithm} is not in {told}");
                    }
                }
            }
        }
        Ok(())
    })
    .await
}
