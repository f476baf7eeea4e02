-- Rings the bell once: one waiter wakes, and rings on when it leaves something in line.
local function ring()
  if redis.call('LLEN', BELL) == 0 then
    redis.call('LPUSH', BELL, 1)
  end
end
