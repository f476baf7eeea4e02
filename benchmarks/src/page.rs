//! Pages of results: how figures of several runs are told, and what is said above them.

use std::{
    fs,
    io::{Write as _, stdout},
    path::Path,
};

use anyhow::Context as _;

use crate::{machine::Machine, plot::Plot, turns::NOTE};

/// The median: the middle one, or the mean of the two in the middle; `None` of nothing.
pub(crate) fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let upper = *values.get(half)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(*values.get(half - 1)?, upper)) }
}

/// The median of what `value` tells of each sample; not a number when there is none.
pub(crate) fn median<S>(samples: &[S], value: impl Fn(&S) -> f64) -> f64 {
    middle(samples.iter().map(value).collect()).unwrap_or(f64::NAN)
}

/// The least and the most, as `least–most`.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> String {
    let (least, most) = values
        .fold((f64::INFINITY, 0.0), |(least, most), value| (f64::min(least, value), f64::max(most, value)));
    format!("{least:.0}–{most:.0}")
}

/// What was measured, on what, and how; the table follows.
#[derive(Debug)]
pub(crate) struct Page {
    /// The file's name in `benchmarks/results`, without its ending.
    pub name: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// How it was measured, line by line.
    pub notes: &'static [&'static str],
}

impl Page {
    /// Prints the page, and writes it to its file too if that is wanted.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn tell(
        &self,
        table: &str,
        plots: &[Plot],
        repetitions: u16,
        skipped: &[String],
        write: bool,
    ) -> anyhow::Result<()> {
        let mut text = format!("# {}\n\n{}", self.title, preamble(repetitions));
        self.notes.iter().for_each(|note| text += &format!("- {note}\n"));
        text += &format!("\n{table}");
        plots.iter().for_each(|plot| text += &format!("\n{}", plot.link()));
        skipped.iter().for_each(|line| text += &format!("\nSkipped: {line}\n"));
        stdout().write_all(text.as_bytes())?;
        if write {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("results/{}.md", self.name));
            fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
            plots.iter().try_for_each(Plot::write)?;
        }
        Ok(())
    }
}

fn preamble(repetitions: u16) -> String {
    let Machine { day, kernel, processor, cores, memory_gib } = Machine::this();
    let command = crate::command_line();
    format!(
        "Written by `{command}` on {day}.\n\n\
         - Machine: {cores} cores ({processor}), {memory_gib:.0} GiB of memory, {kernel}; all that is measured, and what measures it, share it.\n\
         - Figures are medians of {repetitions} runs, each with fresh servers and processes; contenders take turns. {NOTE}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_two_is_between_them() {
        assert_eq!(middle(vec![3.0, 1.0]), Some(2.0));
        assert_eq!(middle(vec![]), None);
        assert_eq!(spread([3.0, 1.4, 2.0].into_iter()), "1–3");
    }
}
