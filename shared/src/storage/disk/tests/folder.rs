//! The store's folder: what it must be able to do, and what others leave in it.

use std::fs;

use super::{FSYNC, NONE, PLENTY, fresh};
use crate::{
    limits::Budget,
    report::Report,
    storage::{
        Blobs as _, Error, Prefix, PutError,
        conformance::{Body, content, envelope, key, read},
        disk::{DiskBlobs, Options, ProbeError, stage::STAGE},
    },
};

fn open(root: &std::path::Path, options: Options) -> Result<DiskBlobs, ProbeError> {
    DiskBlobs::open(root, options, Budget::new(PLENTY))
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_to_is_refused_and_named() {
    // Root may write wherever it is forbidden, but makes no folder where a file is, nor a file where a folder is.
    let file_for_root = tempfile::tempdir().unwrap();
    fs::write(file_for_root.path().join("store"), "").unwrap();
    let file_above_root = tempfile::tempdir().unwrap();
    fs::write(file_above_root.path().join("store"), "").unwrap();
    let file_for_stage = tempfile::tempdir().unwrap();
    fs::create_dir(file_for_stage.path().join("store")).unwrap();
    fs::write(file_for_stage.path().join("store").join(STAGE), "").unwrap();
    let roots = [
        file_for_root.path().join("store"),
        file_above_root.path().join("store/below"),
        file_for_stage.path().join("store"),
    ];
    for root in roots {
        let error = open(&root, FSYNC).unwrap_err();
        assert!(matches!(error, ProbeError::Write { .. }), "{error:?}");
        let told = Report(&error).to_string();
        assert!(told.starts_with(&format!("write to the folder {}: ", root.display())), "{told}");
    }
}

#[tokio::test]
async fn a_store_is_found_again_as_it_was_left() {
    for options in [NONE, FSYNC] {
        let (blobs, root) = fresh(options, &Budget::new(PLENTY));
        let (key, text) = (key(), content(100_000, 1));
        let seal = blobs.put(&key, &envelope("a"), &mut Body::of(&text)).await.unwrap();
        drop(blobs);
        let blobs = open(root.path(), options).unwrap();
        let staged = fs::read_dir(root.path().join(STAGE)).unwrap().map(|entry| entry.unwrap().path());
        assert!(staged.into_iter().all(|path| path.is_dir()), "the probe is left");
        assert!(read(&blobs, &key, None).await.unwrap().1 == text);
        let head = blobs.stat(&[key]).await.remove(0).unwrap();
        assert_eq!((head.envelope, head.seal), (Some(envelope("a")), Some(seal)));
    }
}

#[tokio::test]
async fn a_file_without_the_attribute_has_no_envelope() {
    let (blobs, root) = fresh(NONE, &Budget::new(PLENTY));
    let key = key();
    let place = root.path().join(key.as_str());
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(place, "restored by hand").unwrap();
    let head = blobs.stat(std::slice::from_ref(&key)).await.remove(0).unwrap();
    assert_eq!((head.size, head.envelope, head.seal), (16, None, None));
    assert_eq!(read(&blobs, &key, None).await.unwrap().1, b"restored by hand");
}

#[tokio::test]
async fn a_folder_under_a_keys_name_is_no_object() {
    let (blobs, root) = fresh(NONE, &Budget::new(PLENTY));
    let key = key();
    fs::create_dir_all(root.path().join(key.as_str())).unwrap();
    let head = blobs.stat(std::slice::from_ref(&key)).await.remove(0);
    assert!(matches!(head, Err(Error::NotFound)), "{head:?}");
    let content = blobs.read(&key, None).await;
    assert!(matches!(content, Err(Error::NotFound)), "{content:?}");
    assert_eq!(blobs.list(&Prefix::objects(), None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_folder_that_is_gone_is_not_taken_for_an_empty_one() {
    let (blobs, root) = fresh(NONE, &Budget::new(PLENTY));
    let key = key();
    blobs.put(&key, &envelope("a"), &mut Body::of(&content(10, 1))).await.unwrap();
    // What is left when a disk is unmounted: the empty folder below.
    fs::remove_dir_all(root.path()).unwrap();
    fs::create_dir(root.path()).unwrap();
    let listed = blobs.list(&Prefix::objects(), None, 10).await;
    assert!(matches!(listed, Err(Error::Unavailable { .. })), "{listed:?}");
    let head = blobs.stat(std::slice::from_ref(&key)).await.remove(0);
    assert!(matches!(head, Err(Error::Unavailable { .. })), "{head:?}");
    let content = blobs.read(&key, None).await;
    assert!(matches!(content, Err(Error::Unavailable { .. })), "{content:?}");
    let deleted = blobs.delete(&key).await;
    assert!(matches!(deleted, Err(Error::Unavailable { .. })), "{deleted:?}");
    let health = blobs.health().await;
    assert!(matches!(health, Err(Error::Unavailable { .. })), "{health:?}");
    let put = blobs.put(&key, &envelope("a"), &mut Body::of(&self::content(10, 1))).await;
    assert!(matches!(put, Err(PutError::Unavailable { .. })), "{put:?}");
}

#[tokio::test]
async fn strangers_among_the_objects_are_not_listed() {
    let (blobs, root) = fresh(NONE, &Budget::new(PLENTY));
    let key = key();
    blobs.put(&key, &envelope("a"), &mut Body::of(&content(10, 1))).await.unwrap();
    let beside = root.path().join(key.as_str());
    fs::write(beside.with_file_name("readme.txt"), "").unwrap();
    fs::write(root.path().join("o/notes"), "").unwrap();
    fs::create_dir(root.path().join("lost+found")).unwrap();
    let listed = blobs.list(&Prefix::objects(), None, 10).await.unwrap();
    assert_eq!(listed.into_iter().map(|listed| listed.key).collect::<Vec<_>>(), [key]);
}

#[tokio::test]
async fn an_empty_folder_is_not_taken_for_a_store_that_is_known() {
    let root = tempfile::tempdir().unwrap();
    let budget = || Budget::new(PLENTY);
    assert!(matches!(DiskBlobs::reopen(root.path(), NONE, budget()), Err(ProbeError::Gone { .. })));
    assert!(matches!(DiskBlobs::open_to_read(root.path(), budget()), Err(ProbeError::Gone { .. })));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "it was made into one");
    drop(open(root.path(), NONE).unwrap());
    assert!(DiskBlobs::reopen(root.path(), NONE, budget()).is_ok());
    assert!(DiskBlobs::open_to_read(root.path(), budget()).is_ok());
}
