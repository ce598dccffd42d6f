#!lua
-- dataset_reserve  KEYS: dataset, max   ARGV: dataset id, max
-- raises the greatest fence allowed, never lowers it
-- gives what it is then, or DATASET
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'DATASET' end
local max = tonumber(redis.call('MGET', KEYS[2])[1] or '')
local wanted = tonumber(ARGV[2])
if max and max >= wanted and max < 2^52 then return max end
redis.call('SET', KEYS[2], ARGV[2])
return wanted
