//! The settings, as `config/default.toml` lists and explains them, and the rules that bind them.

use std::net::SocketAddr;

use serde::Deserialize;

use super::{
    secret::Secret,
    units::{ByteSize, Percent, Span},
    url::Url,
};
use crate::model::EventType;

/// All settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "every key is explained in config/default.toml, once")]
pub struct Settings {
    pub storage: Storage,
    pub queue: Queue,
    pub metadata: Metadata,
    pub ingest: Ingest,
    pub memory: Memory,
    pub disk: Disk,
    pub processor: Processor,
    pub catalog: Catalog,
    pub notify: Notify,
    pub shutdown: Shutdown,
    pub log: Log,
}

/// Where objects are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "every key is explained in config/default.toml, once")]
pub struct Storage {
    pub url: Url,
    pub durability: Durability,
    pub sha256: bool,
    pub small_body: ByteSize,
    pub part_size: ByteSize,
    pub single_put: ByteSize,
}

/// What an acknowledged upload survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// A power cut.
    Fsync,
    /// A crash of Headworks.
    None,
}

/// Where jobs wait.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "every key is explained in config/default.toml, once")]
pub struct Queue {
    pub url: Url,
    pub name: String,
    pub pool: usize,
    pub command_timeout: Span,
    pub capacity: usize,
    pub lease: Span,
    pub credit_block: usize,
    pub credit_ttl: Span,
}

/// Where metadata is kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "every key is explained in config/default.toml, once")]
pub struct Metadata {
    pub url: Url,
    pub replica_url: Url,
    pub pool: usize,
    pub acquire_timeout: Span,
    pub statement_timeout: Span,
}

/// Taking uploads in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "every key is explained in config/default.toml, once")]
pub struct Ingest {
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub max_object: ByteSize,
    pub max_files_per_request: usize,
    pub max_wait: Span,
    pub limits: Limits,
}

/// What one ingest process takes on at most.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "every key is explained in config/default.toml, once")]
pub struct Limits {
    pub streams: usize,
    pub streams_min: usize,
    pub store_within: Span,
    pub connections: usize,
    pub connections_per_address: Percent,
    pub hold: Span,
    pub buffer: ByteSize,
    pub header_timeout: Span,
    pub max_connection_age: Span,
    pub stall_timeout: Span,
    pub min_rate: ByteSize,
    pub upload_timeout: Span,
    pub linger: ByteSize,
}

/// When memory is short.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "every key is explained in config/default.toml, once")]
pub struct Memory {
    pub shut_above: Percent,
    pub open_below: Percent,
    pub critical: Percent,
    pub sample_every: Span,
}

/// When the disk is nearly full.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "every key is explained in config/default.toml, once")]
pub struct Disk {
    pub shut_below: Percent,
    pub open_above: Percent,
}

/// Working off the queue.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "every key is explained in config/default.toml, once")]
pub struct Processor {
    pub admin: SocketAddr,
    pub concurrency: usize,
    pub prefetch: usize,
    pub job_timeout: Span,
    pub max_tries: u32,
    pub batch: Batch,
    pub sweep: Sweep,
}

/// How rows are gathered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "every key is explained in config/default.toml, once")]
pub struct Batch {
    pub rows: usize,
    pub wait: Span,
}

/// How lost work is found.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "every key is explained in config/default.toml, once")]
pub struct Sweep {
    pub every: Span,
    pub deep_every: Span,
    pub settle: Span,
    pub keep: Span,
}

/// Reading.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "every key is explained in config/default.toml, once")]
pub struct Catalog {
    pub listen: SocketAddr,
    pub admin: SocketAddr,
}

/// Telling those who want to know.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "every key is explained in config/default.toml, once")]
pub struct Notify {
    pub webhooks: Vec<Webhook>,
    pub allow_private: bool,
    pub timeout: Span,
    pub concurrency: usize,
    pub max_tries: u32,
}

/// One receiver of events.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where the events go.
    pub url: String,
    /// `whsec_` and the key in base64.
    pub secret: Secret,
    /// Which events; all of them when empty.
    #[serde(default)]
    pub events: Vec<EventType>,
}

/// Going down.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "every key is explained in config/default.toml, once")]
pub struct Shutdown {
    pub drain_delay: Span,
    pub grace: Span,
}

/// What is logged, and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "every key is explained in config/default.toml, once")]
pub struct Log {
    pub filter: String,
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}
