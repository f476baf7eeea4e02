-- Every object has a row in the ledger, which says the same of it.
SELECT CASE WHEN l.id IS NULL THEN format('object %s: not in the ledger', lower(hex(o.id)))
    WHEN l.state <> 'stored' THEN format('object %s: the ledger says %s', lower(hex(o.id)), l.state)
    ELSE format('object %s: the ledger says scope %d, %d bytes; the object scope %d, %d bytes',
        lower(hex(o.id)), l.scope, l.size, o.scope, o.size) END
FROM objects o LEFT JOIN ledger l ON l.id = o.id
WHERE l.id IS NULL OR l.state <> 'stored' OR l.scope <> o.scope OR l.size <> o.size
