//! `headworks config`: check, print and explain the settings.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use headworks_shared::{
    config::{DEFAULTS, to_markdown},
    process::Unusable,
};

use crate::Place;

#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Say all that is wrong with the settings, and exit with 64 if something is.
    Check(Place),
    /// Print the settings in force, secrets left out.
    Print(Place),
    /// Print every setting with its default and what it means.
    Reference {
        /// As a page of Markdown.
        #[arg(long)]
        markdown: bool,
    },
}

#[expect(clippy::print_stdout, reason = "this command is there to print")]
pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    match &args.what {
        What::Check(place) => {
            headworks_processor::check(&place.load()?.settings).map_err(Unusable::new)?;
            println!("the settings are fine");
        }
        What::Print(place) => print!("{}", place.load()?.print()),
        What::Reference { markdown: true } => print!("{}", to_markdown()),
        What::Reference { markdown: false } => print!("{DEFAULTS}"),
    }
    Ok(ExitCode::SUCCESS)
}
