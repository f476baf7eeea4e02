//! Plots: bars of medians, each with a line from the least to the most, as SVG.

use std::{fs, path::Path};

use anyhow::Context as _;

use crate::page::middle;

/// Measures of the picture, in its own pixels.
const WIDTH: u32 = 760;
const LABELS: u32 = 250;
const BARS: u32 = 400;
const ROW: u32 = 22;
const HEAD: u32 = 34;

/// Ours, and the others'.
const COLOURS: [&str; 2] = ["#1f6f8b", "#9aa5ad"];

/// A picture of some panels, one below the other.
#[derive(Debug)]
pub(crate) struct Plot {
    /// The file's name, without its ending.
    pub name: String,
    /// What it shows, for those who do not see it.
    pub title: String,
    /// The panels.
    pub panels: Vec<Panel>,
}

/// Bars that share a scale.
#[derive(Debug)]
pub(crate) struct Panel {
    title: String,
    bars: Vec<Bar>,
}

#[derive(Debug)]
struct Bar {
    label: String,
    median: f64,
    least: f64,
    most: f64,
}

impl Panel {
    /// One without bars.
    pub(crate) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), bars: Vec::new() }
    }

    /// With a bar for each of these, of what `value` tells of its samples.
    pub(crate) fn of<C: ToString, S>(title: &str, all: &[(C, Vec<S>)], value: impl Fn(&S) -> f64) -> Self {
        let one = |panel: Self, (who, samples): &(C, Vec<S>)| {
            panel.bar(&who.to_string(), samples.iter().map(&value).collect())
        };
        all.iter().fold(Self::new(title), one)
    }

    /// With one bar more, when it has values.
    pub(crate) fn bar(mut self, label: &str, values: Vec<f64>) -> Self {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        if let Some(median) = middle(values) {
            self.bars.push(Bar { label: label.to_owned(), median, least, most });
        }
        self
    }

    fn height(&self) -> u32 {
        HEAD + ROW * u32::try_from(self.bars.len()).unwrap_or(u32::MAX / ROW)
    }

    /// The panel with its upper edge at `top`.
    fn svg(&self, top: u32) -> String {
        let scale =
            f64::from(BARS - 60) / self.bars.iter().map(|bar| bar.most).fold(f64::MIN_POSITIVE, f64::max);
        let mut svg = text(
            10,
            top + 22,
            "start",
            &format!("<tspan font-weight=\"bold\">{}</tspan>", plain(&self.title)),
        );
        for (bar, place) in self.bars.iter().zip(0..) {
            svg += &bar.svg(top + HEAD + ROW * place, scale);
        }
        svg
    }
}

impl Bar {
    fn svg(&self, top: u32, scale: f64) -> String {
        let [median, least, most] = [self.median, self.least, self.most].map(|value| value * scale);
        let colour = if self.label.starts_with("Headworks") { COLOURS[0] } else { COLOURS[1] };
        let (left, middle) = (f64::from(LABELS), f64::from(top) + 8.0);
        let mut svg = text(LABELS - 8, top + 12, "end", &plain(&self.label));
        svg += &format!(
            "<rect x=\"{LABELS}\" y=\"{top}\" width=\"{median:.1}\" height=\"16\" fill=\"{colour}\"/>\n"
        );
        svg += &format!(
            "<path d=\"M{:.1} {middle}H{:.1}\" stroke=\"#222\" stroke-width=\"2\"/>\n",
            left + least,
            left + most.max(least + 1.0)
        );
        svg + &format!(
            "<text x=\"{:.1}\" y=\"{}\">{}</text>\n",
            left + most.max(median) + 6.0,
            top + 12,
            figure(self.median)
        )
    }
}

impl Plot {
    /// The line of a page that shows it.
    pub(crate) fn link(&self) -> String {
        format!("![{}](plots/{}.svg)\n", self.title, self.name)
    }

    /// Writes it to `benchmarks/results/plots`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/plots");
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{}.svg", self.name));
        fs::write(&file, self.svg()).with_context(|| format!("write {}", file.display()))
    }

    fn svg(&self) -> String {
        let height: u32 = self.panels.iter().map(Panel::height).sum::<u32>() + 10;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n<title>{}</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
            plain(&self.title)
        );
        let mut top = 0;
        for panel in &self.panels {
            svg += &panel.svg(top);
            top += panel.height();
        }
        svg + "</svg>\n"
    }
}

fn text(x: u32, y: u32, anchor: &str, inner: &str) -> String {
    format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{inner}</text>\n")
}

/// A number with three figures, or all that stand before its point.
fn figure(value: f64) -> String {
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot() -> Plot {
        let panel =
            Panel::new("requests/s").bar("Headworks", vec![50.0, 100.0, 200.0]).bar("a < b", vec![40.0]);
        Plot { name: "w".into(), title: "W & V".into(), panels: vec![panel.bar("nobody", vec![])] }
    }

    #[test]
    fn a_bar_is_as_long_as_its_median_and_its_line_goes_from_least_to_most() {
        let svg = plot().svg();
        assert!(svg.contains("width=\"170.0\""), "half of 340 is 100 of 200: {svg}");
        assert!(svg.contains("M335.0 42H590.0"), "from 50 to 200: {svg}");
        assert!(svg.contains(">100</text>") && svg.contains(">40.0</text>"), "{svg}");
    }

    #[test]
    fn names_stay_names_and_who_has_no_run_has_no_bar() {
        let svg = plot().svg();
        assert!(svg.contains("a &lt; b") && svg.contains("W &amp; V") && !svg.contains("nobody"), "{svg}");
        assert_eq!(svg.matches("<rect x=").count(), 2);
    }
}
