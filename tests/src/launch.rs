//! How a Headworks is started: its command line, the file system it sees, and what it says once it listens.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use rustix::process::geteuid;

use crate::{Config, Mount, binary};

/// The command that starts it.
pub(crate) fn command(config: &Config) -> Result<Command> {
    let (data, file) = (config.data(), config.file()?);
    let mut command = wrapped(config, binary::headworks()?)?;
    command.args(["serve", "--config", path(&file)?, "--data-dir", path(&data)?]);
    command.args(["--listen", &config.listen, "--admin", "127.0.0.1:0"]);
    command.envs(&config.variables);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// The command, in a name space of mounts of its own if the test wants one. Whoever is not root gets one as root of a name space
/// of users; where the machine allows neither, the start fails and says so.
fn wrapped(config: &Config, binary: &Path) -> Result<Command> {
    let (folder, mount) = match &config.mount {
        None => return Ok(limited(config, binary)),
        Some(Mount::Small { folder, bytes }) => {
            (config.data().join(folder), format!("mount -t tmpfs -o size={bytes} headworks-test \"$0\""))
        }
        Some(Mount::ReadOnly) => {
            (config.data(), "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"".to_owned())
        }
    };
    std::fs::create_dir_all(&folder)?;
    let mut command = Command::new("unshare");
    command.arg(if geteuid().is_root() { "--mount" } else { "-Urm" });
    command.args(["sh", "-c", &format!("{mount} && exec \"$@\""), path(&folder)?]).arg(binary);
    Ok(command)
}

/// The command, with a bound on its open files or in a control group if the test wants that.
fn limited(config: &Config, binary: &Path) -> Command {
    let files = config.files.map(|files| format!("ulimit -n {files}"));
    let entrance = config.group.as_ref().map(|group| format!("echo $$ > {}", group.entrance().display()));
    let steps: Vec<_> = files.into_iter().chain(entrance).chain(["exec \"$0\" \"$@\"".to_owned()]).collect();
    let mut command = Command::new("sh");
    command.args(["-c", &steps.join(" && ")]).arg(binary);
    command
}

/// The address in the curl line, then the first other one: the operators'.
pub(crate) fn addresses(banner: &[String]) -> Option<[SocketAddr; 2]> {
    let found = |line: &String| -> Vec<SocketAddr> {
        let addresses = line.split("http://").skip(1).map(|rest| {
            let end = rest.find(|c: char| !(c.is_ascii_hexdigit() || ".:[]".contains(c)));
            rest.split_at(end.unwrap_or(rest.len())).0.parse().ok()
        });
        addresses.flatten().collect()
    };
    let listen = *found(banner.iter().find(|line| line.contains("curl "))?).first()?;
    let admin = banner.iter().flat_map(found).find(|address| *address != listen)?;
    Some([listen, admin])
}

/// A path as a process sees it that has mounts of its own.
pub(crate) fn in_its_root(pid: u32, path: &Path) -> PathBuf {
    let below = path.strip_prefix("/").unwrap_or(path);
    PathBuf::from(format!("/proc/{pid}/root")).join(below)
}

/// A path as a command line takes it.
pub(crate) fn path(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no text", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_tells_both_addresses() {
        let banner = [
            "headworks listens on http://127.0.0.1:8080 (admin http://127.0.0.1:9090)",
            "try: curl -T a http://127.0.0.1:8080/v1/files/a",
        ]
        .map(str::to_owned);
        let told = addresses(&banner).map(|addresses| addresses.map(|address| address.port()));
        assert_eq!(told, Some([8080, 9090]));
        assert_eq!(addresses(&banner[..1]), None);
    }
}
