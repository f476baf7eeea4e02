-- Credits: a holder holds as many as it asks for, as far as the bound and each priority's share leave room; those that it held
-- already are never taken away by asking for as many.
-- ARGV: the holder; how long the grant is good for, in µs; how many of each priority are wanted; the share of each.
-- Answers how many of each it holds.
local holder, ttl, total = ARGV[1], tonumber(ARGV[2]), count()

-- What it gives back counts first.
local held = {}
for p = 1, 3 do
  local before = count_of(p .. ':' .. holder)
  held[p] = math.min(before, tonumber(ARGV[2 + p]))
  total = total - before + held[p]
end
forget(holder)

-- The more urgent is served before the less urgent.
for p = 1, 3 do
  local want, share = tonumber(ARGV[2 + p]), tonumber(ARGV[5 + p])
  local more = math.min(want - held[p], math.max(share - total, 0))
  held[p] = held[p] + more
  total = total + more
end

if held[1] + held[2] + held[3] > 0 then
  for p = 1, 3 do
    redis.call('HSET', CREDITS, p .. ':' .. holder, held[p])
    redis.call('HINCRBY', CREDITS, p, held[p])
  end
  redis.call('ZADD', HOLDERS, now + ttl, holder)
end
return held
