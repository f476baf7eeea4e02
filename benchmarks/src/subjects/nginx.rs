//! nginx with its WebDAV module: the cheapest way there is to get a body into a file.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context as _;

use super::{
    Intake, Rest, Running,
    process::{Process, Ready, free_address},
};

const TEMPLATE: &str = include_str!("../../peers/nginx/nginx.conf");
/// Debian's place, which is not on every user's path.
const PLACES: [&str; 2] = ["nginx", "/usr/sbin/nginx"];

/// Its program; `None` when it is not installed.
pub(super) fn program() -> Option<&'static str> {
    let runs = |program: &&str| {
        Command::new(program).arg("-v").stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    PLACES.into_iter().find(|program| runs(program))
}

/// Starts it with `folder` as its prefix.
pub(super) async fn start(folder: &Path) -> anyhow::Result<Running> {
    let program = program().context("nginx is not installed")?;
    let address = free_address()?;
    for part in ["objects", "incoming", "unused"] {
        fs::create_dir(folder.join(part))?;
    }
    let config = folder.join("nginx.conf");
    fs::write(&config, filled_in(address.port(), rustix::process::geteuid().is_root()))?;
    let mut command = Command::new(program);
    command.arg("-p").arg(folder).arg("-c").arg(&config).arg("-e").arg(folder.join("error.log"));
    let mut process = Process::start(&mut command, &folder.join("output.log"))?;
    process.ready(address, "/", Ready::Answers).await.context("start nginx")?;
    Ok(Running { processes: vec![process], rest: Rest::Nothing, intake: Intake::put(address, "/up") })
}

/// The configuration. Only root can choose the workers' user, and has to: its own files are not theirs.
fn filled_in(port: u16, root: bool) -> String {
    TEMPLATE.replace("@USER@", if root { "user root;" } else { "" }).replace("@PORT@", &port.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_fill_in() {
        let config: String = filled_in(8_099, true).lines().filter(|line| !line.starts_with('#')).collect();
        assert!(config.contains("127.0.0.1:8099") && config.contains("user root;"));
        assert!(!config.contains('@'), "{config}");
    }
}
