-- What a scope uses is the sum of its objects; and every object belongs to a scope.
SELECT format('usage of %s/%s: says %s objects, %s bytes; there are %s objects, %s bytes',
    s.org, s.project, s.objects, s.bytes, coalesce(o.objects, 0), coalesce(o.bytes, 0))
FROM scopes s LEFT JOIN (SELECT scope, count(*) AS objects, sum(size) AS bytes FROM objects GROUP BY scope) o ON o.scope = s.id
WHERE s.objects <> coalesce(o.objects, 0) OR s.bytes <> coalesce(o.bytes, 0)
UNION ALL
SELECT format('object %s: no scope has the number %s', o.id, o.scope)
FROM objects o WHERE NOT EXISTS (SELECT 1 FROM scopes s WHERE s.id = o.scope)
