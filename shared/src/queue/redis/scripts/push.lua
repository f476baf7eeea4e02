-- The bound: a job gets in with a credit, or where the bound and its priority's share leave room. A job that is on the queue already
-- changes nothing, and spends the credit. The first of them have the credits.
-- ARGV: the priority's number; the holder, or nothing; the priority's share; of each job its id, its tries, its payload.
-- Answers for each 1, or 0 when there is neither credit nor room.
local p, holder, share = ARGV[1], ARGV[2], tonumber(ARGV[3])
local jobs = (#ARGV - 3) / 3

-- A credit is as good as its grant.
local function spend()
  local field = p .. ':' .. holder
  local credits = redis.call('HMGET', CREDITS, p, field)
  local till = redis.call('ZSCORE', HOLDERS, holder)
  local spent = math.min(jobs, tonumber(credits[2] or 0))
  if not till or tonumber(till) <= now or spent == 0 then
    return 0
  end
  redis.call('HSET', CREDITS, p, credits[1] - spent, field, credits[2] - spent)
  return spent
end

local credited = holder ~= '' and spend() or 0
-- Those that came with a credit change nothing about the room of the others: a credit becomes a job.
local room = credited < jobs and share - count() - credited or 0
local taken, added = {}, 0
for n = 1, jobs do
  local id, tries, job = ARGV[3 * n + 1], ARGV[3 * n + 2], ARGV[3 * n + 3]
  if n > credited and room <= 0 then
    taken[n] = redis.call('ZSCORE', JOBS, id) and 1 or 0
  else
    taken[n] = 1
    if redis.call('ZADD', JOBS, 'NX', stamp, id) == 1 then
      redis.call('XADD', LINE, '*', 'id', id, 'tries', tries, 'handed', '0', 'job', job)
      added = added + 1
      room = n > credited and room - 1 or room
    elseif n <= credited then
      room = room + 1
    end
  end
end
if added > 0 then
  ring()
end
return taken
