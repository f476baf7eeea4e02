//! Logs go to standard error: text for people on a terminal, one JSON object a line for machines otherwise.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{
    Layer as _, filter::Targets, fmt, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _,
};

use crate::config::settings::{Log, LogFormat};

/// Begins to log. A second call changes nothing.
pub fn start(settings: &Log) {
    // The filter was checked with the settings.
    let filter: Targets = settings.filter.parse().unwrap_or_default();
    let terminal = io::stderr().is_terminal();
    let text = match settings.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let layer = if text {
        fmt::layer().with_writer(io::stderr).with_ansi(terminal).with_target(false).boxed()
    } else {
        fmt::layer()
            .with_writer(io::stderr)
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed()
    };
    // A test binary may have begun to log already.
    drop(registry().with(layer.with_filter(filter)).try_init());
}
