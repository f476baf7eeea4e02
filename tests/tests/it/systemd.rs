//! What systemd sees of Headworks: what it is told, and what it thinks of the units in `deploy/systemd`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use headworks_tests::{Config, DEADLINE, Headworks, binary, fleet::Kind, servers::Server, until};
use rustix::process::Signal;
use tokio::{net::UnixDatagram, time::Instant};

/// How long the watchdog waits.
const PATIENCE: Duration = Duration::from_millis(900);

/// The units, each with its program.
const UNITS: [&str; 4] = ["headworks-ingest", "headworks-processor", "headworks-catalog", "headworks-serve"];

/// As much of systemd as hears what it is told.
struct Manager {
    socket: UnixDatagram,
    /// What was said, and when.
    said: Vec<(Instant, String)>,
}

impl Manager {
    fn at(path: &Path) -> Result<Self> {
        Ok(Self { socket: UnixDatagram::bind(path)?, said: Vec::new() })
    }

    /// Waits for a line; says when it came.
    async fn hears(&mut self, line: &str) -> Result<Instant> {
        let mut message = [0; 4096];
        let hear = async {
            loop {
                let length = self.socket.recv(&mut message).await?;
                let text = String::from_utf8_lossy(message.get(..length).unwrap_or_default()).into_owned();
                let now = Instant::now();
                self.said.extend(text.lines().map(|line| (now, line.to_owned())));
                if text.lines().any(|one| one == line) {
                    return anyhow::Ok(now);
                }
            }
        };
        let heard = tokio::time::timeout(DEADLINE, hear).await;
        heard.with_context(|| format!("waited for {line:?}, heard {:?}", self.said))?
    }

    fn count(&self, line: &str) -> usize {
        self.said.iter().filter(|(_, said)| said == line).count()
    }
}

#[tokio::test]
async fn systemd_is_told_of_the_start_the_gate_the_watchdog_and_the_stop() -> Result<()> {
    let config = Config::new()?;
    let socket = config.home().join("notify");
    let mut manager = Manager::at(&socket)?;
    let config = config
        .variable("NOTIFY_SOCKET", socket.display())
        .variable("WATCHDOG_USEC", PATIENCE.as_micros())
        .announce("intake shut");
    let mut headworks = Headworks::start(&config).await?;
    let begun = manager.hears("READY=1").await?;
    manager.hears("STATUS=intake is open").await?;
    for (order, told) in [
        (r#"{"open": false}"#, "STATUS=intake is shut: operator"),
        (r#"{"open": true}"#, "STATUS=intake is open"),
    ] {
        let moved = headworks.admin().call(http::Method::PUT, "/v1/gate").body(order);
        moved.send().await?.with_status(200)?;
        manager.hears(told).await?;
    }
    let mut last = begun;
    while last < begun + 3 * PATIENCE {
        let fed = manager.hears("WATCHDOG=1").await?;
        ensure!(fed - last < PATIENCE, "the watchdog waited {:?}", fed - last);
        last = fed;
    }
    let (fed, times) = (manager.count("WATCHDOG=1"), (last - begun).div_duration_f64(PATIENCE));
    ensure!(fed as f64 >= 2.0 * times, "fed {fed} times in {times:.1} times its patience");
    headworks.terminate()?;
    manager.hears("STOPPING=1").await?;
    ensure!(manager.count("READY=1") == 1, "{:?}", manager.said);
    ensure!(headworks.exited(DEADLINE).await?.success(), "{:?}", headworks.log());
    headworks.check_log()
}

#[tokio::test]
async fn a_part_is_not_ready_before_what_it_stands_on_and_says_what_is_missing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("notify");
    let manager = Manager::at(&socket)?;
    let mut command = Command::new(binary::fleet()?.of(Kind::Processor));
    let admin = headworks_tests::servers::free_address()?;
    command.env("NOTIFY_SOCKET", &socket).env("HEADWORKS__PROCESSOR__ADMIN", admin.to_string());
    command.env("HEADWORKS__STORAGE__URL", format!("file://{}/objects", folder.path().display()));
    // Nobody is there.
    command.env("HEADWORKS__QUEUE__URL", "redis://127.0.0.1:1/0");
    command.env("HEADWORKS__METADATA__URL", "postgres://a@127.0.0.1:1/a");
    let mut processor = Server::start("processor", command, folder.path(), admin).await?;
    let told = async || {
        let mut message = [0; 4096];
        let length = manager.socket.recv(&mut message).await?;
        Ok(String::from_utf8_lossy(message.get(..length).unwrap_or_default()).into_owned())
    };
    let said = until("a word of why it has not started", DEADLINE, told, |said| {
        said.contains("READY") || said.contains("STATUS")
    })
    .await?;
    ensure!(said.starts_with("STATUS=not started yet: "), "{said}");
    processor.end(Signal::TERM).await
}

/// The units as they are shipped, in a folder of their own, with their programs where they are on this machine.
fn units() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd");
    let common = "headworks-.service.d";
    fs::create_dir(folder.path().join(common))?;
    let fleet = binary::fleet()?;
    let programs = fleet.headworks.parent().context("the programs' folder")?;
    let files = UNITS.iter().map(|unit| PathBuf::from(format!("{unit}.service")));
    for file in files.chain([Path::new(common).join("common.conf")]) {
        let text = fs::read_to_string(shipped.join(&file)).with_context(|| format!("read {file:?}"))?;
        fs::write(folder.path().join(&file), text.replace("/usr/bin/", &format!("{}/", programs.display())))?;
    }
    Ok(folder)
}

/// `systemd-analyze` of a unit; what it said, and whether it is content.
fn analyze(arguments: &[&str], unit: &Path) -> Result<(bool, String)> {
    let mut command = Command::new("systemd-analyze");
    let output =
        command.args(arguments).arg(unit).stdin(Stdio::null()).output().context("systemd-analyze")?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units_and_little_exposed() -> Result<()> {
    let folder = units()?;
    for unit in UNITS {
        let unit = folder.path().join(format!("{unit}.service"));
        let (content, said) = analyze(&["verify", "--man=no"], &unit)?;
        ensure!(content && said.is_empty(), "{}: {said}", unit.display());
        // In tenths.
        let (content, said) = analyze(&["security", "--offline=true", "--threshold=20"], &unit)?;
        ensure!(content, "{}: {said}", unit.display());
    }
    Ok(())
}

#[test]
fn systemd_waits_longer_than_a_stop_may_take() -> Result<()> {
    let common =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/headworks-.service.d/common.conf");
    let text = fs::read_to_string(common)?;
    let waits = text.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")?.parse::<u64>().ok());
    let waits = Duration::from_secs(waits.context("TimeoutStopSec in seconds")?);
    for file in ["fleet", "high-load"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../config/{file}.toml"));
        let shutdown = headworks_shared::config::load(Some(&path), [])?.settings.shutdown;
        let takes = shutdown.drain_delay.0 + shutdown.grace.0;
        ensure!(waits >= takes + Duration::from_secs(10), "{file}: {waits:?} for {takes:?}");
    }
    Ok(())
}
