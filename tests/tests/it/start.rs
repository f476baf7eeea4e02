//! From nothing to listening, and what an operator can ask.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use headworks_shared::http::Code;
use headworks_tests::{Config, Headworks, process::command_line};

/// Of five tries one must be quick: the machine may be busy with something else in the others.
const TRIES: usize = 5;

#[tokio::test]
async fn starts_from_nothing_in_under_a_second() -> Result<()> {
    let mut took = Vec::new();
    while took.len() < TRIES {
        let config = Config::new()?;
        ensure!(!config.data().exists());
        let headworks = Headworks::start(&config).await?;
        ensure!(config.data().join("objects").is_dir(), "no folder for objects");
        took.push(headworks.took());
        headworks.stop().await?;
        if took.iter().any(|took| *took < Duration::from_secs(1)) {
            return Ok(());
        }
    }
    anyhow::bail!("it took {took:?}")
}

#[tokio::test]
async fn its_threads_take_turns_unless_whoever_starts_it_chose_otherwise() -> Result<()> {
    // `SCHED_OTHER` and `SCHED_BATCH`, of linux/sched.h.
    const OTHER: i32 = 0;
    const BATCH: i32 = 3;
    let expect = async |niceness, policy| {
        let headworks = Headworks::start(&Config::new()?).await?;
        let seen = headworks.scheduling()?;
        ensure!(!seen.is_empty() && seen.iter().all(|one| *one == (niceness, policy)), "{seen:?}");
        headworks.stop().await
    };
    expect(0, BATCH).await?;
    // Of this test's thread, and of what it starts.
    rustix::process::nice(1)?;
    expect(1, OTHER).await
}

#[tokio::test]
async fn the_curl_line_works_when_pasted() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let banner = headworks.banner();
        let line = banner.iter().find_map(|line| line.split_once("curl ")).context("no curl line")?;
        let before = line.0.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        // What stands before curl is part of the command only where it pipes into it.
        let pasted = if before.contains('|') {
            format!("{before}curl {}", line.1)
        } else {
            format!("curl {}", line.1)
        };
        let empty = tempfile::tempdir()?;
        let output = Command::new("sh").args(["-c", &pasted]).current_dir(&empty).output()?;
        ensure!(output.status.success(), "{pasted}: {output:?}");
        let receipt: serde_json::Value =
            serde_json::from_slice(&output.stdout).with_context(|| format!("{pasted}: {output:?}"))?;
        let id = receipt["id"].as_str().with_context(|| format!("no id in {receipt}"))?;
        let content = headworks.client().get(&format!("/v1/objects/{id}/content")).send().await?;
        ensure!(content.with_status(200)?.body.len() as u64 == receipt["size"], "{receipt}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn tells_operators_how_it_is() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        for path in ["/livez", "/readyz", "/healthz"] {
            headworks.admin().get(path).send().await?.with_status(200)?;
            // None of it is for the public.
            headworks.client().get(path).send().await?.with_status(404)?;
        }
        let ready = format!("http://{}/readyz", headworks.operators());
        ensure!(command_line(&["health", &ready])?.code == Some(0));
        ensure!(headworks.log().iter().any(|line| line.contains("started")), "{:?}", headworks.log());
        let metrics = headworks.metrics().await?;
        ensure!(metrics.busy()? == [0.0; 5], "{:?}", metrics.busy());
        ensure!(metrics.sum("headworks_intake_open", &[])? == 1.0);
        for name in [
            "headworks_queue_capacity_jobs",
            "headworks_intake_shut",
            "headworks_refusals_total",
            "headworks_uploads_total",
            "headworks_upload_bytes_total",
            "headworks_buffer_limit_bytes",
            "headworks_memory_used_ratio",
            "headworks_disk_free_ratio",
            "headworks_jobs_total",
            "headworks_dead_jobs",
            "headworks_deliveries_total",
            "headworks_outbox_pending",
            "headworks_sweep_adopted_total",
        ] {
            metrics.sum(name, &[])?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_request_keeps_its_id() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let client = headworks.client();
        let put = client.put("a", "x").header("x-request-id", "r-1").send().await?.with_status(201)?;
        ensure!(put.header("x-request-id") == "r-1", "{put:?}");
        let missing = client.get("/v1/files/b").header("x-request-id", "r-2").send().await?;
        let problem = missing.problem(Code::NotFound)?;
        ensure!(problem["request_id"] == "r-2", "{problem}");
        let made = client.put("c", "x").send().await?.with_status(201)?;
        ensure!(!made.header("x-request-id").is_empty(), "{made:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn five_mistakes_in_the_settings_are_told_at_once() -> Result<()> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("headworks.toml");
    std::fs::write(
        &file,
        "[queue]\ncapacity = 0\nsize = 3\n\
         [ingest.limits]\nhold = 5\nstreems = 1\n\
         [memory]\nopen_below = 85\n",
    )?;
    let (file, data) = (file.display().to_string(), home.path().join("data"));
    let exit = command_line(&["serve", "--config", &file, "--data-dir", &data.display().to_string()])?;
    ensure!(exit.code == Some(64), "{exit:#?}");
    let told = exit.stderr.join("\n");
    for key in
        ["queue.capacity", "queue.size", "ingest.limits.hold", "ingest.limits.streems", "memory.open_below"]
    {
        ensure!(told.contains(key), "{key} is missing in:\n{told}");
    }
    ensure!(!data.exists(), "the data directory was made");
    Ok(())
}

#[tokio::test]
async fn a_wrong_command_line_is_told() -> Result<()> {
    for arguments in
        [&["serve", "--no-such-flag"][..], &["no-such-command"], &["serve", "--listen", "nowhere"]]
    {
        let exit = command_line(arguments)?;
        ensure!(exit.code == Some(64) && !exit.stderr.is_empty(), "{arguments:?}: {exit:#?}");
    }
    Ok(())
}
