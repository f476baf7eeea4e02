//! The report: a table for each scenario, of medians, with all that is needed to doubt it.

use std::collections::BTreeMap;

use crate::{
    machine::Machine,
    measure::mib,
    page::middle,
    plot::{Panel, Plot},
    runner::{Sample, Series},
    scenario::{Scenario, Unit},
    subjects::{QUEUE_CAPACITY, Subject},
    turns::NOTE,
    warm::WARMED,
};

/// What a table's columns are called, for each unit.
fn head(unit: Unit) -> [&'static str; 12] {
    let (rate, cost, own) = match unit {
        Unit::Requests => ("req/s", "CPU s / 1,000 req", "generator CPU s / 1,000 req"),
        Unit::Bytes => ("MB/s", "CPU s / GB", "generator CPU s / GB"),
    };
    [
        "subject",
        rate,
        "least–most",
        "to nginx",
        "p50 ms",
        "p99 ms",
        "errors",
        cost,
        "peak RSS MiB",
        "settled after s",
        own,
        "generator's peak RSS MiB",
    ]
}

/// The whole report, as Markdown.
pub(crate) fn whole(
    machine: &Machine,
    command: &str,
    repetitions: u16,
    results: &[(Scenario, Vec<Series>)],
    skipped: &[String],
) -> String {
    let mut page = String::from("# Benchmarks\n\n");
    page += &preamble(machine, command, repetitions);
    for (scenario, series) in results {
        page += &format!("\n## {}: {}\n\n", scenario.name, scenario.title);
        page += &table(scenario.unit, series);
        page += &format!("\n{}", plot(scenario, series).link());
    }
    for line in skipped {
        page += &format!("\nSkipped: {line}\n");
    }
    page
}

/// A scenario's throughput and memory, as a picture.
pub(crate) fn plot(scenario: &Scenario, all: &[Series]) -> Plot {
    let panel = |title: &str, value: &dyn Fn(&Sample) -> f64| {
        let one = |panel: Panel, series: &Series| {
            panel.bar(&series.contender.to_string(), series.samples.iter().map(value).collect())
        };
        all.iter().fold(Panel::new(title), one)
    };
    let [_, throughput, ..] = head(scenario.unit);
    Plot {
        name: scenario.name.to_lowercase(),
        title: format!("{}: {}", scenario.name, scenario.title),
        panels: vec![
            panel(throughput, &|sample| rate(scenario.unit, sample)),
            panel("peak RSS, MiB", &|sample| mib(sample.peak.subject)),
        ],
    }
}

fn preamble(machine: &Machine, command: &str, repetitions: u16) -> String {
    let Machine { day, kernel, processor, cores, memory_gib } = machine;
    format!(
        "Written by `{command}` on {day}.\n\n\
        - Machine: {cores} cores ({processor}), {memory_gib:.0} GiB of memory, {kernel}. Load generator and subject share it, over 127.0.0.1.\n\
        - Figures are medians of {repetitions} runs, each with a fresh process and an empty folder; subjects take turns. \
        *least–most* is the throughput's range. {NOTE}\n\
        - *memory*: the data is in `/dev/shm`, and Headworks has `durability = \"none\"`. *disk*: it is on the disk of `target/`, and Headworks \
        has `durability = \"fsync\"`, or for comparison `none`. nginx never calls fsync, so on the disk it promises less than Headworks does; nor do the others, \
        which run in memory only. {WARMED}\n\
        - nginx and dufs write a file, and no more; the tus servers (rustus, @tus/server) also a file with what is known of it; s3s-fs also an MD5. \
        Headworks also computes a checksum, queues a job, and writes metadata. The pipelines in Node (fastify, BullMQ, pg) and Python (uvicorn, Starlette, arq, \
        asyncpg) write a file, queue a job, and write the same metadata to PostgreSQL, but make no checksum; their Redis and PostgreSQL are not \
        counted as theirs, neither CPU nor memory.\n\
        - CPU includes the work on a queue, also after the last answer; *settled after* is how long that took, to half a second, until each \
        acknowledged upload had its metadata. Headworks' queue holds {QUEUE_CAPACITY} jobs here, so that the load is not refused; by default it holds fewer, \
        and refuses what it cannot work off. The pipelines' queues have no bound.\n\
        - Uploads are one PUT, or for tus one POST (creation-with-upload); a body for rustus that is larger than 8 MiB goes in parts of that size, because \
        it reads each request whole before it writes it.\n\
        - Throughput, latency and cost count acknowledged requests only: 2xx, without 202. RSS is summed over a subject's processes, every 50 ms; what they \
        share counts for each.\n"
    )
}

fn table(unit: Unit, all: &[Series]) -> String {
    let head = head(unit);
    let mut table = format!("| {} |\n", head.join(" | "));
    table += &format!("|---|{}\n", "---:|".repeat(head.len() - 1));
    for series in all {
        let cells = row(unit, series, nginx_beside(series, all));
        table += &format!("| {} |\n", cells.join(" | "));
    }
    table
}

/// nginx in the same place, in the same run.
fn nginx_beside<'a>(series: &Series, all: &'a [Series]) -> Option<&'a Series> {
    let place = series.contender.place;
    let is_beside =
        |other: &&Series| other.contender.subject == Subject::Nginx && other.contender.place.is_beside(place);
    all.iter().find(is_beside)
}

fn row(unit: Unit, series: &Series, nginx: Option<&Series>) -> [String; 12] {
    let rate = median(series, |sample| rate(unit, sample));
    let (least, most) = range(series, |sample| self::rate(unit, sample));
    let nginx = nginx.map(|nginx| median(nginx, |sample| self::rate(unit, sample)));
    let ratio = nginx.filter(|nginx| *nginx > 0.0).map(|nginx| format!("{:.2}", rate / nginx));
    let settled: Vec<f64> = series.samples.iter().filter_map(|sample| sample.settled_seconds).collect();
    [
        series.contender.to_string(),
        format!("{rate:.0}"),
        format!("{least:.0}–{most:.0}"),
        ratio.unwrap_or_else(none),
        format!("{:.2}", median(series, |sample| sample.p50_ms)),
        format!("{:.2}", median(series, |sample| sample.p99_ms)),
        errors(series),
        format!("{:.3}", median(series, |sample| sample.cpu_seconds / work(unit, sample))),
        format!("{:.1}", median(series, |sample| mib(sample.peak.subject))),
        middle(settled).map_or_else(none, |settled| format!("{settled:.1}")),
        format!("{:.3}", median(series, |sample| sample.own_cpu_seconds / work(unit, sample))),
        format!("{:.1}", median(series, |sample| mib(sample.peak.own))),
    ]
}

fn none() -> String {
    "–".into()
}

/// What was done, in the unit of the costs: thousands of requests, or GB.
fn work(unit: Unit, sample: &Sample) -> f64 {
    match unit {
        Unit::Requests => sample.acknowledged as f64 / 1e3,
        Unit::Bytes => sample.bytes as f64 / 1e9,
    }
}

/// Requests or MB a second.
fn rate(unit: Unit, sample: &Sample) -> f64 {
    work(unit, sample) * 1e3 / sample.seconds
}

/// All errors of all runs, by kind.
fn errors(series: &Series) -> String {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, count) in series.samples.iter().flat_map(|sample| &sample.errors) {
        *sums.entry(kind).or_default() += count;
    }
    let mut text = sums.values().sum::<u64>().to_string();
    for (kind, count) in sums {
        text += &format!("; {kind}: {count}");
    }
    text
}

fn median(series: &Series, value: impl Fn(&Sample) -> f64) -> f64 {
    middle(series.samples.iter().map(value).collect()).unwrap_or(f64::NAN)
}

fn range(series: &Series, value: impl Fn(&Sample) -> f64) -> (f64, f64) {
    series
        .samples
        .iter()
        .map(value)
        .fold((f64::INFINITY, 0.0), |(least, most), value| (f64::min(least, value), f64::max(most, value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Peak;
    use crate::subjects::{Contender, Place};

    fn series(subject: Subject, seconds: [f64; 3]) -> Series {
        let sample = |seconds| Sample {
            acknowledged: 1_000,
            bytes: 10_000_000,
            seconds,
            p50_ms: 1.0,
            p99_ms: 2.0,
            errors: BTreeMap::from([("503".into(), 2)]),
            cpu_seconds: 0.5,
            own_cpu_seconds: 0.02,
            peak: Peak { subject: 3 << 20, own: 1 << 20 },
            settled_seconds: (subject == Subject::Headworks).then_some(1.5),
        };
        let contender = Contender { subject, place: Place::Memory };
        Series { contender, samples: seconds.map(sample).to_vec() }
    }

    #[test]
    fn a_row_has_the_median_the_range_and_the_ratio_to_nginx() {
        let all = [series(Subject::Headworks, [1.0, 4.0, 2.0]), series(Subject::Nginx, [1.0, 1.0, 1.0])];
        let table = table(Unit::Requests, &all);
        let expected = "| Headworks, memory, none | 500 | 250–1000 | 0.50 | 1.00 | 2.00 | 6; 503: 6 | 0.500 | 3.0 | 1.5 | 0.020 | 1.0 |";
        assert!(table.contains(expected), "{table}");
        assert!(table.contains("| nginx, memory | 1000 | 1000–1000 | 1.00 |"), "{table}");
    }

    #[test]
    fn bytes_are_counted_in_mb_and_cost_by_the_gb() {
        let table = table(Unit::Bytes, &[series(Subject::Headworks, [2.0, 2.0, 2.0])]);
        assert!(table.contains("| Headworks, memory, none | 5 | 5–5 | – |"), "{table}");
        assert!(table.contains("| 50.000 |"), "{table}");
    }
}
