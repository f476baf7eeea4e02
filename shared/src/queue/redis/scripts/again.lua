-- A job is put back by whoever has it, and nobody else: at the end of its line, now or after a delay. A delivery that was answered does not
-- count as one.
-- ARGV: the delay, in µs; 1 if it was tried; one ticket. Answers 1 if its lease stood.
local delay, tried, p = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local of = standing(3)[p]
local entry = of.entries[1]
if not entry then
  return 0
end
local found = redis.call('XRANGE', LINES[p], entry, entry)[1]
local pending = redis.call('XPENDING', LINES[p], GROUP, entry, entry, 1)[1]
redis.call('ZREM', LEASES[p], of.leases[1])
redis.call('XACK', LINES[p], GROUP, entry)
redis.call('XDEL', LINES[p], entry)
if not found or not pending then
  redis.call('ZREM', JOBS, of.ids[1])
  return 0
end

local fields = found[2]
local tries, handed = fields[4] + tried, fields[6] + pending[4] - 1
if delay > 0 then
  redis.call('ZADD', DELAYED[p], now + delay, cmsgpack.pack({ fields[2], tries, handed, fields[8] }))
else
  redis.call('XADD', LINES[p], '*', 'id', fields[2], 'tries', tries, 'handed', handed, 'job', fields[8])
end
ring()
return 1
