-- Nothing is done to a queue that is not founded: after a FLUSHALL its first caller founds it, under a new name.
if redis.call('EXISTS', QUEUE) == 0 then
  return redis.error_reply('UNFOUNDED the queue has no epoch')
end

-- Redis' own clock is the only one that counts, in µs since 1970.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
