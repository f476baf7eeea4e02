//! Sending against servers that do what Headworks does not: each answer here is written by hand.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
};

use headworks_shared::{
    config::Span,
    model::{Hasher, Priority, Scope},
};
use tempfile::TempDir;
use tokio::time::{Duration, Instant};

use super::{
    board::Board,
    client::Client,
    pace::Pace,
    send::{GivenUp, Sending},
    target::Target,
    walk::Item,
};

/// What a server does with one connection.
#[derive(Clone)]
enum Act {
    /// Reads the head, answers, and reads no more than it must so that the answer arrives.
    Early(String),
    /// Reads all, and answers.
    Whole(String),
    /// Reads the head, and goes away.
    Away,
}

/// Takes a connection for each act; hands out the heads that it saw.
fn server(acts: Vec<Act>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || acts.iter().map(|act| serve(&listener, act)).collect();
    (address, thread::spawn(serve))
}

fn serve(listener: &TcpListener, act: &Act) -> String {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let head = head(&mut reader);
    let (answer, left) = match act {
        Act::Early(answer) => (answer, 0),
        Act::Whole(answer) => (answer, length(&head)),
        Act::Away => return head,
    };
    std::io::copy(&mut reader.by_ref().take(left), &mut std::io::sink()).unwrap();
    let mut stream: TcpStream = stream;
    stream.write_all(answer.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    // A lingering close: the client goes when it has the answer.
    drop(std::io::copy(&mut reader, &mut std::io::sink()));
    head
}

fn head(reader: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
    head
}

fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let value = |line: &'a str| line.split_once(": ").filter(|(field, _)| field.eq_ignore_ascii_case(name));
    head.lines().find_map(value).map(|(_, value)| value).unwrap_or_default()
}

fn length(head: &str) -> u64 {
    field(head, "content-length").parse().unwrap()
}

fn answer(status: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{fields}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn receipt(content: &[u8]) -> String {
    let mut hasher = Hasher::new(false, false);
    hasher.update(content);
    let (crc, size) = (hasher.digests().crc64nvme, content.len());
    let body = format!(
        r#"{{"id":"0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a10","path":"f","size":{size},"content_type":"x/y",
        "digest":{{"crc64nvme":"{crc}","sha256":null}},"status":"queued","received_at":"2026-11-21T05:12:00Z"}}"#
    );
    answer("201 Created", "", &body)
}

fn refusal(seconds: u64) -> String {
    let body = r#"{"reason":"memory","detail":"memory is short"}"#;
    answer("503 Service Unavailable", &format!("Retry-After: {seconds}\r\n"), body)
}

/// A file of so many bytes, and what sends it to the server.
fn sending(address: SocketAddr, content: &[u8], patience: u64) -> (TempDir, Sending, Item) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("f");
    std::fs::write(&path, content).unwrap();
    let server = format!("http://{address}").parse().unwrap();
    let target = Target { server, scope: Scope::default(), priority: Priority::High };
    let sending = Sending {
        client: Client::new(&target.server).unwrap(),
        target,
        pace: Arc::new(Pace::new(1)),
        board: Arc::new(Board::new(false)),
        patience: Span(Duration::from_secs(patience)),
    };
    (folder, sending, Item { path, object: "f".parse().unwrap(), size: content.len() as u64 })
}

/// More than fits into any buffer on the way.
fn large() -> Vec<u8> {
    vec![7; 32 << 20]
}

#[tokio::test]
async fn an_answer_before_the_body_is_the_answer() {
    let content = large();
    let (address, seen) = server(vec![Act::Early(refusal(1)), Act::Away, Act::Whole(receipt(&content))]);
    let (_folder, sending, item) = sending(address, &content, 60);
    let begin = Instant::now();
    let (_, receipt) = sending.send(&item, &mut None).await.unwrap();
    assert_eq!(receipt.size, content.len() as u64);
    assert!(begin.elapsed() >= Duration::from_secs(1), "it came back before it was told to");
    let summary = sending.board.summary(false);
    assert_eq!((summary.refusals, summary.faults), (1, 1));
    let heads = seen.join().unwrap();
    let keys: Vec<_> = heads.iter().map(|head| field(head, "idempotency-key")).collect();
    assert!(!keys[0].is_empty() && keys.iter().all(|key| *key == keys[0]), "{heads:#?}");
    assert_eq!((field(&heads[0], "priority"), field(&heads[0], "x-org-id")), ("u=1", "default"));
}

#[tokio::test]
async fn a_small_file_is_announced_with_its_digest_and_a_large_one_once_it_is_known() {
    let (address, seen) = server(vec![Act::Whole(receipt(b"123456789"))]);
    let (_folder, sender, item) = sending(address, b"123456789", 60);
    sender.send(&item, &mut None).await.unwrap();
    // The check value of CRC-64/NVME, as its base64.
    assert_eq!(field(&seen.join().unwrap()[0], "repr-digest"), "crc64nvme=:rosUhgp5mIg=:");

    let content = large();
    let broken = answer("500 Internal Server Error", "", "");
    let (address, seen) = server(vec![Act::Whole(broken), Act::Early(receipt(&content))]);
    let (_folder, sender, item) = sending(address, &content, 60);
    sender.send(&item, &mut None).await.unwrap();
    let heads = seen.join().unwrap();
    assert_eq!(field(&heads[0], "repr-digest"), "");
    assert!(field(&heads[1], "repr-digest").starts_with("crc64nvme=:"), "{heads:#?}");
}

#[tokio::test]
async fn other_bytes_than_were_sent_are_a_failure_and_a_loud_one() {
    for stored in [&b"123456780"[..], b"12345678"] {
        let (address, _seen) = server(vec![Act::Whole(receipt(stored))]);
        let (_folder, sending, item) = sending(address, b"123456789", 60);
        let error = sending.send(&item, &mut None).await.unwrap_err();
        assert!(matches!(error, GivenUp::Mismatch { .. }), "{error}");
        assert!(error.to_string().starts_with("DIGEST MISMATCH"), "{error}");
    }
}

#[tokio::test]
async fn a_spent_key_is_followed_by_the_next_one() {
    let spent = answer("422 Unprocessable Entity", "", r#"{"code":"key_reused","detail":"too old"}"#);
    let (address, seen) = server(vec![Act::Early(spent), Act::Whole(receipt(b"x"))]);
    let (_folder, sending, item) = sending(address, b"x", 60);
    sending.send(&item, &mut None).await.unwrap();
    let heads = seen.join().unwrap();
    assert_ne!(field(&heads[0], "idempotency-key"), field(&heads[1], "idempotency-key"));
}

#[tokio::test]
async fn what_the_server_does_not_take_is_not_tried_again() {
    let moved = answer("301 Moved Permanently", "Location: http://127.0.0.1:1/\r\n", "");
    let large = answer("413 Payload Too Large", "", r#"{"detail":"the largest object is 1 byte"}"#);
    for (answer, why) in
        [(moved, "answered 301 Moved Permanently"), (large, "answered 413: the largest object is 1 byte")]
    {
        let (address, _seen) = server(vec![Act::Early(answer)]);
        let (_folder, sending, item) = sending(address, b"xy", 60);
        assert_eq!(sending.send(&item, &mut None).await.unwrap_err().to_string(), why);
    }
}

#[tokio::test]
async fn a_file_that_was_changed_between_two_tries_is_not_sent_as_another() {
    let (address, seen) = server(vec![Act::Early(refusal(1))]);
    let (_folder, sending, item) = sending(address, b"old", 60);
    let change = async {
        tokio::task::spawn_blocking(|| seen.join().unwrap()).await.unwrap();
        File::options().append(true).open(&item.path).unwrap().write_all(b" and new").unwrap();
    };
    let mut line = None;
    let (sent, ()) = tokio::join!(sending.send(&item, &mut line), change);
    assert!(matches!(sent, Err(GivenUp::Unreadable(_))), "{sent:?}");
}
