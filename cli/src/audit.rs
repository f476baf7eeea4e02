//! `headworks audit`: a line for each finding, and exit code 1 if there is one.

use std::{collections::HashSet, process::ExitCode, time::Duration};

use clap::Args;
use headworks_shared::{
    audit::{Options, audit},
    clock::Clock,
    limits::Budget,
    queue::sqlite::waiting,
    stack::{open_blobs_to_read, open_meta_to_read, queue_file},
};

use crate::{Place, short_runtime};

#[derive(Args, Debug)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    place: Place,
    /// Read every object, and hash it again.
    #[arg(long)]
    deep: bool,
}

#[expect(clippy::print_stdout, reason = "this command is there to print")]
pub(crate) fn run(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    let settings = args.place.load()?.settings;
    args.place.must_be_there()?;
    let sweep = &settings.processor.sweep;
    let audited = short_runtime()?.block_on(async {
        let blobs = open_blobs_to_read(&settings, &args.place.data_dir, &Budget::new(1 << 20))?;
        let meta = open_meta_to_read(&settings, &args.place.data_dir)?;
        let waiting: HashSet<_> =
            waiting(&queue_file(&settings, &args.place.data_dir)?)?.into_iter().collect();
        let options = Options {
            now: Clock::system().now(),
            settle: sweep.settle.0 + sweep.every.0 + Duration::from_secs(1),
            waiting,
            deep: args.deep,
        };
        let mut print = |finding: &headworks_shared::audit::Finding| println!("{finding}");
        Ok::<_, anyhow::Error>(audit(blobs.as_ref(), meta.as_ref(), &options, &mut print).await?)
    })?;
    println!("{} objects and {} ledger rows: {} findings", audited.objects, audited.rows, audited.findings);
    Ok(if audited.findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
