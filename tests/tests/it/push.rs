//! `headworks push`: what it was given is stored, once, whatever happens to the server or to itself.

mod run;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use headworks_tests::{Config, DEADLINE, Headworks, digest::content, process::audit, until};
use run::{Files, Push, ended_with, has_exactly, write};
use serde_json::Value;

const MANIFEST: &str = "headworks-push.jsonl";

/// Few streams, and nobody may wait for one for long: then most of what comes at once is refused.
fn narrow() -> Result<Config> {
    Ok(Config::new()?.set("ingest.limits.streams", 4).text("ingest.limits.hold", "20ms"))
}

/// A folder `name` of so many small files, some of them empty, in folders with names that need encoding.
fn small(name: &str, count: u64) -> Files {
    let file = |number: u64| {
        let folder = ["", "a b/", "日本/é#?%/", "deep/er/"][usize::try_from(number % 4).unwrap_or_default()];
        let size = usize::try_from(number * number % 150_000).unwrap_or_default();
        (format!("{name}/{folder}{number} +&.bin"), content(number, size))
    };
    (0..count).map(file).collect()
}

fn url(headworks: &Headworks) -> String {
    format!("http://{}", headworks.listen())
}

/// What a manifest says: object path and id.
fn manifest(home: &Path) -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(home.join(MANIFEST))?;
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line)?;
        let member = |name: &str| line[name].as_str().map(str::to_owned).context("a member");
        Ok((member("object")?, member("id")?))
    };
    text.lines().map(read).collect()
}

#[tokio::test]
async fn a_folder_goes_up_through_refusals_and_a_second_run_has_nothing_to_do() -> Result<()> {
    let mut files = small("photos", 200);
    files.insert("photos/large".to_owned(), content(7, 20 << 20));
    Headworks::run(narrow()?, async |headworks| {
        let (home, url) = (tempfile::tempdir()?, url(headworks));
        write(home.path(), &files)?;
        std::os::unix::fs::symlink("/etc", home.path().join("photos/link"))?;
        let arguments = ["photos", "--to", &url, "--parallel", "32"];
        let first = Push::run(home.path(), &arguments).await?;
        ended_with(&first, 0, &["201 files stored, 0 done before, 0 failed, 1 passed over"])?;
        ensure!(!first.stdout.join("\n").contains(" 0 refusals"), "nothing was refused: {first:#?}");
        ensure!(first.stderr.iter().any(|line| line.contains("photos/link: a symbolic link")), "{first:#?}");
        let plain = [&first.stdout[..], &first.stderr].concat();
        ensure!(plain.iter().all(|line| !line.contains(['\u{1b}', '\r'])), "not plain: {plain:?}");
        has_exactly(headworks, &files).await?;
        let second = Push::run(home.path(), &arguments).await?;
        ended_with(&second, 0, &["0 files stored, 201 done before, 0 failed"])?;
        has_exactly(headworks, &files).await
    })
    .await
}

#[tokio::test]
async fn a_run_that_was_killed_goes_on_and_nothing_is_stored_twice() -> Result<()> {
    let files = small("docs", 300);
    Headworks::run(narrow()?, async |headworks| {
        let (home, url) = (tempfile::tempdir()?, url(headworks));
        write(home.path(), &files)?;
        let arguments = ["docs", "--to", &url, "--parallel", "8", "--verbose"];
        for stored in [20, 60, 100] {
            let push = Push::start(home.path(), &arguments)?;
            push.until_stored(stored).await?;
            ensure!(push.kill()? < files.len(), "it was done before it was killed");
        }
        // As a power cut would leave it: the last lines are lost, and one is torn.
        let path = home.path().join(MANIFEST);
        let length = std::fs::metadata(&path)?.len();
        std::fs::File::options().write(true).open(&path)?.set_len(length - 1000)?;
        let last = Push::run(home.path(), &arguments).await?;
        ended_with(&last, 0, &[", 0 failed"])?;
        ensure!(!last.stdout.join("\n").contains(" 0 done before"), "{last:#?}");
        has_exactly(headworks, &files).await?;
        let mut acknowledged = manifest(home.path())?;
        ensure!(acknowledged.len() == files.len(), "{} lines", acknowledged.len());
        acknowledged.sort();
        // Without a manifest, the keys alone make it the same uploads.
        std::fs::remove_file(&path)?;
        ended_with(&Push::run(home.path(), &arguments).await?, 0, &["300 files stored, 0 done before"])?;
        let mut again = manifest(home.path())?;
        again.sort();
        ensure!(again == acknowledged, "other ids");
        has_exactly(headworks, &files).await
    })
    .await
}

#[tokio::test]
async fn a_server_that_dies_on_the_way_is_waited_for() -> Result<()> {
    let files = small("f", 300);
    let config = narrow()?;
    let headworks = Headworks::start(&config).await?;
    let (home, url) = (tempfile::tempdir()?, url(&headworks));
    let config = config.listen(headworks.listen());
    write(home.path(), &files)?;
    let push = Push::start(home.path(), &["f", "--to", &url, "--parallel", "8", "--verbose"])?;
    push.until_stored(50).await?;
    headworks.kill()?;
    let headworks = Headworks::start(&config).await?;
    push.until_stored(150).await?;
    headworks.kill()?;
    let headworks = Headworks::start(&config).await?;
    let exit = push.ended().await?;
    ended_with(&exit, 0, &["300 files stored, 0 done before, 0 failed"])?;
    ensure!(exit.stderr.iter().any(|line| line.starts_with("again: ")), "no try failed: {exit:#?}");
    has_exactly(&headworks, &files).await?;
    headworks.stop().await?;
    audit(&config)
}

#[tokio::test]
async fn what_the_server_never_takes_is_told_and_the_others_are_stored() -> Result<()> {
    let mut files = small("f", 20);
    let config = Config::new()?.text("ingest.max_object", "1MiB");
    Headworks::run(config, async |headworks| {
        let (home, url) = (tempfile::tempdir()?, url(headworks));
        write(home.path(), &files)?;
        let large = Files::from([("f/too large".to_owned(), content(1, 3 << 20))]);
        write(home.path(), &large)?;
        std::fs::write(home.path().join("f/line\nbreak"), "x")?;
        let arguments = ["f", "missing", "--to", &url];
        for before in ["20 files stored, 0 done before", "0 files stored, 20 done before"] {
            let exit = Push::run(home.path(), &arguments).await?;
            let told = [
                "  f/too large: answered 413: the largest object is 1048576 bytes",
                "  f/line\\nbreak: the path has a control character",
                "  missing: No such file or directory",
            ];
            ended_with(&exit, 1, &[before, "3 failed"])?;
            ended_with(&exit, 1, &told)?;
        }
        has_exactly(headworks, &files).await?;
        // What was changed since goes up again, as the next version.
        std::fs::remove_file(home.path().join("f/too large"))?;
        std::fs::remove_file(home.path().join("f/line\nbreak"))?;
        let (path, _) = files.pop_first().context("a file")?;
        std::fs::write(home.path().join(&path), "new content")?;
        let exit = Push::run(home.path(), &["f", "--to", &url]).await?;
        ended_with(&exit, 0, &["1 file stored, 19 done before, 0 failed"])
    })
    .await
}

#[tokio::test]
async fn an_interrupted_run_says_so_and_goes_on_later() -> Result<()> {
    let files = small("f", 300);
    Headworks::run(narrow()?, async |headworks| {
        let (home, url) = (tempfile::tempdir()?, url(headworks));
        write(home.path(), &files)?;
        let arguments = ["f", "--to", &url, "--parallel", "8", "--verbose"];
        let push = Push::start(home.path(), &arguments)?;
        push.until_stored(30).await?;
        push.interrupt()?;
        let exit = push.ended().await?;
        ended_with(&exit, 1, &["interrupted; run it again to go on", " not sent", ", 0 failed"])?;
        let told = exit.stderr.iter().filter(|line| line.starts_with("stored: ")).count();
        ensure!(manifest(home.path())?.len() == told, "{told} were told");
        ended_with(&Push::run(home.path(), &arguments).await?, 0, &[", 0 failed"])?;
        has_exactly(headworks, &files).await
    })
    .await
}

#[tokio::test]
async fn the_scope_and_the_prefix_say_where_files_go() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let (home, url) = (tempfile::tempdir()?, url(headworks));
        write(home.path(), &small("f", 5))?;
        let arguments = ["f/0 +&.bin", "--to", &url, "--prefix", "x y", "--org", "acme", "--no-manifest"];
        ended_with(&Push::run(home.path(), &arguments).await?, 0, &["1 file stored"])?;
        ensure!(!home.path().join(MANIFEST).exists());
        let path = "/v1/files/x%20y/0%20%2B&.bin";
        let look = async || Ok(headworks.client().get(path).header("x-org-id", "acme").send().await?.status);
        until("the file to be there", DEADLINE, look, |status| *status == 200).await?;
        headworks.client().get(path).send().await?.with_status(404).map(drop)
    })
    .await
}

#[tokio::test]
async fn a_command_line_that_makes_no_sense_ends_with_64() -> Result<()> {
    let home = tempfile::tempdir()?;
    std::fs::write(home.path().join("mine"), "my only copy\n")?;
    for arguments in [
        &["mine"][..],
        &["--to", "http://127.0.0.1:1"],
        &["mine", "--to", "127.0.0.1:1"],
        &["mine", "--to", "http://127.0.0.1:1", "--parallel", "0"],
        &["mine", "--to", "http://127.0.0.1:1", "--parallel", "1001"],
        &["mine", "--to", "http://127.0.0.1:1", "--org", "../etc"],
        &["mine", "--to", "http://127.0.0.1:1", "--patience", "soon"],
        &["mine", "--to", "http://127.0.0.1:1", "--manifest", "mine"],
    ] {
        let exit = Push::run(home.path(), arguments).await?;
        ensure!(exit.code == Some(64) && exit.stdout.is_empty(), "{arguments:?}: {exit:#?}");
    }
    ensure!(std::fs::read_to_string(home.path().join("mine"))? == "my only copy\n");
    let arguments = ["mine", "--to", "http://127.0.0.1:1", "--patience", "1s"];
    let exit = Push::run(home.path(), &arguments).await?;
    ended_with(&exit, 1, &["0 files stored", "1 failed", "nothing moved for 1s"])
}
