-- Every object has a row in the ledger, which says the same of it.
SELECT CASE WHEN l.id IS NULL THEN format('object %s: not in the ledger', o.id)
    WHEN l.state <> 'stored' THEN format('object %s: the ledger says %s', o.id, l.state)
    ELSE format('object %s: the ledger says scope %s, %s bytes; the object scope %s, %s bytes',
        o.id, l.scope, l.size, o.scope, o.size) END
FROM objects o LEFT JOIN ledger l ON l.id = o.id
WHERE l.id IS NULL OR l.state <> 'stored' OR l.scope <> o.scope OR l.size <> o.size
