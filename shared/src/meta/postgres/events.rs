//! Appends events, all of a transaction as one batch with one number: so that the outbox has one row for all of them, and the hot
//! path has nothing to mark.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{fault::Fault, rows, transaction::Value};
use crate::model::{Event, Timestamp};

/// How many bits of `seq` are an event's place in its batch.
const PLACE_BITS: u32 = 20;

/// The number of the event at a place of a batch.
pub(super) fn seq(batch: i64, place: i64) -> i64 {
    batch << PLACE_BITS | place
}

pub(super) const APPEND: &str = "WITH b AS (INSERT INTO unrelayed (events, time) VALUES ($5, $6) RETURNING batch)
    INSERT INTO events (seq, time, upload, id, type, payload)
    SELECT (b.batch << 20) + e.n - 1, $6, e.upload, e.id, e.type, e.payload
    FROM b CROSS JOIN unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) WITH ORDINALITY AS e(upload, id, type, payload, n)";

/// Events as the statement takes them.
pub(super) struct Batch {
    uploads: Vec<Uuid>,
    ids: Vec<Uuid>,
    types: Vec<&'static str>,
    payloads: Vec<String>,
    count: i64,
    at: i64,
}

impl Batch {
    pub(super) fn new(events: &[Event], at: Timestamp) -> Result<Self, Fault> {
        if events.len() >> PLACE_BITS > 0 {
            return Err(Fault::value("more events than fit in one batch"));
        }
        Ok(Self {
            uploads: events.iter().map(|event| event.upload.into()).collect(),
            ids: events.iter().map(|event| rows::event_uuid(event.id())).collect(),
            types: events.iter().map(|event| event.kind().as_str()).collect(),
            payloads: events.iter().map(Event::to_cloud_event).collect(),
            count: rows::at_most(events.len()),
            at: rows::ms(at)?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn values(&self) -> [Value<'_>; 6] {
        [
            (&self.uploads, Type::UUID_ARRAY),
            (&self.ids, Type::UUID_ARRAY),
            (&self.types, Type::TEXT_ARRAY),
            (&self.payloads, Type::TEXT_ARRAY),
            (&self.count, Type::INT8),
            (&self.at, Type::INT8),
        ]
    }
}
