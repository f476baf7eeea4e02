-- Delayed jobs whose time has come go to the end of their lines, no more at once than a claim can take.
local function promote(p, most)
  local due = redis.call('ZRANGEBYSCORE', DELAYED[p], '-inf', stamp, 'LIMIT', 0, most)
  for _, packed in ipairs(due) do
    local id, tries, handed, job = unpack(cmsgpack.unpack(packed))
    redis.call('XADD', LINES[p], '*', 'id', id, 'tries', tries, 'handed', handed, 'job', job)
  end
  if #due > 0 then
    redis.call('ZREM', DELAYED[p], unpack(due))
  end
end
