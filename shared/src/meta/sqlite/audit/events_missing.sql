-- Every end of an upload was told, and is kept until it may be forgotten.
SELECT format('upload %s: %s, but there is no event object.%s', lower(hex(l.id)), l.state, l.state)
FROM ledger l JOIN progress p
WHERE l.at >= p.pruned AND (l.id, 'object.' || l.state) NOT IN (SELECT upload, type FROM events)
