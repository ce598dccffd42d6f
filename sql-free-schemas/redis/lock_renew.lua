#!lua
-- lock_renew  KEYS: dataset, lock, index   ARGV: dataset id, name, token, ttl ms
-- gives OK, fence | LOST | GONE | DATASET
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'DATASET' end
local held = redis.call('HMGET', KEYS[2], 't', 'f')
if not held[1] then return 'GONE' end
if held[1] ~= ARGV[3] then return 'LOST' end
redis.call('ZADD', KEYS[3], now + ARGV[4], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {'OK', tonumber(held[2])}
