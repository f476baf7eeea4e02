-- Credits are fields of one hash: `1`, `2`, `3` count those of each priority, `1:HOLDER` are one holder's.
local function count_of(field)
  return tonumber(redis.call('HGET', CREDITS, field) or 0)
end

local function set_credits(p, holder, before, after)
  if after ~= before then
    redis.call('HINCRBY', CREDITS, p, after - before)
    if after > 0 then
      redis.call('HSET', CREDITS, p .. ':' .. holder, after)
    else
      redis.call('HDEL', CREDITS, p .. ':' .. holder)
    end
  end
end

-- Grants whose time is up are gone before anything else is counted.
for _, holder in ipairs(redis.call('ZRANGEBYSCORE', HOLDERS, '-inf', now)) do
  for p = 1, 3 do
    set_credits(p, holder, count_of(p .. ':' .. holder), 0)
  end
  redis.call('ZREM', HOLDERS, holder)
end

-- What the bound is about: every job has its place in JOBS, wherever else it is.
local total = redis.call('ZCARD', JOBS) + count_of(1) + count_of(2) + count_of(3)
