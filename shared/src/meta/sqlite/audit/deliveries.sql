-- What waits for a receiver is what was counted, and has something to tell.
SELECT format('receiver %s: says %d deliveries wait; there are %d', r.url, r.pending, coalesce(d.pending, 0))
FROM receivers r LEFT JOIN (SELECT receiver, count(*) AS pending FROM deliveries GROUP BY receiver) d ON d.receiver = r.id
WHERE r.pending <> coalesce(d.pending, 0)
UNION ALL
SELECT format('delivery of event %s: the event is gone', lower(hex(d.event)))
FROM deliveries d WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.seq = d.seq)
