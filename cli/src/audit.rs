//! `headworks audit`: a line for each finding, and exit code 1 if there is one.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use headworks_shared::{
    audit::{Options, audit},
    clock::Clock,
    stack::peek,
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
    args.place.must_be_there(&settings)?;
    let sweep = &settings.processor.sweep;
    let audited = short_runtime()?.block_on(async {
        let stores = args.place.stores_to_read(&settings).await?;
        let waiting = peek(&settings, &args.place.data_dir).await?.waiting.into_iter().collect();
        let options = Options {
            now: Clock::system().now(),
            settle: sweep.settle.0 + sweep.every.0 + Duration::from_secs(1),
            waiting,
            deep: args.deep,
        };
        let mut print = |finding: &headworks_shared::audit::Finding| println!("{finding}");
        Ok::<_, anyhow::Error>(audit(&*stores.blobs, &*stores.meta, &options, &mut print).await?)
    })?;
    println!("{} objects and {} ledger rows: {} findings", audited.objects, audited.rows, audited.findings);
    Ok(if audited.findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
