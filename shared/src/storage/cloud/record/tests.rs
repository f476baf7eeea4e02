use proptest::prelude::*;

use super::*;
use crate::{
    model::{Timestamp, UploadId},
    storage::conformance,
};

/// Written by 0.1 for an upload that says all there is to say, and for one that says nothing; never change them, add others beside them.
const FULL: &str = "AQEIASNFZ4mrze8CJzIwMjYvw5xiZXJzaWNodCDimIIg4oCTIOWGmeecnyDwn6aALmpwZwMEYWNtZQQDd2ViBgECBwAIEAAAAAAAAAAAAAAAAAAAAAcJA3ItMQoZ\
    S_kvNXezTaajzpKdDg5HNgDwZ6oLqQK3AQUACwgAAAEAAAAAAAwIrosUhgp5mIgNIAkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJDgppbWFnZS9qcGVn";
const PLAIN: &str = "AQEIAAAAAAAAAAECBWEudHh0";
const MARKER: &str = "AQEIAAAAAAAAAAI";

fn key() -> Key {
    Key::object(&Scope::default(), UploadId::new(Timestamp::from_unix_ms(1_795_237_920_000), [7; 10]))
}

fn full() -> Record {
    let mut envelope = conformance::envelope("2026/Übersicht ☂ – 写真 🦀.jpg");
    envelope.scope = Scope::new("acme", "web").unwrap();
    envelope.content_type = Some("text/plain; charset=\"utf-8\"".to_owned());
    envelope.priority = Priority::Low;
    envelope.only_if_absent = true;
    envelope.marker = Some(uuid::Uuid::from_u128(7));
    envelope.request_id = Some("r-1".to_owned());
    envelope.trace = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap());
    let digests = Digests { crc64nvme: Crc64(0xae8b_1486_0a79_9888), sha256: Some(Sha256Digest([9; 32])) };
    let seal = Seal { size: 1 << 40, digests, sniffed_type: Some("image/jpeg".to_owned()) };
    Record { attempt: 0x0123_4567_89ab_cdef, envelope: Some(envelope), seal: Some(seal) }
}

fn plain() -> Record {
    Record { attempt: 1, envelope: Some(conformance::envelope("a.txt")), seal: None }
}

fn marker() -> Record {
    Record { attempt: 2, envelope: None, seal: None }
}

fn value(record: &Record) -> String {
    let attributes = record.to_attributes(&key()).unwrap();
    attributes.get(&Attribute::Metadata(NAME.into())).unwrap().as_ref().to_owned()
}

#[test]
fn what_was_ever_written_parses_for_ever() {
    for (text, record) in [(FULL, full()), (PLAIN, plain()), (MARKER, marker())] {
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::Metadata(NAME.into()), text.into());
        attributes.insert(Attribute::ContentType, "text/plain; charset=\"utf-8\"".into());
        assert_eq!(Record::of(&attributes, &key()), Ok(Some(record.clone())), "{}", value(&record));
        assert_eq!(value(&record), text);
    }
}

#[test]
fn fields_of_a_later_version_are_passed_over() {
    let mut bytes = BASE64.decode(value(&plain())).unwrap();
    push(&mut bytes, 200, &[1; 300]);
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::Metadata(NAME.into()), BASE64.encode(bytes).into());
    assert_eq!(Record::of(&attributes, &key()), Ok(Some(plain())));
}

#[test]
fn what_is_damaged_is_told_and_what_is_not_ours_is_none() {
    let written = value(&full());
    for at in (0..written.len()).step_by(3) {
        let cut: String = written.chars().take(at).collect();
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::Metadata(NAME.into()), cut.into());
        // A cut may fall between two fields; then what follows is missing, and the type beside is too.
        assert!(Record::of(&attributes, &key()).is_err() || at > 0);
    }
    for bad in ["", "*", "AA", "AQ", "AQEB", "AQEIAAAA"] {
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::Metadata(NAME.into()), bad.into());
        assert!(Record::of(&attributes, &key()).is_err(), "{bad}");
    }
    assert_eq!(Record::of(&Attributes::new(), &key()), Ok(None));
}

#[test]
fn the_largest_envelope_of_the_door_fits_and_no_larger_one_is_taken() {
    let mut record = full();
    let envelope = record.envelope.as_mut().unwrap();
    envelope.scope = Scope::new(&"o".repeat(64), &"p".repeat(64)).unwrap();
    envelope.path = "🦀".repeat(256).parse().unwrap();
    envelope.content_type = Some(format!("application/{}", "x".repeat(243)));
    envelope.request_id = Some("r".repeat(128));
    record.seal.as_mut().unwrap().sniffed_type = Some("x".repeat(73));
    let largest = value(&record).len();
    assert!(largest <= MAX_BYTES, "{largest} bytes");
    record.envelope.as_mut().unwrap().request_id = Some("r".repeat(400));
    assert!(record.to_attributes(&key()).is_err());
}

fn records() -> impl Strategy<Value = Record> {
    let path = "[^\\p{Cc}/]{1,80}(/[^\\p{Cc}/]{1,80})?"
        .prop_filter("a path", |text| text.parse::<crate::model::ObjectPath>().is_ok());
    let kind = proptest::option::of("[ -~]{0,60}/[ -~é]{0,60}");
    let priority = prop_oneof![Just(Priority::High), Just(Priority::Normal), Just(Priority::Low)];
    let ids = (any::<u64>(), proptest::option::of(any::<u128>()), proptest::option::of("[!-~]{1,128}"));
    let trace = proptest::option::of((1..u128::MAX, 1..u64::MAX));
    let seal = proptest::option::of((any::<u64>(), any::<u64>(), proptest::option::of(any::<[u8; 32]>())));
    (path, kind, priority, any::<bool>(), ids, trace, seal).prop_map(
        |(path, content_type, priority, only_if_absent, (attempt, marker, request_id), trace, seal)| {
            let mut envelope = conformance::envelope(&path);
            envelope.content_type = content_type;
            envelope.priority = priority;
            envelope.only_if_absent = only_if_absent;
            envelope.marker = marker.map(uuid::Uuid::from_u128);
            envelope.request_id = request_id;
            envelope.trace = trace.map(|(trace, span)| TraceContext::root(trace, span));
            let seal = seal.map(|(size, crc, sha)| Seal {
                size,
                digests: Digests { crc64nvme: Crc64(crc), sha256: sha.map(Sha256Digest) },
                sniffed_type: None,
            });
            Record { attempt, envelope: Some(envelope), seal }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn what_is_written_is_read_again_and_is_ascii(record in records()) {
        let attributes = record.to_attributes(&key()).unwrap();
        for (_, value) in &attributes {
            prop_assert!(value.is_ascii() && value.trim() == value.as_ref());
        }
        prop_assert_eq!(Record::of(&attributes, &key()), Ok(Some(record)));
    }
}
