//! `headworks docs`: the pages that are made from the program itself, so that they cannot say anything else.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::Args;
use headworks_ingest::Ingest;
use headworks_shared::{
    config,
    http::{self, Code},
    limits::Gate,
    stack::{Site, Stack},
    telemetry::build,
};

use crate::short_runtime;

#[derive(Args, Debug)]
pub(crate) struct DocsArgs {
    /// Where the pages are.
    #[arg(default_value = "docs")]
    folder: PathBuf,
    /// Write nothing: fail if a page is not what it would be.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &DocsArgs) -> anyhow::Result<ExitCode> {
    let pages = [
        ("configuration.md", config::to_markdown()),
        ("error-codes.md", error_codes()),
        ("metrics.md", metrics()?),
    ];
    let mut stale = Vec::new();
    for (name, page) in pages {
        let path = args.folder.join(name);
        if args.check {
            if std::fs::read_to_string(&path).unwrap_or_default() != page {
                stale.push(path.display().to_string());
            }
        } else {
            std::fs::create_dir_all(&args.folder)?;
            std::fs::write(path, page)?;
        }
    }
    if !stale.is_empty() {
        bail!("not up to date: {}; run `make docs`", stale.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn error_codes() -> String {
    let mut page = String::from(
        "# Error codes\n\nGenerated from `shared/src/http/code.rs`; `make docs` writes it anew.\n\nEvery error is `application/problem+json` \
         (RFC 9457) with `type`, `title`, `status`, `detail`, `code` and `request_id`; a refusal has `reason` and `retry_after_s` too.\n\n\
         | code | status | title | what to do |\n|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let (status, help) = (code.status().as_u16(), code.help().trim());
        let _written = writeln!(page, "| `{}` | {status} | {} | {help} |", code.as_str(), code.title());
    }
    page
}

/// Starts the whole system in a folder that is thrown away, and asks it for its metrics.
fn metrics() -> anyhow::Result<String> {
    let folder = std::env::temp_dir().join(format!("headworks-docs-{:016x}", fastrand::u64(..)));
    std::fs::create_dir_all(&folder)?;
    let described = short_runtime()?.block_on(async {
        let settings = config::load(None, [])?.settings;
        let site = Site::new(&folder, &settings);
        build::show(&site.registry, "headworks");
        let stack = Stack::open(&settings, &site).await?;
        let _ingest = Ingest::start(&stack, &settings, Gate::default(), &site.budget, &site.tasks);
        headworks_processor::start(&stack, &settings, &site.tasks)?;
        let _catalog = headworks_catalog::Catalog::new(&stack.stores());
        let _http = http::Metrics::new(&stack.registry, &["put_file"]);
        site.tasks.stop().cancel();
        site.tasks.drain(std::time::Duration::from_secs(5)).await;
        Ok::<_, anyhow::Error>(stack.registry.describe())
    });
    std::fs::remove_dir_all(&folder)?;
    let mut page = String::from(
        "# Metrics\n\nGenerated from what the program registers; `make docs` writes it anew. On the admin listener, at `/metrics`.\n\n\
         | metric | kind | labels | what it says |\n|---|---|---|---|\n",
    );
    for (name, kind, help, labels) in described? {
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(" ");
        let _written = writeln!(page, "| `{name}` | {kind} | {labels} | {help} |");
    }
    Ok(page)
}
