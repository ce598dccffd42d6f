#!lua
-- lock_acquire  KEYS: dataset, lock, index, fence, max, ahead
-- ARGV: dataset id, name, token, ttl ms, instance, owner
-- gives OK, fence | BUSY, owner, instance, ms left | DATASET
-- or CLOSED: no fence is left that MongoDB knows of
-- the same token again gets the same fence and a new end
local t = redis.call('TIME')
local us = t[1] * 1000000 + t[2]
local now = (us - us % 1000) / 1000
local own = redis.call('MGET', KEYS[1], KEYS[4], KEYS[5], KEYS[6])
if own[1] ~= ARGV[1] then return 'DATASET' end

local held = redis.call('HMGET', KEYS[2], 't', 'f', 'o', 'i')
if held[1] == ARGV[3] then
    redis.call('ZADD', KEYS[3], now + ARGV[4], ARGV[2])
    redis.call('PEXPIRE', KEYS[2], ARGV[4])
    return {'OK', tonumber(held[2])}
end
if held[1] then
    local left = redis.call('PTTL', KEYS[2])
    -- without an end it is no lease
    if left ~= -1 then
        return {'BUSY', held[3] or '', held[4] or '', left}
    end
end

local last, max = tonumber(own[2]), tonumber(own[3])
if not last or not max then return 'CLOSED' end
-- with time: the last second of the data may have been lost by a restart
local ahead = tonumber(own[4] or '') or 0
if not (us + ahead < 4.5e15) then ahead = 0 end -- no fence can be so great
local fence = math.max(last + 1, us + ahead)
if not (fence <= max) then return 'CLOSED' end -- also of what is no number

-- nothing is written before all types have shown to be right
local ended = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - 1,
    'LIMIT', 0, 64)
if ended[1] then redis.call('ZREM', KEYS[3], unpack(ended)) end
redis.call('SET', KEYS[4], fence)
redis.call('HSET', KEYS[2], 't', ARGV[3], 'f', fence, 'i', ARGV[5],
    'o', ARGV[6], 'a', now)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('ZADD', KEYS[3], now + ARGV[4], ARGV[2])
return {'OK', fence}
