-- Claims whose answers were lost on the way: what their consumer has pending from them stands first in line again, as if it had never
-- been handed out.
-- ARGV: the consumer; the claims' numbers. Answers the numbers of those that were found.
local consumer, lost, found = ARGV[1], {}, {}
for i = 2, #ARGV do
  lost[ARGV[i]] = true
end
for p = 1, 3 do
  for _, lease in ipairs(redis.call('ZRANGEBYSCORE', LEASES[p], '(' .. stamp, '+inf')) do
    local entry, claim = string.match(lease, '([^:]+):(.+)')
    local pending = lost[claim] and redis.call('XPENDING', LINES[p], GROUP, entry, entry, 1)[1]
    if pending then
      redis.call('ZADD', LEASES[p], 'XX', now, lease)
      redis.call('XCLAIM', LINES[p], GROUP, consumer, 0, entry, 'RETRYCOUNT', pending[4] - 1, 'JUSTID')
      found[#found + 1] = claim
    end
  end
end
if #found > 0 then
  ring()
end
return found
