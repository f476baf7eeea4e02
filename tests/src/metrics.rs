//! The figures of a process, out of the Prometheus text format.

use anyhow::{Result, ensure};

/// One scrape.
#[derive(Clone, Debug)]
pub struct Metrics(Vec<Series>);

#[derive(Clone, Debug)]
struct Series {
    name: String,
    labels: String,
    value: f64,
}

impl Metrics {
    /// Reads the text format. Lines that are no figures are passed over.
    pub fn parse(text: &str) -> Self {
        let series = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            Some(Series { name: name.to_owned(), labels: labels.to_owned(), value: value.parse().ok()? })
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(series).collect())
    }

    /// The sum of all series of this name that have these labels.
    ///
    /// # Errors
    /// When there is none: a figure that has gone is not a figure of zero.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let labelled = |series: &&Series| {
            labels.iter().all(|(label, value)| series.labels.contains(&format!("{label}=\"{value}\"")))
        };
        let found: Vec<f64> = self
            .0
            .iter()
            .filter(|series| series.name == name)
            .filter(labelled)
            .map(|one| one.value)
            .collect();
        ensure!(!found.is_empty(), "no metric {name} with {labels:?}");
        Ok(found.iter().sum())
    }

    /// What must be back to nothing once nobody uploads any more: uploads in flight, bytes buffered, jobs in any state.
    ///
    /// # Errors
    /// When one of the figures is not there.
    pub fn busy(&self) -> Result<[f64; 5]> {
        let depth = |state| self.sum("headworks_queue_depth_jobs", &[("state", state)]);
        Ok([
            self.sum("headworks_uploads_in_flight", &[])?,
            self.sum("headworks_buffered_bytes", &[])?,
            depth("ready")?,
            depth("in_flight")?,
            depth("delayed")?,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_over_the_labels_that_were_not_asked_for() {
        let metrics = Metrics::parse(
            r#"# HELP jobs Jobs
# TYPE jobs gauge
jobs{priority="low",state="ready"} 2
jobs{priority="high",state="ready"} 3
jobs{priority="high",state="done"} 9
up 1
"#,
        );
        assert_eq!(metrics.sum("jobs", &[("state", "ready")]).unwrap(), 5.0);
        assert_eq!(metrics.sum("up", &[]).unwrap(), 1.0);
        assert!(metrics.sum("down", &[]).is_err());
    }
}
