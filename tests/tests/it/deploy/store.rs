//! The S3 server of `deploy/compose`, for real: it is accepted, and keeps what Headworks needs a store to keep.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use headworks_shared::{
    limits::Budget,
    model::{Scope, Timestamp, UploadId},
    shutdown::{Stop, Tasks},
    storage::{
        Key, Prefix,
        cloud::{CloudBlobs, Options},
        conformance::{Body, SMALL_BODY, Tested, content, envelope, names, puts, reads},
    },
};
use headworks_tests::{
    DEADLINE,
    servers::{
        Server, free_address,
        s3::{BUCKET, KEY, variables},
    },
    until,
};

use super::{output, read, tool};

/// More than all bodies of a test together.
const PLENTY: usize = 256 << 20;

/// SeaweedFS, started as Compose does but for its addresses.
async fn seaweedfs(folder: &std::path::Path) -> Result<Server> {
    let address = free_address()?;
    let mut command = tool("weed")?;
    command.current_dir(folder).args(["mini", "-dir=.", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
    command.args(["-master.telemetry=false", "-webdav=false", "-admin.ui=false"]);
    command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", &format!("-bucket={BUCKET}")]);
    command.arg(format!("-s3.port={}", address.port()));
    for port in ["master.port", "volume.port", "filer.port", "admin.port"] {
        command.arg(format!("-{port}={}", free_address()?.port()));
        command.arg(format!("-{port}.grpc={}", free_address()?.port()));
    }
    command.arg(format!("-s3.port.grpc={}", free_address()?.port()));
    command.env("AWS_ACCESS_KEY_ID", KEY.0).env("AWS_SECRET_ACCESS_KEY", KEY.1).env("HOME", folder);
    Server::start("seaweedfs", command, folder, address).await
}

/// A store of its own in the bucket.
async fn open(address: SocketAddr, prefix: usize) -> Result<Tested> {
    let mut options = Options::new(variables(address), Tasks::new(Stop::new()));
    options.small_body = SMALL_BODY;
    options.part_size = 5 << 20;
    let url = format!("s3://{BUCKET}/store-{prefix}");
    Ok(Arc::new(CloudBlobs::open(&url, options, Budget::new(PLENTY)).await?))
}

#[test]
fn it_is_the_version_of_the_compose_file() -> Result<()> {
    let compose = read("deploy/compose/compose.yaml")?;
    let version = compose.lines().find_map(|line| line.trim().strip_prefix("image: chrislusf/seaweedfs:"));
    let said = output(tool("weed")?.arg("version"), "")?;
    let version = version.context("no SeaweedFS")?;
    ensure!(said.split(' ').any(|word| word == version), "{version} in Compose, here {said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_creates_once_and_gives_back_what_it_was_given() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = seaweedfs(folder.path()).await?;
    let mut prefix = 0;
    // Its bucket is made some moments after it listens.
    let address = server.address();
    until("a bucket", DEADLINE, async || Ok(open(address, 0).await.is_ok()), |opened| *opened).await?;
    let mut fresh = async || {
        prefix += 1;
        open(address, prefix).await.with_context(|| server.said())
    };
    puts::a_second_put_is_refused_and_changes_nothing(fresh().await?).await;
    puts::of_many_puts_at_once_one_wins(fresh().await?).await;
    puts::one_of_many_large_puts_at_once_wins(fresh().await?).await;
    puts::of_many_markers_at_once_one_is_created(fresh().await?).await;
    puts::what_is_deleted_is_gone_and_its_key_free(fresh().await?).await;
    names::an_object_is_its_own_receipt(fresh().await?).await;
    names::the_longest_envelope_is_kept(fresh().await?).await;
    walks_see_every_object_once(&fresh().await?).await?;
    reads::bodies_of_every_size_come_back_byte_for_byte(fresh().await?).await;
    reads::a_range_is_read_exactly(fresh().await?).await;
    Ok(())
}

/// It lists folder by folder, `a/…` before `a-b/…`, where S3 goes by the bytes of whole keys. Sweep and audit ask for what is behind the
/// last key that they saw: so all they need is that a page begins where the page before it ended.
async fn walks_see_every_object_once(store: &Tested) -> Result<()> {
    let mut wanted = BTreeSet::new();
    let scopes = [("a", "b"), ("a", "b-c"), ("a", "b_c"), ("a-b", "c"), ("b", "a")];
    for (number, (org, project)) in (0_u8..).zip(scopes) {
        for last in 0..6 {
            // One hour and, by the last of them, two shards.
            let id = UploadId::new(
                Timestamp::from_unix_ms(1_795_237_920_000),
                [number, 0, 0, 0, 0, 0, 0, 0, 0, last % 2 + 16 * last],
            );
            let key = Key::object(&Scope::new(org, project)?, id);
            store.put(&key, &envelope("a"), &mut Body::of(&content(100, 1))).await?;
            wanted.insert(key.to_string());
        }
    }
    for limit in [1, 7, 29, 30, 31] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(&Prefix::objects(), after.as_ref(), limit).await?;
            seen.extend(page.iter().map(|listed| listed.key.to_string()));
            let Some(last) = page.into_iter().next_back() else { break };
            after = Some(last.key);
        }
        let once: BTreeSet<_> = seen.iter().cloned().collect();
        ensure!(
            once == wanted && seen.len() == wanted.len(),
            "in pages of {limit}: {} of {}, {seen:#?}",
            once.len(),
            wanted.len()
        );
    }
    Ok(())
}
