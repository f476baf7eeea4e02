-- The versions of each path, there or deleted, count without gaps and doubles. A number that is missing was deleted and has been
-- forgotten since: so what stands before it was stored before the moment up to which things may have been forgotten.
SELECT format(CASE WHEN v.version = v.last THEN 'versions of "%s" in scope %s: %s is there twice'
    ELSE 'versions of "%s" in scope %s: %s follows %s' END, v.path, v.scope, v.version, v.last)
FROM (SELECT scope, path, version,
        lag(version, 1, 0) OVER of_path AS last, lag(stored_at, 1, 0) OVER of_path AS last_stored_at
    FROM (SELECT scope, path, version, stored_at FROM objects
        UNION ALL SELECT scope, path, version, stored_at FROM tombstones) versions
    WINDOW of_path AS (PARTITION BY scope, path ORDER BY version)) v
CROSS JOIN progress p
WHERE v.version = v.last OR (v.version <> v.last + 1 AND v.last_stored_at >= p.pruned)
