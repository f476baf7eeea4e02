-- The heartbeat: leases that stand are good for another while; none that lapsed comes back.
-- ARGV: how long, in µs; tickets. Answers how many stood.
local till, count = string.format('%.0f', now + ARGV[1]), 0
for p, of in ipairs(standing(2)) do
  local scores = {}
  for _, lease in ipairs(of.leases) do
    scores[#scores + 1], scores[#scores + 2] = till, lease
  end
  if #scores > 0 then
    redis.call('ZADD', LEASES[p], 'XX', unpack(scores))
    count = count + #of.leases
  end
end
return count
