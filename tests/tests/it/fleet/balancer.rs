//! What clients get of a fleet behind nginx, with the files of `deploy/nginx`.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use headworks_shared::{fault::Point, http::Code};
use headworks_tests::{
    Client, DEADLINE, Fleet, Raw,
    fleet::{Kind, Store, Uploads},
    raw::put,
    servers::nginx::Nginx,
    until,
};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
    time::Instant,
};

/// Clients that send one upload after the other.
const CLIENTS: usize = 8;

/// How many uploads are acknowledged between one change and the next.
const STEP: usize = 100;

/// For how long nginx leaves an ingest out that it could not connect to, as `upstreams.conf` says, and a moment.
const LEFT_OUT: Duration = Duration::from_millis(5_500);

/// Uploads that are half-way when an ingest dies.
const HALVES: usize = 6;

/// nginx tells small bodies from large ones at 100,000 bytes.
const SIZES: [usize; 3] = [1_000, 150_000, 300_000];

/// So many ingests behind nginx. Nobody reads there, and nothing is drained yet.
async fn balanced(ingests: usize) -> Result<(Fleet, Nginx)> {
    let mut fleet = Fleet::servers(Store::Disk).await?;
    for _ in 0..ingests {
        fleet.add(Kind::Ingest, None).await?;
    }
    let nginx = in_front(&mut fleet).await?;
    Ok((fleet, nginx))
}

async fn in_front(fleet: &mut Fleet) -> Result<Nginx> {
    let ingests: Vec<_> = fleet.alive(Kind::Ingest).map(|node| node.listen()).collect();
    Nginx::start(None, &ingests, &ingests).await
}

/// How many uploads each ingest has in flight.
async fn in_flight(fleet: &mut Fleet) -> Result<Vec<usize>> {
    let mut counts = Vec::new();
    for node in fleet.alive(Kind::Ingest) {
        let count = node.metrics().await?.sum("headworks_uploads_in_flight", &[])?;
        counts.push(count.to_string().parse()?);
    }
    Ok(counts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_one_of_three_costs_only_what_is_in_flight_on_it() -> Result<()> {
    let (mut fleet, nginx) = balanced(3).await?;
    // Else a fast machine has the queue full before the load has ended.
    fleet.add(Kind::Processor, None).await?;
    let (uploads, size) = (Uploads::default(), 200_000);
    let mut halves = Vec::new();
    for number in 0..HALVES {
        let mut half = Raw::connect(nginx.address()).await?;
        half.send(put(&format!("half/{number}"), &[&format!("Content-Length: {size}")])).await?;
        half.send(vec![b'x'; size / 2]).await?;
        halves.push(half);
    }
    let all = async || in_flight(&mut fleet).await;
    let counts = until("each upload to be at an ingest", DEADLINE, all, |counts| {
        counts.iter().sum::<usize>() == HALVES
    })
    .await?;
    ensure!(counts == [2, 2, 2], "they take no turns: {counts:?}");
    let load = Load::start(nginx.address(), &uploads);
    load.goes_on(&uploads).await?;
    fleet.alive(Kind::Ingest).next().context("an ingest")?.kill()?;
    let killed = Instant::now();
    // nginx tries it again then.
    let tried = async || Ok(killed.elapsed());
    until("it to be no longer left out", DEADLINE, tried, |elapsed| *elapsed > LEFT_OUT).await?;
    load.goes_on(&uploads).await?;
    let mut lost = 0;
    for mut half in halves {
        half.send(vec![b'x'; size / 2]).await?;
        let answer = half.answer().await?;
        ensure!(matches!(answer.status, 201 | 502), "{answer:?}");
        lost += usize::from(answer.status == 502);
    }
    ensure!(lost == 2, "{lost} uploads were lost, of two on the dead ingest");
    // One that stops may have been sent something in the moment in which it closed its connections, and nothing later.
    let stops = Instant::now();
    fleet.alive(Kind::Ingest).next().context("an ingest")?.stop().await?;
    let stopped = Instant::now();
    load.goes_on(&uploads).await?;
    let failed = load.stop().await;
    let excused = |one: &Failure| one.begun <= killed || (one.begun <= stopped && one.ended >= stops);
    let strange: Vec<_> = failed.iter().filter(|one| !excused(one)).collect();
    ensure!(strange.is_empty(), "not in flight when one went, and failed: {strange:?}");
    ensure!(failed.len() <= 2 * CLIENTS, "more than were in flight: {failed:?}");
    fleet.settles(&uploads).await
}

/// An upload that was not stored.
#[derive(Debug)]
struct Failure {
    begun: Instant,
    ended: Instant,
    #[expect(dead_code, reason = "for whoever reads of the failure")]
    answer: Result<u16>,
}

/// Clients at work.
struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<Failure>>,
}

impl Load {
    fn start(address: SocketAddr, uploads: &Uploads) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (uploads, stop) = (uploads.clone(), Arc::clone(&stop));
            clients.spawn(async move {
                let mut failed = Vec::new();
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let (begun, size) = (Instant::now(), SIZES[turn % SIZES.len()]);
                    let path = format!("load/{number}/{turn}");
                    let answer = uploads.send_once(&Client::new(address), &path, size).await;
                    let answer = answer.map(|answer| answer.status);
                    if !matches!(answer, Ok(201)) {
                        failed.push(Failure { begun, ended: Instant::now(), answer });
                    }
                }
                failed
            });
        }
        Self { stop, clients }
    }

    /// Waits until so many more were acknowledged.
    async fn goes_on(&self, uploads: &Uploads) -> Result<()> {
        let (before, look) = (uploads.count(), async || Ok(uploads.count()));
        until("the load to go on", 3 * DEADLINE, look, |count| *count > before + STEP).await.map(drop)
    }

    async fn stop(self) -> Vec<Failure> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await.into_iter().flatten().collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_whose_ingest_dies_is_not_sent_to_another() -> Result<()> {
    let (mut fleet, _) = balanced(1).await?;
    // One that is wholly with nginx when it is sent, one that is not, and one that does not tell how long it is.
    for (number, size) in [(0, Some(1_000)), (1, Some(300_000)), (2, None)] {
        let doomed = fleet.add(Kind::Ingest, Some((Point::AfterPush, 1))).await?;
        let nginx = in_front(&mut fleet).await?;
        let client = Client::new(nginx.address());
        let mut answers = Vec::new();
        for turn in 0..2 {
            let call = client.put(&format!("{number}/{turn}"), vec![b'x'; size.unwrap_or(1_000)]);
            let call = if size.is_none() { call.chunks(vec!["x".into(), "y".into()]) } else { call };
            answers.push(call.send().await?.status);
        }
        fleet.nodes[doomed].dies().await?;
        answers.sort_unstable();
        ensure!(answers == [201, 502], "the upload that its ingest died of: {answers:?} ({size:?} bytes)");
    }
    fleet.settles(&Uploads::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_reaches_the_client_and_the_others_take_their_turns() -> Result<()> {
    let (mut fleet, nginx) = balanced(3).await?;
    let gates: Vec<_> = fleet.alive(Kind::Ingest).map(|node| node.operators()).collect();
    let shut = async |gate: &Client| {
        let order = gate.call(http::Method::PUT, "/v1/gate").body(r#"{"open": false}"#);
        order.send().await?.with_status(200)
    };
    shut(&gates[0]).await?;
    let (uploads, client, mut refused) = (Uploads::default(), Client::new(nginx.address()), 0);
    for number in 0..30 {
        let answer = uploads.send_once(&client, &format!("a/{number}"), SIZES[number % 2]).await?;
        refused += usize::from(answer.status == 503);
    }
    ensure!(refused == 10, "one of three is shut, and of 30 uploads {refused} were refused");
    ensure!(uploads.count() == 20, "{:?}", uploads.others());
    shut(&gates[1]).await?;
    shut(&gates[2]).await?;
    let mut large = Raw::connect(nginx.address()).await?;
    let size = format!("Content-Length: {}", 20 << 20);
    large.send(put("b", &[&size, "Expect: 100-continue"])).await?;
    ensure!(
        large.wanted().await?.is_none(),
        "it is nginx that asks for the body, before an ingest was asked"
    );
    large.send(vec![b'x'; 1 << 20]).await?;
    let answer = large.answer().await?;
    let problem = answer.problem(Code::Refused)?;
    ensure!(problem["reason"] == "operator", "{problem}");
    ensure!(!answer.header("retry-after").is_empty(), "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_passed_on_as_it_comes_and_held_back_where_it_goes() -> Result<()> {
    const SIZE: usize = 96 << 20;
    // The kernel's buffers of both connections.
    const HELD: usize = 32 << 20;
    let (mut fleet, nginx) = balanced(1).await?;
    let mut upload = Raw::connect(nginx.address()).await?;
    upload.send(put("a", &[&format!("Content-Length: {SIZE}")])).await?;
    upload.send(b"x").await?;
    let first = async || in_flight(&mut fleet).await;
    until("the first byte to arrive", DEADLINE, first, |counts| *counts == [1]).await?;
    let ingest = fleet.alive(Kind::Ingest).next().context("an ingest")?;
    ingest.signal(Signal::STOP)?;
    let before = nginx.memory()?;
    let piece = vec![b'x'; 1 << 20];
    let taken = upload.pour(&piece, SIZE - 1, Duration::from_secs(1)).await?;
    let grown = nginx.memory()?.saturating_sub(before);
    let bodies = nginx.bodies()?;
    ingest.signal(Signal::CONT)?;
    ensure!(taken < HELD, "{taken} bytes were taken for an ingest that reads none");
    ensure!(grown < 2 << 20, "nginx grew by {grown} bytes");
    ensure!(bodies.is_empty(), "bodies in files: {bodies:?}");
    upload.pour(&piece, SIZE - 1 - taken, DEADLINE).await?;
    upload.answer().await?.with_status(201)?;
    ensure!(nginx.bodies()?.is_empty(), "bodies in files");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_speak_http_2_and_are_known_by_their_own_address() -> Result<()> {
    let mut fleet = Fleet::servers(Store::Disk).await?;
    fleet.add(Kind::Ingest, None).await?;
    let (ingest, catalog) = (fleet.nodes[0].listen(), TcpListener::bind("127.0.0.1:0").await?);
    let nginx = Nginx::start(None, &[ingest], &[catalog.local_addr()?]).await?;
    let file = fleet.settings();
    let curl = |arguments: &[&str], path: &str| {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--http2",
            "--max-time",
            "20",
            "--write-out",
            "\n%{http_version} %{http_code}",
        ]);
        curl.stdout(Stdio::piped()).arg("--cacert").arg(nginx.authority()).args(arguments);
        curl.arg(format!("https://{}{path}", nginx.tls()));
        curl
    };
    let upload = ["--upload-file", file.to_str().context("a path")?];
    let said = String::from_utf8(curl(&upload, "/v1/files/a").output()?.stdout)?;
    ensure!(said.ends_with("\n2 201"), "{said}");
    // From a pipe, so that it does not tell how long it is.
    let mut streaming = curl(&["--upload-file", "-"], "/v1/files/b");
    let said = streaming.stdin(std::fs::File::open(&file)?).output()?;
    ensure!(said.stdout.ends_with(b"\n2 201"), "{said:?}");
    let mut asking = curl(&["--header", "X-Forwarded-For: 192.0.2.1"], "/v1/objects").spawn()?;
    let (mut stream, _) = tokio::time::timeout(DEADLINE, catalog.accept()).await.context("a question")??;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut head).await? > 0, "no head");
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
    ensure!(asking.wait()?.success());
    let head = String::from_utf8(head)?.to_lowercase();
    let has = |line: &str| head.lines().filter(|one| *one == line).count() == 1;
    ensure!(has("x-forwarded-for: 127.0.0.1") && has("x-forwarded-proto: https"), "{head}");
    ensure!(has(&format!("host: {}", nginx.tls())) && !head.contains("192.0.2.1"), "{head}");
    Ok(())
}
