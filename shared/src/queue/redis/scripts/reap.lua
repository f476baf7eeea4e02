-- Consumers of processes that are gone are forgotten: those that were idle for long and have nothing pending, since what a consumer has
-- pending would be thrown away with it. One that comes back after all is made anew by its next claim.
-- ARGV: how long is long, in ms. Answers how many were forgotten.
local long, count = tonumber(ARGV[1]), 0
for p = 1, 3 do
  for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', LINES[p], GROUP)) do
    local consumer = {}
    for i = 1, #fields, 2 do
      consumer[fields[i]] = fields[i + 1]
    end
    if consumer.pending == 0 and consumer.idle > long then
      redis.call('XGROUP', 'DELCONSUMER', LINES[p], GROUP, consumer.name)
      count = count + 1
    end
  end
end
return count
