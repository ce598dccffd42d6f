#!lua
-- dataset_look  KEYS: dataset, index, fence, max, ahead
-- ARGV: prefix of locks, instance
-- gives the data set or '' ('?': none that could be ours), last fence, greatest
-- one allowed (0: none), time in us and what fences are ahead of it, locks
-- held, entries that have ended, locks of the instance among the 1,000 that end
-- first; an index that is no set of ours goes, as it refuses every lock
-- needs no id; refused without memory, when no lock can be had either
local t = redis.call('TIME')
local us = t[1] * 1000000 + t[2]
local now = (us - us % 1000) / 1000
local own = redis.call('MGET', KEYS[1], KEYS[3], KEYS[4], KEYS[5])
if type(redis.pcall('ZCARD', KEYS[2])) == 'table' then
    redis.call('UNLINK', KEYS[2])
end
local ended = redis.call('ZCOUNT', KEYS[2], '-inf', now - 1)
local all = redis.call('ZCARD', KEYS[2])
local names = redis.call('ZRANGE', KEYS[2], ended, ended + 999)
local owned = 0
for i = 1, #names do
    if redis.pcall('HGET', ARGV[1] .. names[i], 'i') == ARGV[2] then
        owned = owned + 1
    end
end
local held = own[1] or ''
if #held > 16 or held:find('%W') then held = '?' end
local function whole(text)
    local n = tonumber(text or '')
    return n and n >= 0 and n < 2^52 and n or 0
end
local ahead = whole(own[4])
if us + ahead >= 4.5e15 then ahead = 0 end -- as lock_acquire
return {held, whole(own[2]), whole(own[3]), us + ahead,
    all - ended, ended, owned}
