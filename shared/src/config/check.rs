//! The rules that bind the settings. Every struct is taken apart, so that a new field must be thought about here.

use std::time::Duration;

use super::{
    ByteSize, Settings, Span,
    rules::Rules,
    settings::{
        Batch, Catalog, Disk, Ingest, Limits, Log, Memory, Metadata, Notify, Processor, Queue, Shutdown,
        Storage, Sweep, Webhook,
    },
};

const fn ms(n: u64) -> Span {
    Span(Duration::from_millis(n))
}

const fn s(n: u64) -> Span {
    ms(n * 1000)
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

impl Settings {
    pub(super) fn check(&self, rules: &mut Rules) {
        let Self {
            storage,
            queue,
            metadata,
            ingest,
            memory,
            disk,
            processor,
            catalog,
            notify,
            shutdown,
            log,
        } = self;
        storage.check(rules);
        queue.check(rules);
        metadata.check(rules);
        ingest.check(rules);
        memory.check(rules);
        disk.check(rules);
        processor.check(rules);
        catalog.check(rules);
        notify.check(rules);
        shutdown.check(rules);
        log.check(rules);
        if storage.url.scheme() != "file" {
            parts_fit(storage, ingest, rules);
        }
    }
}

/// The most parts of an object, as S3 has it; Azure takes 50,000.
const PARTS: u64 = 10_000;

/// Bodies of unknown length go to a bucket in parts: each must have room in its half of the buffer, and the largest object in all of them.
fn parts_fit(storage: &Storage, ingest: &Ingest, rules: &mut Rules) {
    let (part, buffer) = (storage.part_size, ingest.limits.buffer);
    if buffer.0 < part.0.saturating_mul(2) {
        rules.broken(
            "ingest.limits.buffer",
            buffer,
            format!("must be at least twice storage.part_size ({part})"),
        );
    }
    if ingest.max_object.0 > part.0.saturating_mul(PARTS) {
        let rule = format!("must be at most {PARTS} times storage.part_size ({part})");
        rules.broken("ingest.max_object", ingest.max_object, rule);
    }
}

impl Storage {
    fn check(&self, rules: &mut Rules) {
        let Self { url, durability: _, sha256: _, small_body, part_size, single_put } = self;
        rules.scheme("storage.url", url, &["file", "s3", "gs", "az"]);
        rules.within("storage.small_body", *small_body, &(ByteSize(0)..=ByteSize::mib(1)));
        rules.within("storage.part_size", *part_size, &(ByteSize::mib(5)..=ByteSize(1 << 30)));
        rules.within("storage.single_put", *single_put, &(ByteSize::mib(5)..=ByteSize(5 << 30)));
    }
}

impl Queue {
    fn check(&self, rules: &mut Rules) {
        let Self { url, name, pool, command_timeout, capacity, lease, credit_block, credit_ttl } = self;
        rules.scheme("queue.url", url, &["sqlite", "redis", "rediss", "memory"]);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            rules.broken("queue.name", name, "must be 1 to 64 letters, digits, - or _");
        }
        rules.within("queue.pool", *pool, &(1..=1000));
        rules.within("queue.command_timeout", *command_timeout, &(ms(100)..=s(MINUTE)));
        rules.within("queue.capacity", *capacity, &(1..=10_000_000));
        rules.within("queue.lease", *lease, &(s(1)..=s(HOUR)));
        rules.within("queue.credit_block", *credit_block, &(1..=10_000));
        rules.within("queue.credit_ttl", *credit_ttl, &(s(1)..=s(10 * MINUTE)));
    }
}

impl Metadata {
    fn check(&self, rules: &mut Rules) {
        let Self { url, replica_url, pool, acquire_timeout, statement_timeout } = self;
        rules.scheme("metadata.url", url, &["sqlite", "postgres", "postgresql"]);
        if !replica_url.is_empty() {
            rules.scheme("metadata.replica_url", replica_url, &["postgres", "postgresql"]);
        }
        rules.within("metadata.pool", *pool, &(1..=1000));
        rules.within("metadata.acquire_timeout", *acquire_timeout, &(ms(100)..=s(MINUTE)));
        rules.within("metadata.statement_timeout", *statement_timeout, &(ms(100)..=s(10 * MINUTE)));
    }
}

impl Ingest {
    fn check(&self, rules: &mut Rules) {
        let Self { listen, admin, max_object, max_files_per_request, max_wait, limits } = self;
        if listen == admin && listen.port() != 0 {
            rules.broken("ingest.admin", admin, "must not be the address of ingest.listen");
        }
        rules.within("ingest.max_object", *max_object, &(ByteSize(1)..=ByteSize(5 << 40)));
        rules.within("ingest.max_files_per_request", *max_files_per_request, &(1..=1000));
        rules.within("ingest.max_wait", *max_wait, &(s(0)..=s(MINUTE)));
        limits.check(rules);
    }
}

impl Limits {
    fn check(&self, rules: &mut Rules) {
        let Self {
            streams,
            streams_min,
            store_within,
            connections,
            // Bounded by its type.
            connections_per_address: _,
            hold,
            buffer,
            header_timeout,
            max_connection_age,
            stall_timeout,
            min_rate,
            upload_timeout,
            linger,
        } = self;
        rules.within("ingest.limits.streams", *streams, &(1..=1_000_000));
        rules.within("ingest.limits.streams_min", *streams_min, &(1..=1_000_000));
        rules.within("ingest.limits.store_within", *store_within, &(ms(100)..=s(HOUR)));
        rules.within("ingest.limits.connections", *connections, &(1..=1_000_000));
        rules.within("ingest.limits.hold", *hold, &(s(0)..=s(MINUTE)));
        rules.within("ingest.limits.buffer", *buffer, &(ByteSize::mib(1)..=ByteSize(1 << 40)));
        rules.within("ingest.limits.header_timeout", *header_timeout, &(s(1)..=s(10 * MINUTE)));
        rules.within("ingest.limits.max_connection_age", *max_connection_age, &(s(1)..=s(24 * HOUR)));
        rules.within("ingest.limits.stall_timeout", *stall_timeout, &(s(1)..=s(HOUR)));
        rules.within("ingest.limits.min_rate", *min_rate, &(ByteSize(0)..=ByteSize(1 << 30)));
        rules.within("ingest.limits.upload_timeout", *upload_timeout, &(s(MINUTE)..=s(12 * HOUR)));
        rules.within("ingest.limits.linger", *linger, &(ByteSize(0)..=ByteSize(1 << 30)));
    }
}

impl Memory {
    fn check(&self, rules: &mut Rules) {
        let Self { shut_above, open_below, critical, sample_every } = self;
        rules.below(("memory.open_below", *open_below), ("memory.shut_above", *shut_above));
        rules.below(("memory.shut_above", *shut_above), ("memory.critical", *critical));
        rules.within("memory.sample_every", *sample_every, &(ms(50)..=s(MINUTE)));
    }
}

impl Disk {
    fn check(&self, rules: &mut Rules) {
        let Self { shut_below, open_above } = self;
        rules.below(("disk.shut_below", *shut_below), ("disk.open_above", *open_above));
    }
}

impl Processor {
    fn check(&self, rules: &mut Rules) {
        let Self { admin: _, concurrency, prefetch, job_timeout, max_tries, batch, sweep } = self;
        let Batch { rows, wait } = batch;
        let Sweep { every, deep_every, settle, keep } = sweep;
        rules.within("processor.concurrency", *concurrency, &(1..=10_000));
        rules.within("processor.prefetch", *prefetch, &(1..=100_000));
        rules.within("processor.job_timeout", *job_timeout, &(s(1)..=s(HOUR)));
        rules.within("processor.max_tries", *max_tries, &(1..=100));
        rules.within("processor.batch.rows", *rows, &(1..=10_000));
        rules.within("processor.batch.wait", *wait, &(ms(0)..=s(1)));
        rules.within("processor.sweep.every", *every, &(s(1)..=s(HOUR)));
        rules.within("processor.sweep.deep_every", *deep_every, &(s(MINUTE)..=s(DAY)));
        rules.within("processor.sweep.settle", *settle, &(s(1)..=s(HOUR)));
        rules.within("processor.sweep.keep", *keep, &(s(2 * DAY)..=s(3650 * DAY)));
    }
}

impl Catalog {
    fn check(&self, rules: &mut Rules) {
        let Self { listen, admin } = self;
        if listen == admin && listen.port() != 0 {
            rules.broken("catalog.admin", admin, "must not be the address of catalog.listen");
        }
    }
}

impl Notify {
    fn check(&self, rules: &mut Rules) {
        let Self { webhooks, allow_private: _, timeout, concurrency, max_tries } = self;
        for (index, Webhook { url, secret, events: _ }) in webhooks.iter().enumerate() {
            rules.scheme(&format!("notify.webhooks[{index}].url"), &url.as_str().into(), &["https", "http"]);
            if !secret.expose().starts_with("whsec_") {
                rules.broken(
                    format!("notify.webhooks[{index}].secret"),
                    "«secret»",
                    "must be whsec_ and the key in base64",
                );
            }
        }
        rules.within("notify.timeout", *timeout, &(s(1)..=s(MINUTE)));
        rules.within("notify.concurrency", *concurrency, &(1..=1000));
        rules.within("notify.max_tries", *max_tries, &(1..=20));
    }
}

impl Shutdown {
    fn check(&self, rules: &mut Rules) {
        let Self { drain_delay, grace } = self;
        rules.within("shutdown.drain_delay", *drain_delay, &(s(0)..=s(10 * MINUTE)));
        rules.within("shutdown.grace", *grace, &(s(0)..=s(HOUR)));
    }
}

impl Log {
    fn check(&self, rules: &mut Rules) {
        let Self { filter, format: _ } = self;
        if let Err(error) = filter.parse::<tracing_subscriber::filter::Targets>() {
            rules.broken("log.filter", filter, format!("must be a level, or target=level: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::load;

    #[test]
    fn parts_of_a_bucket_fit_the_buffer_and_the_largest_object_fits_them() {
        let told = |url: &str, part: &str, buffer: &str, max: &str| {
            let set = [
                ("STORAGE__URL", url),
                ("STORAGE__PART_SIZE", part),
                ("INGEST__LIMITS__BUFFER", buffer),
                ("INGEST__MAX_OBJECT", max),
            ];
            let set = set.map(|(name, value)| (format!("HEADWORKS__{name}"), value.to_owned()));
            load(None, set).err().map(|mistakes| mistakes.to_string()).unwrap_or_default()
        };
        assert_eq!(told("s3://bucket", "16MiB", "32MiB", "160000MiB"), "");
        assert_eq!(told("file://./objects", "16MiB", "1MiB", "5TiB"), "", "a disk has no parts");
        let text = told("gs://bucket", "16MiB", "31MiB", "160001MiB");
        for line in [
            "ingest.limits.buffer (31MiB) must be at least twice storage.part_size (16MiB)",
            "ingest.max_object (160001MiB) must be at most 10000 times storage.part_size (16MiB)",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
