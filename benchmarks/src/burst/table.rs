//! What a burst came to, as a table.

use std::collections::BTreeMap;

use super::{Manners, Sample};
use crate::{
    load::Tally,
    measure::mib,
    page::{median, spread},
    plot::{Panel, Plot},
};

impl Sample {
    /// Uploads a second without the burst.
    pub(crate) fn unburdened(&self) -> f64 {
        self.unburdened.0.tally.acknowledged() as f64 / self.unburdened.0.took.as_secs_f64()
    }

    /// Uploads a second in the burst.
    pub(crate) fn goodput(&self) -> f64 {
        self.burst.0.tally.acknowledged() as f64 / self.burst.0.took.as_secs_f64()
    }

    /// The most memory that Headworks had in use in the burst, in MiB.
    pub(crate) fn peak_mib(&self) -> f64 {
        mib(self.burst.1.subject)
    }

    /// The same before it.
    fn unburdened_peak_mib(&self) -> f64 {
        mib(self.unburdened.1.subject)
    }

    fn tally(&self) -> &Tally {
        &self.burst.0.tally
    }
}

/// The table of all runs' medians.
pub(crate) fn table(all: &[(Manners, Vec<Sample>)]) -> String {
    let mut table = String::from(
        "| clients | unburdened, uploads/s | in the burst, uploads/s | least–most | part | refusals | their p50 ms | p99 ms | beside it, p50 ms | p99 ms | neither | \
         peak RSS MiB unburdened | in the burst | normal again after s | generator's peak RSS MiB |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (manners, samples) in all {
        table += &format!(
            "| {manners} | {:.0} | {:.0} | {} | {:.2} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {} | {:.0} | {:.0} | {} | {:.0} |\n",
            median(samples, Sample::unburdened),
            median(samples, Sample::goodput),
            spread(samples.iter().map(Sample::goodput)),
            median(samples, |it| it.goodput() / it.unburdened()),
            median(samples, |it| it.tally().honest_refusals() as f64),
            median(samples, |it| it.tally().refusal_ms(0.5)),
            median(samples, |it| it.tally().refusal_ms(0.99)),
            median(samples, |it| it.probes.tally.refusal_ms(0.5)),
            median(samples, |it| it.probes.tally.refusal_ms(0.99)),
            neither(samples),
            median(samples, Sample::unburdened_peak_mib),
            median(samples, Sample::peak_mib),
            normal_again(samples),
            median(samples, |it| mib(it.burst.1.own)),
        );
    }
    table
}

/// Goodput and memory, as a picture.
pub(crate) fn plot(all: &[(Manners, Vec<Sample>)]) -> Plot {
    let panel = |title, without: fn(&Sample) -> f64, within: fn(&Sample) -> f64| {
        let one = |panel: Panel, (manners, samples): &(Manners, Vec<Sample>)| {
            let (alone, burst) = (
                format!("Headworks alone, {}", manners.short()),
                format!("in the burst, {}", manners.short()),
            );
            let panel = panel.bar(&alone, samples.iter().map(without).collect());
            panel.bar(&burst, samples.iter().map(within).collect())
        };
        all.iter().fold(Panel::new(title), one)
    };
    let panels = vec![
        panel("acknowledged uploads/s", Sample::unburdened, Sample::goodput),
        panel("peak RSS, MiB", Sample::unburdened_peak_mib, Sample::peak_mib),
    ];
    Plot { name: "burst".into(), title: "W6: a burst".into(), panels }
}

/// What came that was neither a 2xx nor a refusal that says when to come back, by kind: in the burst, before and after it.
fn neither(samples: &[Sample]) -> String {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    let loads = samples
        .iter()
        .flat_map(|it| [&it.unburdened.0, &it.before, &it.burst.0, &it.probes].map(|it| &it.tally));
    for (kind, count) in loads.flat_map(Tally::neither) {
        *sums.entry(kind).or_default() += count;
    }
    let mut text = sums.values().sum::<u64>().to_string();
    sums.iter().for_each(|(kind, count)| text += &format!("; {kind}: {count}"));
    text
}

/// The longest of all runs, so that none which did not recover is hidden.
fn normal_again(samples: &[Sample]) -> String {
    let all: Option<Vec<f64>> = samples.iter().map(|it| Some(it.normal_again?.as_secs_f64())).collect();
    let longest = |all: Vec<f64>| all.into_iter().fold(0.0, f64::max);
    all.map_or_else(|| "never".into(), |all| format!("{:.1}", longest(all)))
}
