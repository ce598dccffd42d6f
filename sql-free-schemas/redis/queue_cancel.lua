#!lua
-- queue_cancel  KEYS: dataset, meta   ARGV: dataset id, T, id
-- removes a job that waits
-- gives 1, or 0: it does not; DATASET
-- include queue.inc.lua
begin()
local j = job(ARGV[3])
if not j or j[5] then return save(0) end
local s = load(j[1])
at('ZREM', DLY, ARGV[3])
at('ZREM', W .. j[2], ARGV[3])
at('DEL', J .. ARGV[3])
gone = 1
if j[2] ~= j[1] then seat_group(s, j[2]) end
seat(s)
return save(1)
