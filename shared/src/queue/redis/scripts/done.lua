-- Done jobs leave the queue, with everything that was kept of them: if their leases stand.
-- They are counted: that tells everybody how fast the queue drains.
-- ARGV: tickets. Answers how many stood.
local count = 0
for p, of in ipairs(standing(1)) do
  if #of.ids > 0 then
    redis.call('ZREM', LEASES[p], unpack(of.leases))
    redis.call('XACK', LINES[p], GROUP, unpack(of.entries))
    redis.call('XDEL', LINES[p], unpack(of.entries))
    redis.call('ZREM', JOBS, unpack(of.ids))
    count = count + #of.ids
  end
end
if count > 0 then
  redis.call('HINCRBY', QUEUE, 'done', count)
end
return count
