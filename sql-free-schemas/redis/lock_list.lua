#!lua flags=no-writes
-- lock_list  KEYS: dataset, index
-- ARGV: dataset id, prefix of locks, end ms to begin with, how many of those
-- that end then are known, count
-- gives now ms and rows by their end: name, end ms, owner, instance, ms of the
-- grant, fence; name, end ms only where there is no lock; or DATASET
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'DATASET' end
local from, known = tonumber(ARGV[3]), tonumber(ARGV[4])
if from < now then from, known = now, 0 end
local rank = redis.call('ZCOUNT', KEYS[2], '-inf', from - 1) + known
local found = redis.call('ZRANGE', KEYS[2], rank, rank + ARGV[5] - 1,
    'WITHSCORES')
local rows = {now}
for i = 1, #found, 2 do
    local name, ends = found[i], tonumber(found[i + 1])
    local held = redis.pcall('HMGET', ARGV[2] .. name, 'o', 'i', 'a', 'f')
    local made, fence = tonumber(held[3] or ''), tonumber(held[4] or '')
    if fence then
        rows[#rows + 1] = {name, ends, held[1] or '', held[2] or '',
            made or 0, fence}
    else
        rows[#rows + 1] = {name, ends}
    end
end
return rows
