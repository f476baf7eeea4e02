//! `headworks health URL`: for health checks in containers, where there is no curl.

use std::{
    io::{Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;

/// The longest wait for each step.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Args, Debug)]
pub(crate) struct HealthArgs {
    /// Where to ask, as in `http://127.0.0.1:9090/readyz`.
    url: String,
}

#[expect(clippy::print_stdout, reason = "this command is there to print")]
pub(crate) fn run(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let rest = args.url.strip_prefix("http://").context("the URL must begin with http://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, "readyz"));
    let address = host.to_socket_addrs()?.next().with_context(|| format!("no address for {host}"))?;
    let mut stream =
        TcpStream::connect_timeout(&address, PATIENCE).with_context(|| format!("connect to {host}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(1 << 20).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
    println!("{body}");
    let healthy = head.split(' ').nth(1) == Some("200");
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
