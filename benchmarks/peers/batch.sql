-- A batch of jobs as one statement, which is its own transaction: what Headworks writes, set-wise, for peers that write batches.
-- A payload comes without its end, which is the version. Usage changes once for each scope, locked in the order of their numbers.
--
-- To be planned for the arrays' length (plan_cache_mode = force_custom_plan).
--
-- Arrays: $1 id  $2 org  $3 project  $4 path  $5 size  $6 crc64nvme  $7 content_type  $8 sniffed_type  $9 event id  $10 payload
-- and for all: $11 at
WITH job AS (
    SELECT s.id AS scope, j.*
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::uuid[],
        $10::text[]) WITH ORDINALITY
        AS j(id, org, project, path, size, crc64nvme, content_type, sniffed_type, event, payload, place)
    JOIN scopes s USING (org, project)),
entered AS (
    INSERT INTO ledger (id, scope, state, size, at)
    SELECT id, scope, 'stored', size, $11::bigint FROM job ORDER BY id
    ON CONFLICT (id) DO NOTHING RETURNING id),
object AS (
    INSERT INTO objects (id, scope, path, version, size, stored_at, crc64nvme, content_type, sniffed_type)
    SELECT j.id, j.scope, j.path,
        coalesce(newest.version, 0) + row_number() OVER (PARTITION BY j.scope, j.path ORDER BY j.place),
        j.size, $11::bigint, j.crc64nvme, j.content_type, j.sniffed_type
    FROM entered JOIN job j USING (id) LEFT JOIN LATERAL (
        SELECT o.version FROM objects o WHERE o.scope = j.scope AND o.path = j.path ORDER BY o.version DESC LIMIT 1) newest ON true
    RETURNING id, scope, version, size),
batch AS (
    INSERT INTO unrelayed (events, time) SELECT count(*), $11::bigint FROM object HAVING count(*) > 0 RETURNING batch),
event AS (
    INSERT INTO events (seq, time, upload, id, type, payload)
    SELECT (b.batch << 20) + row_number() OVER (ORDER BY j.place) - 1, $11::bigint, j.id, j.event, 'object.stored',
        j.payload || o.version || '}}'
    FROM batch b CROSS JOIN object o JOIN job j USING (id)),
added AS (SELECT scope, count(*) AS objects, sum(size)::bigint AS bytes FROM object GROUP BY scope),
locked AS (SELECT s.id FROM scopes s WHERE s.id IN (SELECT scope FROM added) ORDER BY s.id FOR NO KEY UPDATE)
UPDATE scopes s SET objects = s.objects + a.objects, bytes = s.bytes + a.bytes
FROM added a JOIN locked l ON l.id = a.scope WHERE s.id = l.id
