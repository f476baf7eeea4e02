//! Certificates for servers under test: an authority of our own, and a server's that it signed. Made by `openssl`, for two days.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{give_away, postgres::as_user, program};

/// A folder with certificates, owned by the user whom servers run as.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes them for a server with this name (`DNS:…` or `IP:…`).
    ///
    /// # Errors
    /// When `openssl` is not installed, or fails.
    pub fn make(name: &str) -> Result<Self> {
        let folder = TempDir::with_prefix("headworks-certificates-")?;
        let user = give_away(folder.path())?;
        let made = Self { folder };
        let openssl = |rest: &[&str]| {
            let mut command = as_user(program("openssl", &["/usr/bin"])?, user);
            command.current_dir(made.folder.path()).args(["req", "-x509", "-days", "2", "-nodes", "-batch"]);
            command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]).args(rest);
            let output = command.output().with_context(|| format!("run {command:?}"))?;
            ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        };
        openssl(&["-subj", "/CN=authority", "-keyout", "authority.key", "-out", "authority.pem"])?;
        let name = format!("subjectAltName={name}");
        openssl(&[
            "-subj",
            "/CN=server",
            "-keyout",
            "server.key",
            "-out",
            "server.pem",
            "-CA",
            "authority.pem",
            "-CAkey",
            "authority.key",
            "-addext",
            &name,
            "-addext",
            "basicConstraints=CA:FALSE",
        ])?;
        Ok(made)
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// The server's certificate.
    pub fn server(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    /// The server's key.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }
}
