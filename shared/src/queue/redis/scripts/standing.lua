-- The tickets among ARGV, from `first` on, whose leases stand: of each the priority's number, the job's id, the entry, the claim's number.
-- A lease that lapsed, or was claimed again, is another member, so nobody can answer for what somebody else has.
local function standing(first)
  local asked = { {}, {}, {} }
  for i = first, #ARGV, 4 do
    local of = asked[tonumber(ARGV[i])]
    of[#of + 1] = { id = ARGV[i + 1], entry = ARGV[i + 2], lease = ARGV[i + 2] .. ':' .. ARGV[i + 3] }
  end
  local stand = {}
  for p = 1, 3 do
    local ids, entries, leases, members = {}, {}, {}, {}
    for i, ticket in ipairs(asked[p]) do
      members[i] = ticket.lease
    end
    local scores = #members > 0 and redis.call('ZMSCORE', LEASES[p], unpack(members)) or {}
    for i, ticket in ipairs(asked[p]) do
      if scores[i] and tonumber(scores[i]) > now then
        ids[#ids + 1], entries[#entries + 1], leases[#leases + 1] = ticket.id, ticket.entry, ticket.lease
      end
    end
    stand[p] = { ids = ids, entries = entries, leases = leases }
  end
  return stand
end
