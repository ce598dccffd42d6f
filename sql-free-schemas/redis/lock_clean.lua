#!lua flags=allow-oom
-- lock_clean  KEYS: dataset, index   ARGV: dataset id, prefix of locks, place
-- removes entries that have ended, then those at `place` and after it that
-- have no lock; looks at 500
-- gives how many, and the place to go on at or -1 when all were seen; DATASET
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'DATASET' end
local most, place = 500, tonumber(ARGV[3])
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - 1,
    'LIMIT', 0, most)
local left = most - #gone
if gone[1] then redis.call('ZREM', KEYS[2], unpack(gone)) end
if left == 0 then return {most, math.max(0, place - most)} end

place = math.max(0, place - #gone)
local seen = redis.call('ZRANGE', KEYS[2], place, place + left - 1)
local lost = {}
for i = 1, #seen do
    if redis.call('EXISTS', ARGV[2] .. seen[i]) == 0 then
        lost[#lost + 1] = seen[i]
    end
end
if lost[1] then redis.call('ZREM', KEYS[2], unpack(lost)) end
return {#gone + #lost, #seen < left and -1 or place + #seen - #lost}
