#!lua flags=allow-oom
-- lock_release  KEYS: dataset, lock, index   ARGV: dataset id, name, token
-- gives OK, ms held | LOST | GONE | DATASET
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'DATASET' end
local held = redis.call('HMGET', KEYS[2], 't', 'a')
if not held[1] then return 'GONE' end
if held[1] ~= ARGV[3] then return 'LOST' end
redis.call('ZREM', KEYS[3], ARGV[2])
redis.call('DEL', KEYS[2])
return {'OK', math.max(0, now - (tonumber(held[2]) or now))}
