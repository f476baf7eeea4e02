//! Paths that could mislead.

use anyhow::{Context as _, Result, ensure};
use headworks_shared::http::Code;
use headworks_tests::{Config, Headworks, Raw, raw::put};

const EMPTY: [&str; 5] = ["/", "//", "a//b", "a/", "/a"];
const STEPS: [&str; 10] =
    ["..", ".", "../a", "a/..", "a/../b", "a/./b", "%2e%2e/a", "a/%2E%2e/b", "..%2fa", "%2Fetc%2Fpasswd"];
const CONTROL: [&str; 5] = ["a%00b", "a%0ab", "a%0D%0Ab", "a%7F", "a%C2%85b"];
const NO_ENCODING: [&str; 3] = ["a%", "a%2", "a%zz"];
const NO_TEXT: [&str; 3] = ["a%ff", "%c0%ae%c0%ae/a", "%ed%a0%80"];

#[tokio::test]
async fn every_bad_path_is_refused_unread() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let (long, deep) = ("a".repeat(1025), "a/".repeat(600) + "a");
        for path in [&EMPTY[..], &STEPS, &CONTROL, &NO_ENCODING, &NO_TEXT, &[&long, &deep]].concat() {
            // No byte of the body is sent: the answer comes without it.
            let head = put(path, &["Content-Length: 1", "Expect: 100-continue"]);
            let answer = Raw::ask(headworks.listen(), head).await.with_context(|| path.to_owned())?;
            answer.problem(Code::BadPath).with_context(|| format!("PUT {path}"))?;
            ensure!(answer.interim.is_empty(), "{path}: {answer:?}");
            let reading = headworks.client().get(&format!("/v1/files/{path}")).send().await?;
            reading.problem(Code::BadPath).with_context(|| format!("GET {path}"))?;
        }
        headworks.nothing_is_left().await
    })
    .await
}

#[tokio::test]
async fn other_scripts_and_long_names_are_fine() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let longest = "a".repeat(1024);
        for (path, named) in [
            ("2026/caf%C3%A9%20menu.pdf", "2026/café menu.pdf"),
            ("...", "..."),
            ("a%2Fb", "a/b"),
            ("%E6%97%A5%E6%9C%AC", "日本"),
            ("q%3Fx%3D1%23y", "q?x=1#y"),
            (&longest, &longest),
        ] {
            let receipt = headworks
                .client()
                .put(path, "x")
                .header("prefer", "wait=10")
                .send()
                .await?
                .with_status(201)?;
            ensure!(receipt.text("path")? == named, "{receipt:?}");
            headworks.client().get(&format!("/v1/files/{path}")).send().await?.with_status(200)?;
        }
        Ok(())
    })
    .await
}
