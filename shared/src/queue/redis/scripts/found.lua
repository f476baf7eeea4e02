-- The queue is whole: it has an epoch, each line has its group, and what is kept twice agrees. A group that is gone is made anew at 0,
-- so that every entry of its line is handed out again. A queue that lost a part of its jobs is emptied, and has a new epoch: the sweep
-- makes its jobs again, and nobody waits for those that are only known by their ids.
-- ARGV: a new epoch. Answers the epoch.
redis.call('HSETNX', QUEUE, 'epoch', ARGV[1])

local entries = 0
for p = 1, 3 do
  redis.pcall('XGROUP', 'CREATE', LINES[p], GROUP, '0', 'MKSTREAM')
  if redis.call('XPENDING', LINES[p], GROUP)[1] ~= redis.call('ZCARD', LEASES[p]) then
    redis.call('XGROUP', 'DESTROY', LINES[p], GROUP)
    redis.call('XGROUP', 'CREATE', LINES[p], GROUP, '0')
    redis.call('DEL', LEASES[p])
  end
  entries = entries + redis.call('XLEN', LINES[p]) + redis.call('ZCARD', DELAYED[p])
end

if entries ~= redis.call('ZCARD', JOBS) then
  redis.call('DEL', JOBS)
  for p = 1, 3 do
    redis.call('DEL', LINES[p], LEASES[p], DELAYED[p])
    redis.call('XGROUP', 'CREATE', LINES[p], GROUP, '0', 'MKSTREAM')
  end
  redis.call('HSET', QUEUE, 'epoch', ARGV[1])
end
if redis.call('EXISTS', HOLDERS) == 0 then
  redis.call('DEL', CREDITS)
end
return redis.call('HGET', QUEUE, 'epoch')
