-- The bound: a job gets in with a credit, or where the bound and its priority's share leave room. A job that is on the queue already
-- changes nothing, and spends the credit.
-- ARGV: the priority's number; the job's id; its tries; its payload; the holder, or nothing; the priority's share.
-- Answers 1, or 0 when there is neither credit nor room.
local p, id, tries, job, holder, share = unpack(ARGV)

-- A credit is as good as its grant.
local function spend()
  local field = p .. ':' .. holder
  local credits = redis.call('HMGET', CREDITS, p, field)
  local till = redis.call('ZSCORE', HOLDERS, holder)
  if not till or tonumber(till) <= now or tonumber(credits[2] or 0) == 0 then
    return false
  end
  redis.call('HSET', CREDITS, p, credits[1] - 1, field, credits[2] - 1)
  return true
end

if not (holder ~= '' and spend()) and count() >= tonumber(share) then
  return redis.call('ZSCORE', JOBS, id) and 1 or 0
end
if redis.call('ZADD', JOBS, 'NX', stamp, id) == 1 then
  redis.call('XADD', LINE, '*', 'id', id, 'tries', tries, 'handed', '0', 'job', job)
  ring()
end
return 1
