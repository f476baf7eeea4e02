//! Forms with several files.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use headworks_shared::http::Code;
use headworks_tests::{Answer, Config, DEADLINE, Headworks, Raw, answer::check_problem, remains};
use http::Method;
use serde_json::Value;

const BOUNDARY: &str = "----a-boundary";

fn form(files: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (name, content) in files {
        let _written = write!(
            body,
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: text/plain\r\n\r\n{content}\r\n"
        );
    }
    body + &format!("--{BOUNDARY}--\r\n")
}

async fn post(headworks: &Headworks, kind: &str, body: impl Into<Bytes>) -> Result<Answer> {
    let call = headworks.client().call(Method::POST, "/v1/files").header("content-type", kind);
    call.body(body).send().await
}

fn multipart() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

fn results(answer: &Answer) -> Result<Vec<Value>> {
    let json = answer.json()?;
    let list = json.get("results").or_else(|| json.get("files")).unwrap_or(&json);
    Ok(list.as_array().with_context(|| format!("no results in {json}"))?.clone())
}

#[tokio::test]
async fn each_file_has_a_result_of_its_own() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let body = form(&[("one.txt", "first"), ("../two.txt", "second"), ("three.txt", "third")]);
        let answer = post(headworks, &multipart(), body).await?;
        ensure!(matches!(answer.status, 200 | 201 | 207), "{answer:?}");
        let results = results(&answer)?;
        ensure!(results.len() == 3, "{results:#?}");
        check_problem(&results[1], Code::BadPath).with_context(|| format!("{results:#?}"))?;
        for (result, content) in [(&results[0], "first"), (&results[2], "third")] {
            let id = result["id"].as_str().with_context(|| format!("no id in {results:#?}"))?;
            let there = headworks.client().get(&format!("/v1/objects/{id}/content")).send().await?;
            ensure!(there.body == content, "{there:?}");
        }
        headworks.until_idle().await?;
        ensure!(remains::objects(&headworks.data())?.len() == 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_no_form_is_refused() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let good = form(&[("a.txt", "x")]);
        for kind in [
            "text/plain",
            "multipart/form-data",
            "multipart/mixed; boundary=a",
            "application/x-www-form-urlencoded",
        ] {
            let answer = post(headworks, kind, good.clone()).await?;
            answer.problem(Code::UnsupportedMediaType).with_context(|| kind.to_owned())?;
        }
        headworks.nothing_is_left().await
    })
    .await
}

#[tokio::test]
async fn a_form_that_breaks_off_leaves_nothing_of_the_file_it_was_at() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let good = Bytes::from(form(&[("a.txt", &"x".repeat(100_000))]));
        for length in [0, 10, 60, 150, 50_000, good.len() - BOUNDARY.len() - 8] {
            let answer = post(headworks, &multipart(), good.slice(..length)).await?;
            answer.problem(Code::BadBody).with_context(|| format!("cut at {length}"))?;
            headworks.nothing_is_left().await.with_context(|| format!("cut at {length}"))?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn too_many_files_are_too_many() -> Result<()> {
    let config = Config::new()?.set("ingest.max_files_per_request", 2);
    Headworks::run(config, async |headworks| {
        let body = form(&[("1", "a"), ("2", "b"), ("3", "c"), ("4", "d")]);
        let answer = post(headworks, &multipart(), body).await?;
        let told = String::from_utf8_lossy(&answer.body).into_owned();
        ensure!(told.contains(Code::TooManyFiles.as_str()), "{answer:?}");
        headworks.until_idle().await?;
        // Those before were taken.
        ensure!(remains::objects(&headworks.data())?.len() == 2, "{answer:?}");
        Ok(())
    })
    .await
}

/// The head of a form that is longer than what a test sends of it.
fn endless() -> String {
    let kind = multipart();
    format!(
        "POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: 1000000000\r\n\r\n"
    )
}

#[tokio::test]
async fn a_form_without_a_boundary_or_with_an_endless_head_is_not_read_on() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        for begin in [String::new(), format!("--{BOUNDARY}\r\nX: ")] {
            let mut raw = Raw::connect(headworks.listen()).await?;
            raw.send(endless() + &begin).await?;
            raw.send(vec![b'a'; 10 << 20]).await?;
            // The body is a hundred times as long: who waits for its end does not answer.
            raw.answer().await?.problem(Code::BadBody).with_context(|| format!("after {begin:?}"))?;
            headworks.nothing_is_left().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_part_that_is_passed_over_keeps_to_the_bounds_of_an_object() -> Result<()> {
    let config = Config::new()?.text("ingest.max_object", "1MiB").text("ingest.limits.min_rate", "100KiB");
    Headworks::run(config, async |headworks| {
        let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\n");
        let mut raw = Raw::connect(headworks.listen()).await?;
        raw.send(endless() + &part).await?;
        raw.send(vec![b'x'; 2 << 20]).await?;
        raw.answer().await?.problem(Code::TooLarge)?;
        let mut raw = Raw::connect(headworks.listen()).await?;
        raw.send(endless() + &part).await?;
        // 10 KiB a second: never a stall, and never enough. The grace is 10 s, and the window 30 s.
        let answer = raw.trickle(&[b'x'; 1024], Duration::from_millis(100), Duration::from_secs(60)).await?;
        answer.problem(Code::TooSlow)?;
        headworks.nothing_is_left().await
    })
    .await
}

#[tokio::test]
async fn a_form_of_many_small_parts_keeps_to_the_least_rate() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nx\r\n");
        let mut raw = Raw::connect(headworks.listen()).await?;
        raw.send(endless()).await?;
        // Never a stall, and less than 1 KiB a second. The grace is 10 s, and the window 30 s.
        let answer =
            raw.trickle(part.as_bytes(), Duration::from_millis(200), Duration::from_secs(60)).await?;
        answer.problem(Code::TooSlow)?;
        headworks.nothing_is_left().await
    })
    .await
}

#[tokio::test]
async fn a_media_type_that_is_too_long_to_be_kept_is_told() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let long = format!("text/plain; x=\"{}\"", "y".repeat(4000));
        let put = headworks.client().put("a", "x").header("content-type", &long);
        put.send().await?.problem(Code::BadHeader)?;
        let body = form(&[("1", "first"), ("2", "second"), ("3", "third")]);
        let answer = post(headworks, &multipart(), body.replacen("text/plain", &long, 2)).await?;
        let results = results(&answer)?;
        ensure!(results.len() == 3 && results[2]["id"].is_string(), "{results:#?}");
        check_problem(&results[0], Code::BadHeader)?;
        check_problem(&results[1], Code::BadHeader)?;
        headworks.until_idle().await?;
        ensure!(remains::objects(&headworks.data())?.len() == 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_breaks_a_form_learns_which_files_were_taken() -> Result<()> {
    let config = Config::new()?.text("ingest.limits.stall_timeout", "1s");
    Headworks::run(config, async |headworks| {
        let file = form(&[("a.txt", "taken")]);
        let begun = file.strip_suffix("--\r\n").context("a form's end")?;
        // What follows the boundary is no part; a head without an end; and silence.
        let breaks = [("no part", Code::BadBody), ("\r\nX: ", Code::BadBody), ("\r\n", Code::TooSlow)];
        for (taken, (rest, code)) in breaks.into_iter().enumerate() {
            let mut raw = Raw::connect(headworks.listen()).await?;
            raw.send(endless() + begun + rest).await?;
            if rest.ends_with(' ') {
                raw.send(vec![b'a'; 1 << 20]).await?;
            }
            let answer = raw.answer().await?.with_status(207)?;
            raw.closed(DEADLINE).await?;
            let results = results(&answer)?;
            ensure!(results.len() == 2 && results[0]["id"].is_string(), "{results:#?}");
            check_problem(&results[1], code).with_context(|| format!("{rest:?}: {results:#?}"))?;
            headworks.until_idle().await?;
            ensure!(remains::objects(&headworks.data())?.len() == taken + 1);
        }
        Ok(())
    })
    .await
}
