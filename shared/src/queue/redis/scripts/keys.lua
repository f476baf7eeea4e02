-- What every script begins with: its keys by name, in the order of `keys.rs`.
local QUEUE, JOBS, CREDITS, HOLDERS, BELL = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local LINES = { KEYS[6], KEYS[7], KEYS[8] }
local LEASES = { KEYS[9], KEYS[10], KEYS[11] }
local DELAYED = { KEYS[12], KEYS[13], KEYS[14] }
local GROUP = 'processors'
