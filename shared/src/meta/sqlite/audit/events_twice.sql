-- Nothing is told twice.
SELECT format('upload %s: %d events %s', lower(hex(upload)), count(*), type)
FROM events GROUP BY upload, type HAVING count(*) > 1
