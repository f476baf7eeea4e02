-- The keys of a push, which is called for each upload: those that it needs, and no more.
local QUEUE, JOBS, CREDITS, HOLDERS, BELL, LINE = unpack(KEYS)
