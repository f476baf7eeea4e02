-- Claims whose answers were lost on the way: what their consumer has pending from them stands first in line again, as if it had never
-- been handed out.
-- ARGV: the consumer; how many entries to look at in each line; the claims' numbers. Answers the numbers of those that were found.
local consumer, most, found = ARGV[1], ARGV[2], {}
for p = 1, 3 do
  for _, one in ipairs(redis.call('XPENDING', LINES[p], GROUP, '-', '+', most, consumer)) do
    for i = 3, #ARGV do
      local lease = one[1] .. ':' .. ARGV[i]
      local till = redis.call('ZSCORE', LEASES[p], lease)
      if till and tonumber(till) > now then
        redis.call('ZADD', LEASES[p], 'XX', now, lease)
        redis.call('XCLAIM', LINES[p], GROUP, consumer, 0, one[1], 'RETRYCOUNT', one[4] - 1, 'JUSTID')
        found[#found + 1] = ARGV[i]
      end
    end
  end
end
if #found > 0 then
  ring()
end
return found
