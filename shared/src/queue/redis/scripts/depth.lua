-- How full the queue is, at one moment; writes nothing. What lapsed or is due counts as in line, what lapsed of credits not at all.
-- Answers ready, in flight, delayed and credited, of each priority, the age of the oldest job in µs (-1: there is none), and how many
-- jobs left it done so far.
local depth = {}
for p = 1, 3 do
  local pending = redis.call('XPENDING', LINES[p], GROUP)[1]
  local lapsed = redis.call('ZCOUNT', LEASES[p], '-inf', stamp)
  local due = redis.call('ZCOUNT', DELAYED[p], '-inf', stamp)
  depth[p] = math.max(redis.call('XLEN', LINES[p]) - pending, 0) + lapsed + due
  depth[3 + p] = redis.call('ZCARD', LEASES[p]) - lapsed
  depth[6 + p] = redis.call('ZCARD', DELAYED[p]) - due
  depth[9 + p] = tonumber(redis.call('HGET', CREDITS, p) or 0)
end
for _, holder in ipairs(redis.call('ZRANGEBYSCORE', HOLDERS, '-inf', stamp)) do
  for p = 1, 3 do
    depth[9 + p] = depth[9 + p] - tonumber(redis.call('HGET', CREDITS, p .. ':' .. holder) or 0)
  end
end
local since = redis.call('ZRANGE', JOBS, 0, 0, 'WITHSCORES')[2]
depth[13] = since and math.max(now - since, 0) or -1
depth[14] = tonumber(redis.call('HGET', QUEUE, 'done') or 0)
return depth
