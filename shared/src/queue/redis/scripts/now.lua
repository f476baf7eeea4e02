-- Nothing is done to a queue that is not founded: after a FLUSHALL its first caller founds it, under a new name.
if redis.call('EXISTS', QUEUE) == 0 then
  return redis.error_reply('UNFOUNDED the queue has no epoch')
end

-- Redis' own clock is the only one that counts, in µs since 1970. Redis prints a large number slowly, so it is a text where it can be.
local time = redis.call('TIME')
local stamp = string.format('%s%06d', time[1], time[2])
local now = tonumber(stamp)
