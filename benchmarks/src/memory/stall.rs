//! What a store costs that takes nothing any more: what was read of a thousand bodies waits in the process, and the rest in the kernel's
//! buffers of its sockets.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::Context as _;
use tokio::time::{Instant, interval, sleep, timeout};

use super::{STREAMS, Subject, Way, plan};
use crate::{
    fleet::Programs,
    load,
    measure::mib,
    page::{median, spread},
    plot::{Panel, Plot},
};

/// How long bodies flow before the store stalls: until all clients are there, and long before any has ended of those that come evenly.
const FLOWS: Duration = Duration::from_secs(3);

/// How long it stalls: shorter than any deadline, longer than it takes all buffers to fill.
const STALLS: Duration = Duration::from_secs(6);

/// How often memory is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// How long `ss` may take. The store stands still meanwhile.
const ANSWER: Duration = Duration::from_secs(2);

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    before: u64,
    stalled: u64,
    sockets: Sockets,
}

/// What the kernel keeps for sockets, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sockets {
    came: u64,
    going: u64,
}

/// Runs it once. All uploads must be taken when the store is back.
///
/// # Errors
/// When something does not start, or a body is not taken; or when the way has no store that could stall.
pub(crate) async fn once(way: Way, programs: &Programs, disk: &Path) -> anyhow::Result<Sample> {
    let folder = tempfile::Builder::new().prefix("headworks-bench-").tempdir_in(disk)?;
    let subject = Subject::start(way, programs, &folder).await?;
    let (sink, store) = subject.store.as_ref().context("files do not stall")?;
    let tree = subject.process.tree();
    let before = tree.resident_bytes();
    let watch = async {
        sleep(FLOWS).await;
        let (_stalled, begun) = (sink.pause(), Instant::now());
        let mut ticks = interval(LOOK);
        let mut most = 0;
        while begun.elapsed() < STALLS {
            ticks.tick().await;
            most = most.max(tree.resident_bytes());
        }
        anyhow::Ok((most, sockets(subject.address, *store).await?))
    };
    let (loaded, seen) = tokio::join!(load::run(plan(way, subject.address)), watch);
    let tally = loaded?.tally;
    let (stalled, sockets) = seen?;
    anyhow::ensure!(tally.acknowledged() == u64::from(STREAMS), "not all were taken: {:?}", tally.errors());
    Ok(Sample { before, stalled, sockets })
}

/// What the sockets keep of a process that listens at `address` and speaks with `store`.
async fn sockets(address: SocketAddr, store: SocketAddr) -> anyhow::Result<Sockets> {
    let of_these = format!("( sport = :{} or dport = :{} )", address.port(), store.port());
    let mut command = tokio::process::Command::new("ss");
    let said = command.args(["-tmnH", &of_these]).kill_on_drop(true).output();
    let said = timeout(ANSWER, said).await.context("ss does not end")?.context("run ss, of iproute2")?;
    anyhow::ensure!(said.status.success(), "ss: {}", String::from_utf8_lossy(&said.stderr).trim());
    let text = String::from_utf8_lossy(&said.stdout);
    let sockets = text.lines().filter_map(skmem);
    let all = sockets.reduce(|all, one| Sockets { came: all.came + one.came, going: all.going + one.going });
    all.context("ss tells of no socket")
}

/// Reads `skmem:(r<bytes that came>,rb<limit>,…,w<bytes that go>,…)`, as ss(8) has it.
fn skmem(line: &str) -> Option<Sockets> {
    let (_, fields) = line.split_once("skmem:(")?;
    let fields: Vec<_> = fields.split_once(')')?.0.split(',').collect();
    let number = |name: char| fields.iter().find_map(|field| field.strip_prefix(name)?.parse().ok());
    Some(Sockets { came: number('r')?, going: number('w')? })
}

/// Why this cannot be measured here, if it cannot.
pub(crate) fn missing(way: Way) -> Option<String> {
    if way == Way::Files {
        return Some("files do not stall".into());
    }
    let there = Command::new("ss").arg("-V").output().is_ok_and(|said| said.status.success());
    (!there).then(|| "ss is not there (Debian's iproute2)".into())
}

impl Sample {
    fn resident(&self) -> f64 {
        mib(self.stalled)
    }

    fn in_sockets(&self) -> f64 {
        mib(self.sockets.came + self.sockets.going)
    }
}

/// The table of all ways' medians.
pub(crate) fn table(all: &[(Way, Vec<Sample>)]) -> String {
    let mut table = String::from(
        "| way | peak RSS MiB | least–most | before MiB | in sockets MiB | least–most | of it received |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    for (way, samples) in all {
        table += &format!(
            "| {way} | {:.0} | {} | {:.0} | {:.0} | {} | {:.0} |\n",
            median(samples, Sample::resident),
            spread(samples.iter().map(Sample::resident)),
            median(samples, |sample| mib(sample.before)),
            median(samples, Sample::in_sockets),
            spread(samples.iter().map(Sample::in_sockets)),
            median(samples, |sample| mib(sample.sockets.came)),
        );
    }
    table
}

/// Both memories, as a picture.
pub(crate) fn plot(all: &[(Way, Vec<Sample>)]) -> Plot {
    let panels = vec![
        Panel::of("peak RSS MiB", all, Sample::resident),
        Panel::of("in sockets MiB", all, Sample::in_sockets),
    ];
    Plot { name: "stall".into(), title: "A thousand streams while the store stalls".into(), panels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_socket_what_came_and_what_goes_is_told_from_its_limits() {
        let line = "\t skmem:(r12288,rb262144,t0,tb524288,f4096,w77056,o0,bl0,d3)";
        assert_eq!(skmem(line), Some(Sockets { came: 12_288, going: 77_056 }));
        assert_eq!(skmem("ESTAB 0 0 127.0.0.1:80 127.0.0.1:90"), None);
    }
}
