-- Credits are fields of one hash: `1`, `2`, `3` count those of each priority, `1:HOLDER` are one holder's.
local function count_of(field)
  return tonumber(redis.call('HGET', CREDITS, field) or 0)
end

-- A holder has nothing any more.
local function forget(holder)
  for p = 1, 3 do
    redis.call('HINCRBY', CREDITS, p, 0 - count_of(p .. ':' .. holder))
  end
  redis.call('HDEL', CREDITS, '1:' .. holder, '2:' .. holder, '3:' .. holder)
  redis.call('ZREM', HOLDERS, holder)
end

-- What the bound is about: every job has its place in JOBS, wherever else it is; and grants whose time is up are gone before the others
-- are counted.
local function count()
  for _, holder in ipairs(redis.call('ZRANGEBYSCORE', HOLDERS, '-inf', stamp)) do
    forget(holder)
  end
  return redis.call('ZCARD', JOBS) + count_of(1) + count_of(2) + count_of(3)
end
