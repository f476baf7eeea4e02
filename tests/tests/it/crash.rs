//! `kill -9` and power cuts at random moments, under load: nothing that was acknowledged is lost, nothing is there twice, nothing is half
//! there.

use std::{
    collections::{HashMap, HashSet},
    fs,
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use fastrand::Rng;
use headworks_tests::{
    Answer, Config, Disk, Headworks, Raw, Rows, digest::content, raw::put, remains, seed::seed, until,
    webhook::Receiver,
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet, time::sleep};

const ROUNDS: usize = 20;

const UPLOADERS: u64 = 32;

/// The longest life of a process between two crashes.
const LIFE_MS: u64 = 1000;

/// How long the last process may take to settle what the crashes left: deliveries that it interrupted are tried again when their
/// lease has run out, after half a minute.
const SETTLED: Duration = Duration::from_secs(90);

/// One upload, all of which follows from the seed.
#[derive(Clone, Debug)]
struct Upload {
    path: String,
    /// Sent with an `Idempotency-Key`, and again until it is answered. The others are tried once.
    keyed: bool,
    content: Bytes,
}

impl Upload {
    fn new(seed: u64, uploader: u64, number: u64) -> Self {
        let own = seed ^ (uploader << 32) ^ number;
        let mut random = Rng::with_seed(own);
        let most = match random.u8(..16) {
            0 => 1 << 20,
            1..6 => 100 << 10,
            _ => 4 << 10,
        };
        Self {
            path: format!("{uploader}/{number}"),
            keyed: random.bool(),
            content: content(own, random.usize(..most)),
        }
    }

    /// The upload that a path stands for.
    fn at(seed: u64, path: &str) -> Result<Self> {
        let (uploader, number) = path.split_once('/').context("a path of ours")?;
        Ok(Self::new(seed, uploader.parse()?, number.parse()?))
    }

    async fn send_on(&self, connection: &mut Option<Raw>, address: SocketAddr) -> Result<Answer> {
        let raw = match connection {
            Some(raw) => raw,
            None => connection.insert(Raw::connect(address).await?),
        };
        let length = format!("Content-Length: {}", self.content.len());
        let key = format!("Idempotency-Key: {}", self.path);
        let fields = [length.as_str(), key.as_str()];
        let head = put(&self.path, if self.keyed { &fields } else { &fields[..1] });
        raw.send([head.as_bytes(), &self.content].concat()).await?;
        raw.answer().await
    }
}

/// What the uploaders are told.
#[derive(Clone, Copy, Debug)]
struct Server {
    /// Where to go, while there is a process.
    address: Option<SocketAddr>,
    /// Only what was begun is to be ended.
    last: bool,
}

/// Uploads until it is told to end; hands out (path, id) of all that was acknowledged.
async fn uploader(
    seed: u64,
    number: u64,
    mut server: watch::Receiver<Server>,
) -> Result<Vec<(String, String)>> {
    let (mut acknowledged, mut count) = (Vec::new(), 0);
    let (mut connection, mut again) = (None, None::<Upload>);
    loop {
        let told = *server.wait_for(|server| server.address.is_some()).await?;
        let upload = match again.take() {
            Some(upload) => upload,
            None if told.last => return Ok(acknowledged),
            None => {
                count += 1;
                Upload::new(seed, number, count)
            }
        };
        match upload.send_on(&mut connection, told.address.context("an address")?).await {
            Ok(answer) => {
                ensure!(matches!(answer.status, 200..=202), "{}: {answer:?}", upload.path);
                acknowledged.push((upload.path, answer.text("id")?));
            }
            // Nobody knows what became of it: only the next process can tell.
            Err(_) => {
                connection = None;
                again = Some(upload).filter(|upload| upload.keyed);
                tokio::task::yield_now().await;
            }
        }
    }
}

/// All objects, as the catalog lists them, by path.
async fn listing(headworks: &Headworks) -> Result<HashMap<String, Value>> {
    let (mut found, mut cursor) = (HashMap::new(), String::new());
    loop {
        let target = format!("/v1/objects?limit=1000{cursor}");
        let page = headworks.client().get(&target).send().await?.with_status(200)?.json()?;
        for object in page["objects"].as_array().context("objects")? {
            let path = object["path"].as_str().context("a path")?.to_owned();
            ensure!(found.insert(path, object.clone()).is_none(), "listed twice: {object}");
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(found),
        }
    }
}

/// Every object in the listing is whole, and the only version of its path; also those that nobody acknowledged.
async fn compare(headworks: &Headworks, seed: u64, objects: &HashMap<String, Value>) -> Result<()> {
    let mut raw = Raw::connect(headworks.listen()).await?;
    for (path, object) in objects {
        let upload = Upload::at(seed, path)?;
        ensure!(object["version"] == 1, "there twice: {object}");
        let id = object["id"].as_str().context("an id")?;
        raw.send(format!("GET /v1/objects/{id}/content HTTP/1.1\r\nHost: a\r\n\r\n")).await?;
        let there = raw.answer().await?.with_status(200)?;
        ensure!(there.body == upload.content, "{path}: {} bytes are not those sent", there.body.len());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_is_there_twice() -> Result<()> {
    crash_and_settle(Config::new()?.text("storage.durability", "fsync"), Headworks::kill).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_either_where_jobs_are_written_behind() -> Result<()> {
    crash_and_settle(Config::new()?.text("storage.durability", "none"), Headworks::kill).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes root, who alone may mount a disk; `make powercut` runs it"]
async fn nothing_acknowledged_is_lost_when_the_power_is_cut() -> Result<()> {
    let config = Config::new()?;
    let disk = Disk::new(config.home().join("disk"), config.data())?;
    let config = config.text("storage.durability", "fsync");
    crash_and_settle(config.clone(), |headworks| cut_power(headworks, &disk)).await
}

/// So that the test above can fail.
#[tokio::test]
#[ignore = "takes root, who alone may mount a disk; `make powercut` runs it"]
async fn what_nobody_synced_is_lost_when_the_power_is_cut() -> Result<()> {
    let config = Config::new()?.text("storage.durability", "none");
    let disk = Disk::new(config.home().join("disk"), config.data())?;
    let headworks = Headworks::start(&config).await?;
    let upload = content(1, 10 << 10);
    headworks.client().put("a", upload.clone()).send().await?.with_status(201)?;
    let whole = || remains::objects(&config.data()).map(|all| all.iter().any(|object| is(object, &upload)));
    ensure!(whole()?, "it is nowhere");
    cut_power(headworks, &disk)?;
    ensure!(!whole()?, "the power was not cut");
    Ok(())
}

fn is(object: &Path, content: &[u8]) -> bool {
    fs::read(object).is_ok_and(|read| read == content)
}

fn cut_power(headworks: Headworks, disk: &Disk) -> Result<()> {
    // From here on nobody is told anything.
    headworks.freeze()?;
    disk.cut()?;
    headworks.kill()?;
    disk.again()
}

async fn crash_and_settle(config: Config, crash: impl Fn(Headworks) -> Result<()>) -> Result<()> {
    let seed = seed()?;
    let mut random = Rng::with_seed(seed);
    let receiver = Receiver::start(&[]).await?;
    let config = Receiver::wired(receiver.address(), config, &["object.stored"]);
    let config = config.text("notify.timeout", "1s").set("notify.concurrency", 32);
    let (tell, server) = watch::channel(Server { address: None, last: false });
    let mut uploaders = JoinSet::new();
    for number in 0..UPLOADERS {
        uploaders.spawn(uploader(seed, number, server.clone()));
    }
    for _ in 0..ROUNDS {
        let headworks = Headworks::start(&config).await?;
        tell.send(Server { address: Some(headworks.listen()), last: false })?;
        // This wait is no guess: it is the crash's random moment.
        sleep(Duration::from_millis(random.u64(..LIFE_MS))).await;
        tell.send(Server { address: None, last: false })?;
        crash(headworks)?;
    }
    Headworks::run(config, async |headworks| {
        tell.send(Server { address: Some(headworks.listen()), last: true })?;
        let mut acknowledged = HashMap::new();
        while let Some(ended) = uploaders.join_next().await {
            acknowledged.extend(ended??);
        }
        let objects = settled(headworks).await?;
        for (path, id) in &acknowledged {
            let there = objects.get(path).with_context(|| format!("{path} is lost, id {id}"))?;
            ensure!(there["id"] == id.as_str(), "{path} was acknowledged as {id}, and is {there}");
        }
        compare(headworks, seed, &objects).await?;
        let rows = Rows::count(&headworks.data())?;
        let one = i64::try_from(objects.len())?;
        ensure!(rows == Rows { ledger: one, objects: one, events: one }, "{rows:?} for {one} objects");
        told_once(&receiver, &objects).await?;
        eprintln!("{} acknowledged, {} stored", acknowledged.len(), objects.len());
        Ok(())
    })
    .await
}

/// Waits until every object on the disk is in the catalog, and the other way round.
async fn settled(headworks: &Headworks) -> Result<HashMap<String, Value>> {
    let figures = async || {
        let on_disk = remains::objects(&headworks.data())?.len();
        Ok((headworks.metrics().await?.busy()?, on_disk, listing(headworks).await?.len()))
    };
    until("the crashes to be settled", SETTLED, figures, |(busy, on_disk, listed)| {
        *busy == [0.0; 5] && on_disk == listed
    })
    .await?;
    listing(headworks).await
}

/// Every object was told of, and always under one id.
async fn told_once(receiver: &Receiver, objects: &HashMap<String, Value>) -> Result<()> {
    let told = async || Ok(receiver.ids_heard());
    until("all to be told", SETTLED, told, |told| *told >= objects.len()).await?;
    let ids = receiver.event_ids()?;
    let twice: Vec<_> = ids.iter().filter(|(_, ids)| ids.len() > 1).collect();
    ensure!(twice.is_empty(), "more than one event for one object: {twice:#?}");
    let there = objects.values().filter_map(|object| object["id"].as_str());
    let told = ids.keys().map(|(object, _)| object.as_str());
    ensure!(
        told.collect::<HashSet<_>>() == there.collect(),
        "told of {}, there are {}",
        ids.len(),
        objects.len()
    );
    Ok(())
}
