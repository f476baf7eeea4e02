-- What was told has happened. An object that was stored and then deleted has both events.
SELECT CASE WHEN l.id IS NULL THEN format('event %s of %s: not in the ledger', e.type, e.upload)
    ELSE format('event %s of %s: the ledger says %s', e.type, e.upload, l.state) END
FROM events e CROSS JOIN progress p LEFT JOIN ledger l ON l.id = e.upload
WHERE (l.id IS NULL AND e.time >= p.pruned)
    OR (e.type <> 'object.' || l.state AND NOT (e.type = 'object.stored' AND l.state = 'deleted'))
