-- Claims: of twelve jobs eight are high, three normal, one low, and a line that is empty gives its turns away. The round goes on from
-- one claim to the next. Lapsed leases stand before all others in their line.
-- ARGV: how many at most; the consumer; the claim's number, which no other claim has; its lease, in µs; the three weights.
-- Answers in how many µs time will bring the next job (-1: not at all), and of each job: its priority's number, its entry, its id, its tries,
-- how often it was handed out, its payload.
local max, consumer, claim = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local till = string.format('%.0f', now + ARGV[4])

-- Fails before anything is written when a group is gone.
local ready, left = {}, 0
for p = 1, 3 do
  local pending = redis.call('XPENDING', LINES[p], GROUP)[1]
  promote(p, max)
  local unread = math.max(redis.call('XLEN', LINES[p]) - pending, 0)
  ready[p] = unread + redis.call('ZCOUNT', LEASES[p], '-inf', stamp)
  left = left + ready[p]
end

-- Whose turn it is: `turns` are those that each line has left in this round.
local function deal()
  local turns, take, room = redis.call('HMGET', QUEUE, 1, 2, 3), { 0, 0, 0 }, max
  while room > 0 and left > 0 do
    for p = 1, 3 do
      local n = math.min(tonumber(turns[p] or ARGV[4 + p]), ready[p] - take[p], room)
      take[p], turns[p] = take[p] + n, (turns[p] or ARGV[4 + p]) - n
      room, left = room - n, left - n
    end
    if room > 0 and left > 0 then
      turns = { ARGV[5], ARGV[6], ARGV[7] }
    end
  end
  redis.call('HSET', QUEUE, 1, turns[1], 2, turns[2], 3, turns[3])
  return take
end

local jobs, leases = {}, {}

local function hand_out(p, entry, fields, deliveries)
  for _, value in ipairs({ p, entry, fields[2], fields[4], fields[6] + deliveries, fields[8] }) do
    jobs[#jobs + 1] = value
  end
  leases[#leases + 1] = till
  leases[#leases + 1] = entry .. ':' .. claim
end

local function hand_out_lapsed(p, most)
  local lapsed = redis.call('ZRANGEBYSCORE', LEASES[p], '-inf', stamp, 'LIMIT', 0, most)
  for _, member in ipairs(lapsed) do
    local entry = string.match(member, '[^:]+')
    local before = redis.call('XPENDING', LINES[p], GROUP, entry, entry, 1)[1]
    local claimed = redis.call('XCLAIM', LINES[p], GROUP, consumer, 0, entry)[1]
    if claimed then
      hand_out(p, entry, claimed[2], before[4] + 1)
    end
  end
  if #lapsed > 0 then
    redis.call('ZREM', LEASES[p], unpack(lapsed))
  end
  return #lapsed
end

local function hand_out_unread(p, most)
  local read = redis.call('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', most, 'STREAMS', LINES[p], '>')
  for _, one in ipairs(read and read[1][2] or {}) do
    hand_out(p, one[1], one[2], 1)
  end
end

local take = left > 0 and deal() or { 0, 0, 0 }
for p = 1, 3 do
  leases = {}
  local lapsed = take[p] > 0 and hand_out_lapsed(p, take[p]) or 0
  if take[p] > lapsed then
    hand_out_unread(p, take[p] - lapsed)
  end
  if #leases > 0 then
    redis.call('ZADD', LEASES[p], unpack(leases))
  end
end
if left > 0 then
  ring()
end

local next = -1
for p = 1, 3 do
  for _, key in ipairs({ LEASES[p], DELAYED[p] }) do
    local at = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
    if at and (next < 0 or at - now < next) then
      next = math.max(at - now, 0)
    end
  end
end
return { next, jobs }
