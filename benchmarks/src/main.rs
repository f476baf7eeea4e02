//! Measures Headworks beside others, on the machine at hand: `cargo run --release -p headworks-benchmarks -- run`.
//!
//! The load generator is our own, so that all subjects get the same bytes in the same way and its own cost is known.

mod bench;
mod burst;
mod fleet;
mod load;
mod machine;
mod measure;
mod memory;
mod page;
mod plot;
mod probe;
mod report;
mod runner;
mod scenario;
mod serving;
mod subjects;
mod turns;
mod warm;

use std::{
    fs,
    io::{Write as _, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use headworks_tests::raise_file_limit;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    machine::Machine,
    subjects::{Contender, Paths, Place, Subject},
};

/// Measures Headworks beside others.
#[derive(Parser)]
#[command(name = "headworks-benchmarks", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the scenarios and print the report.
    Run(RunArgs),
    /// How fast jobs that wait become rows.
    Drain(bench::Drain),
    /// How fast, with one processor and with more.
    Scale(bench::Scale),
    /// An upload's whole way through a fleet.
    Journey(bench::Journey),
    /// Ten times as many clients as Headworks is made for.
    Burst(bench::Burst),
    /// What a stream costs in memory.
    Memory(bench::Memory),
    /// What a store costs that stalls.
    Stall(bench::Stall),
    /// As much of S3 as an upload needs, for `memory` and `stall`.
    #[command(hide = true)]
    Sink(memory::Helper),
    /// A server over `object_store`'s `WriteMultipart`, for `memory` and `stall`.
    #[command(hide = true)]
    WriteMultipart(memory::Helper),
    /// The library `s3s-fs` as a server, for `run`.
    #[command(hide = true)]
    S3sFs(subjects::S3sFs),
}

#[derive(Args)]
struct RunArgs {
    /// Only this scenario (repeatable), of those in benchmarks/scenarios.
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// Only this subject (repeatable).
    #[arg(long, value_name = "SUBJECT")]
    subject: Vec<Subject>,
    /// Only in this place (repeatable).
    #[arg(long, value_name = "PLACE")]
    place: Vec<Place>,
    /// How often each scenario runs with each subject; an odd number has a middle.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=99))]
    repetitions: u16,
    /// The program of Headworks.
    #[arg(long, value_name = "PATH", default_value = "target/release/headworks")]
    headworks: PathBuf,
    /// A folder on the disk that is measured.
    #[arg(long, value_name = "DIR", default_value = "target")]
    disk: PathBuf,
    /// Write the report to benchmarks/results/README.md as well.
    #[arg(long)]
    write: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run_or_interrupt(Cli::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headworks-benchmarks: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Interrupted or not, what was started ends with what holds it.
async fn run_or_interrupt(command: Command) -> anyhow::Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        done = obey(command) => done,
        _ = interrupted.recv() => anyhow::bail!("interrupted"),
        _ = terminated.recv() => anyhow::bail!("terminated"),
    }
}

async fn obey(command: Command) -> anyhow::Result<()> {
    raise_file_limit()?;
    match command {
        Command::Run(args) => run(&args).await,
        Command::Drain(args) => args.run().await,
        Command::Scale(args) => args.run().await,
        Command::Journey(args) => args.run().await,
        Command::Burst(args) => args.run().await,
        Command::Memory(args) => args.run().await,
        Command::Stall(args) => args.run().await,
        Command::Sink(helper) => memory::sink(helper.listen).await,
        Command::WriteMultipart(helper) => memory::write_multipart(helper.listen).await,
        Command::S3sFs(helper) => subjects::s3s_fs(helper).await,
    }
}

async fn run(args: &RunArgs) -> anyhow::Result<()> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths = Paths { headworks: args.headworks.clone(), target: std::path::absolute(&args.disk)? };
    let (contenders, skipped) = contenders(args, &paths);
    anyhow::ensure!(!contenders.is_empty(), "no subject is left to run: {}", skipped.join("; "));
    let mut results = Vec::new();
    for scenario in scenario::load(&home.join("scenarios"), &args.scenario)? {
        let able: Vec<_> = contenders.iter().copied().filter(|who| scenario.is_for(who.place)).collect();
        if !able.is_empty() {
            let series = runner::run(&scenario, &able, args.repetitions, &paths).await?;
            results.push((scenario, series));
        }
    }
    let report = report::whole(&Machine::this(), &command_line(), args.repetitions, &results, &skipped);
    stdout().write_all(report.as_bytes())?;
    if args.write {
        let file = home.join("results/README.md");
        fs::create_dir_all(home.join("results"))?;
        fs::write(&file, report).with_context(|| format!("write {}", file.display()))?;
        results.iter().try_for_each(|(scenario, series)| report::plot(scenario, series).write())?;
    }
    Ok(())
}

/// Who is to run, and why others are not.
fn contenders(args: &RunArgs, paths: &Paths) -> (Vec<Contender>, Vec<String>) {
    let mut contenders = Vec::new();
    let mut skipped = Vec::new();
    for &subject in wanted(&args.subject) {
        let places = wanted(&args.place).iter().map(|&place| Contender { subject, place });
        for contender in places.filter(|contender| contender.is_told_apart()) {
            match contender.missing(paths) {
                None => contenders.push(contender),
                Some(reason) => skipped.push(format!("{contender}: {reason}")),
            }
        }
    }
    (contenders, skipped)
}

/// The chosen ones, or all if none was chosen.
fn wanted<T: ValueEnum>(chosen: &[T]) -> &[T] {
    if chosen.is_empty() { T::value_variants() } else { chosen }
}

/// How this program was called, as one would type it.
fn command_line() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo run --release -p headworks-benchmarks -- {}", arguments.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_that_is_not_installed_is_skipped_with_its_reason() {
        let cli = Cli::try_parse_from(["x", "run", "--subject", "headworks", "--place", "memory"]).unwrap();
        let Command::Run(args) = cli.command else { unreachable!("run was asked for") };
        let paths = Paths { headworks: "/nowhere/headworks".into(), target: "/tmp".into() };
        let (contenders, skipped) = contenders(&args, &paths);
        assert!(contenders.is_empty());
        assert_eq!(skipped.len(), 1);
        assert!(skipped[0].contains("/nowhere/headworks"), "{skipped:?}");
    }
}
