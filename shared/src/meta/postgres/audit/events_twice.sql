-- Nothing is told twice.
SELECT format('upload %s: %s events %s', upload, count(*), type)
FROM events GROUP BY upload, type HAVING count(*) > 1
