-- What waits for a receiver is what was counted, and has something to tell.
SELECT format('receiver %s: says %s deliveries wait; there are %s', r.url, r.pending, coalesce(d.pending, 0))
FROM receivers r LEFT JOIN (SELECT receiver, count(*) AS pending FROM deliveries GROUP BY receiver) d ON d.receiver = r.id
WHERE r.pending <> coalesce(d.pending, 0)
UNION ALL
SELECT format('delivery of event %s: the event is gone', d.event)
FROM deliveries d WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.seq = d.seq)
UNION ALL
SELECT format('batch %s of events: says %s are not relayed; there are %s', u.batch, u.events - u.next, count(e.seq))
FROM unrelayed u LEFT JOIN events e ON e.seq >= (u.batch << 20) + u.next AND e.seq < (u.batch + 1) << 20
GROUP BY u.batch HAVING count(e.seq) <> u.events - u.next
