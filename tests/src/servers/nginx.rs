//! nginx in front of a fleet, as `deploy/nginx` has it: its files are run as they are, but for addresses, certificate and folders.
//! Debian's package.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{Server, certificates::Certificates, free_address, program};

/// A balancer.
#[derive(Debug)]
pub struct Nginx {
    server: Server,
    tls: SocketAddr,
    folder: TempDir,
    certificates: Certificates,
}

impl Nginx {
    /// Listens at `address`, or on a free port, and beside it with TLS; uploads go to `ingests`, all else to `catalogs`.
    ///
    /// # Errors
    /// When it is not installed or does not start, or its files have no place for what is different here.
    pub async fn start(
        address: Option<SocketAddr>,
        ingests: &[SocketAddr],
        catalogs: &[SocketAddr],
    ) -> Result<Self> {
        let (address, tls) = (address.map_or_else(free_address, Ok)?, free_address()?);
        let (folder, certificates) = (tempfile::tempdir()?, Certificates::make("IP:127.0.0.1")?);
        // Its workers are another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        write(folder.path(), "upstreams.conf", |text| {
            let text = with_servers(&with_servers(text, "ingest", ingests), "catalog", catalogs);
            Ok(text + &temporary(folder.path()))
        })?;
        write(folder.path(), "listen.conf", |text| listen(text, address, tls, folder.path(), &certificates))?;
        write(folder.path(), "nginx.conf", |text| {
            replaced(text, &[("127.0.0.1:8079", &free_address()?.to_string())])
        })?;
        let mut command = Command::new(program("nginx", &["/usr/sbin"])?);
        command.args(["-e", "stderr", "-g", &format!("daemon off; pid {}/pid;", folder.path().display())]);
        command.arg("-p").arg(folder.path()).arg("-c").arg(folder.path().join("nginx.conf"));
        let server = Server::start("nginx", command, folder.path(), address).await?;
        Ok(Self { server, tls, folder, certificates })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where it listens with TLS, for HTTP/2 too.
    pub fn tls(&self) -> SocketAddr {
        self.tls
    }

    /// Whose word its certificate is good by.
    pub fn authority(&self) -> PathBuf {
        self.certificates.authority()
    }

    /// The files in which it keeps bodies that it cannot hold.
    ///
    /// # Errors
    /// When its folders cannot be read.
    pub fn bodies(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().join("body"), self.folder.path().join("proxy")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
                let entry = entry?;
                if entry.file_type()?.is_dir() { &mut folders } else { &mut found }.push(entry.path());
            }
        }
        Ok(found)
    }

    /// The memory of its workers, in bytes.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn memory(&self) -> Result<u64> {
        let id = self.server.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        children.split_whitespace().map(|child| crate::process::memory(child.parse()?, "VmRSS")).sum()
    }
}

/// Writes one of the shipped files to a folder, with what is different there.
fn write(folder: &Path, name: &str, change: impl FnOnce(&str) -> Result<String>) -> Result<()> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nginx").join(name);
    let text = fs::read_to_string(&shipped).with_context(|| format!("read {}", shipped.display()))?;
    let text = change(&text).with_context(|| format!("change {name}"))?;
    fs::write(folder.join(name), text).with_context(|| format!("write {name}"))
}

/// A text with other words in it; each must be there to be replaced.
fn replaced(text: &str, words: &[(&str, &str)]) -> Result<String> {
    words.iter().try_fold(text.to_owned(), |text, (from, to)| {
        ensure!(text.contains(from), "there is no {from:?} to be replaced");
        Ok(text.replace(from, to))
    })
}

/// The servers of an upstream, each with what is said of the first one.
fn with_servers(text: &str, upstream: &str, servers: &[SocketAddr]) -> String {
    let (mut within, mut written, mut lines) = (false, false, Vec::new());
    for line in text.lines() {
        within = line.starts_with("upstream ") && line.contains(upstream) || within && line != "}";
        match line.trim_start().strip_prefix("server ") {
            Some(server) if within && !written => {
                let (_, rules) = server.split_once(' ').unwrap_or((server, ";"));
                lines.extend(servers.iter().map(|server| format!("    server {server} {rules}")));
                written = true;
            }
            Some(_) if within => {}
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

/// Plain, too: for clients that a test can look into.
fn listen(
    text: &str,
    plain: SocketAddr,
    tls: SocketAddr,
    folder: &Path,
    certificates: &Certificates,
) -> Result<String> {
    let here = format!("listen {plain} backlog=4096;\nlisten {tls} ssl http2 backlog=4096;");
    let (certificate, key) = (certificates.server(), certificates.key());
    replaced(
        text,
        &[
            ("listen 443 ssl http2 backlog=4096;", &here),
            ("listen [::]:443 ssl http2 backlog=4096;", ""),
            ("/etc/nginx/tls/fullchain.pem", &certificate.to_string_lossy()),
            ("/etc/nginx/tls/privkey.pem", &key.to_string_lossy()),
            ("/var/log/nginx", &folder.to_string_lossy()),
        ],
    )
}

/// Debian's folders are not ours to write to.
fn temporary(folder: &Path) -> String {
    let folder = folder.display();
    let path = |(name, at)| format!("{name}_temp_path {folder}/{at};\n");
    let all = [("client_body", "body"), ("proxy", "proxy"), ("fastcgi", "f"), ("uwsgi", "u"), ("scgi", "s")];
    all.map(path).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_of_an_upstream_is_replaced_and_keeps_its_rules() {
        let text = "upstream ingest {\n    zone a 64k;\n    server a:1 x=1;\n    server b:1;\n}\nupstream b {\n    server c:1;\n}\n";
        let servers = ["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()];
        let wanted = "upstream ingest {\n    zone a 64k;\n    server 127.0.0.1:1 x=1;\n    server 127.0.0.1:2 x=1;\n}\nupstream b {\n    server c:1;\n}\n";
        assert_eq!(with_servers(text, "ingest", &servers), wanted);
    }

    #[test]
    fn a_word_that_is_not_there_is_told() {
        assert_eq!(replaced("a b", &[("a", "c"), ("b", "d")]).unwrap(), "c d");
        assert!(replaced("a b", &[("x", "y")]).unwrap_err().to_string().contains("\"x\""));
    }
}
