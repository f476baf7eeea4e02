-- All versions of each path, there or deleted, in order; and the moment before which deleted ones may have been forgotten.
SELECT v.scope, v.path, v.version, v.stored_at, p.pruned
FROM (SELECT scope, path, version, stored_at FROM objects UNION ALL SELECT scope, path, version, stored_at FROM tombstones) v
JOIN progress p
ORDER BY v.scope, v.path, v.version
