-- The bound: a job gets in with a credit, or where the bound and its priority's share leave room. A job that is on the queue already
-- changes nothing, and spends the credit.
-- ARGV: the priority's number; the job's id; its tries; its payload; the holder, or nothing; the priority's share.
-- Answers 1, or 0 when there is neither credit nor room.
local p, id, holder, share = tonumber(ARGV[1]), ARGV[2], ARGV[5], tonumber(ARGV[6])

local credits = holder ~= '' and count_of(p .. ':' .. holder) or 0
local known = redis.call('ZSCORE', JOBS, id)
if not known and credits == 0 and total >= share then
  return 0
end
if credits > 0 then
  set_credits(p, holder, credits, credits - 1)
end
if not known then
  redis.call('ZADD', JOBS, now, id)
  redis.call('XADD', LINES[p], '*', 'id', id, 'tries', ARGV[3], 'handed', 0, 'job', ARGV[4])
  ring()
end
return 1
