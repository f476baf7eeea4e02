//! nginx in front of a fleet, as `make fleet` has it: one address for uploads and reading. Debian's package.

use std::{fmt::Write as _, net::SocketAddr, path::Path, process::Command};

use anyhow::Result;
use tempfile::TempDir;

use super::{Server, free_address, program};

/// A balancer.
#[derive(Debug)]
pub struct Nginx {
    server: Server,
    _folder: TempDir,
}

impl Nginx {
    /// Listens at `address`, or on a free port; uploads go to `ingests`, all else to `catalogs`, each to the one with the fewest.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub async fn start(
        address: Option<SocketAddr>,
        ingests: &[SocketAddr],
        catalogs: &[SocketAddr],
    ) -> Result<Self> {
        let address = address.map_or_else(free_address, Ok)?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration(folder.path(), address, ingests, catalogs))?;
        let mut command = Command::new(program("nginx", &["/usr/sbin"])?);
        command.arg("-c").arg(&file).arg("-p").arg(folder.path()).args(["-e", "stderr"]);
        let server = Server::start("nginx", command, folder.path(), address).await?;
        Ok(Self { server, _folder: folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

/// A body is passed on as it comes, and never sent twice: an upload that was cut off is the client's to repeat.
fn configuration(
    folder: &Path,
    address: SocketAddr,
    ingests: &[SocketAddr],
    catalogs: &[SocketAddr],
) -> String {
    let folder = folder.display();
    let upstream = |name: &str, servers: &[SocketAddr]| {
        let mut text = format!("    upstream {name} {{\n        least_conn;\n        keepalive 256;\n");
        for server in servers {
            // Writing to a `String` cannot fail.
            let _written = writeln!(text, "        server {server} max_fails=0;");
        }
        text + "    }\n"
    };
    format!(
        "daemon off;\nworker_processes auto;\nerror_log stderr warn;\npid {folder}/pid;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n    access_log off;\n    client_max_body_size 0;\n    client_body_temp_path {folder}/body;\n    \
         proxy_temp_path {folder}/proxy;\n    fastcgi_temp_path {folder}/f;\n    uwsgi_temp_path {folder}/u;\n    \
         scgi_temp_path {folder}/s;\n\
         {}{}    map $request_method $part {{ default catalog; PUT ingest; POST ingest; }}\n    \
         server {{\n        listen {address} backlog=4096;\n        location / {{\n            \
         proxy_pass http://$part;\n            proxy_http_version 1.1;\n            proxy_set_header Connection \"\";\n            \
         proxy_set_header Host $http_host;\n            proxy_request_buffering off;\n            proxy_buffering off;\n            \
         proxy_next_upstream error;\n            proxy_next_upstream_tries 2;\n            proxy_connect_timeout 2s;\n            \
         proxy_read_timeout 120s;\n            proxy_send_timeout 120s;\n        }}\n    }}\n}}\n",
        upstream("ingest", ingests),
        upstream("catalog", catalogs),
    )
}
