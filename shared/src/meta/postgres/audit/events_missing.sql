-- Every end of an upload was told, and is kept until it may be forgotten.
SELECT format('upload %s: %s, but there is no event object.%s', l.id, l.state, l.state)
FROM ledger l CROSS JOIN progress p
WHERE l.at >= p.pruned AND NOT EXISTS (SELECT 1 FROM events e WHERE e.upload = l.id AND e.type = 'object.' || l.state)
