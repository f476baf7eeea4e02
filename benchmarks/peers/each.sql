-- One job as one statement, which is its own transaction: what Headworks writes for an upload, for peers that write one at a time.
-- The payload comes without its end, which is the version.
--
-- $1 id  $2 org  $3 project  $4 path  $5 size  $6 crc64nvme  $7 content_type  $8 sniffed_type  $9 event id  $10 payload  $11 at
WITH entered AS (
    INSERT INTO ledger (id, scope, state, size, at)
    SELECT $1::uuid, s.id, 'stored', $5::bigint, $11::bigint FROM scopes s WHERE s.org = $2::text AND s.project = $3::text
    ON CONFLICT (id) DO NOTHING RETURNING id, scope),
object AS (
    INSERT INTO objects (id, scope, path, version, size, stored_at, crc64nvme, content_type, sniffed_type)
    SELECT e.id, e.scope, $4::text,
        coalesce((SELECT max(o.version) FROM objects o WHERE o.scope = e.scope AND o.path = $4::text), 0) + 1,
        $5::bigint, $11::bigint, $6::bigint, $7::text, $8::text
    FROM entered e RETURNING id, scope, version, size),
batch AS (
    INSERT INTO unrelayed (events, time) SELECT 1, $11::bigint FROM object RETURNING batch),
event AS (
    INSERT INTO events (seq, time, upload, id, type, payload)
    SELECT b.batch << 20, $11::bigint, o.id, $9::uuid, 'object.stored', $10::text || o.version || '}}'
    FROM batch b, object o)
UPDATE scopes s SET objects = s.objects + 1, bytes = s.bytes + o.size FROM object o WHERE s.id = o.scope
