//! `headworks sweep` and `headworks migrate`: by hand what Headworks does on its own.

use std::process::ExitCode;

use clap::Args;
use headworks_processor::{Reach, sweep_once};
use headworks_shared::{
    data_dir::DataDir,
    stack::{self, Site, is_embedded},
};

use crate::{Place, queue::open, short_runtime};

#[derive(Args, Debug)]
pub(crate) struct SweepArgs {
    #[command(flatten)]
    place: Place,
    /// Go round once, and end. There is no other way yet; `serve` sweeps all the time.
    #[arg(long)]
    once: bool,
}

#[expect(clippy::print_stdout, reason = "this command is there to print")]
pub(crate) fn run(args: &SweepArgs) -> anyhow::Result<ExitCode> {
    let settings = args.place.load()?.settings;
    let report = short_runtime()?.block_on(async {
        let (_lock, stack) = open(&args.place).await?;
        Ok::<_, anyhow::Error>(sweep_once(&stack, &settings, Reach::Deep).await?)
    })?;
    println!(
        "{} objects looked up, {} adopted, {} leftovers removed (objects younger than {:?} are left to the next sweep)",
        report.looked_up, report.adopted, report.removed, settings.processor.sweep.settle.0
    );
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "this command is there to print")]
pub(crate) fn migrate(place: &Place) -> anyhow::Result<ExitCode> {
    let settings = place.load()?.settings;
    place.must_be_there(&settings)?;
    let _lock = is_embedded(&settings).then(|| DataDir::lock(&place.data_dir)).transpose()?;
    let site = Site::new(&place.data_dir, &settings);
    short_runtime()?.block_on(stack::migrate(&settings, &site))?;
    println!("the tables are up to date");
    Ok(ExitCode::SUCCESS)
}
