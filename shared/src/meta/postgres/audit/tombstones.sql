-- A version that was deleted belongs to an upload that the ledger calls deleted.
SELECT format('tombstone of %s, version %s of "%s": the ledger says %s', t.id, t.version, t.path, coalesce(l.state, 'nothing'))
FROM tombstones t LEFT JOIN ledger l ON l.id = t.id
WHERE l.id IS NULL OR l.state <> 'deleted'
