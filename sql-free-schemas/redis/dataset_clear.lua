#!lua flags=allow-oom
-- dataset_clear  KEYS: dataset, keys   ARGV: seen
-- removes the keys while the data set is the one seen ('': none, '?': nonsense)
-- gives how many there were, or DATASET
local held = redis.call('MGET', KEYS[1])[1] or ''
if #held > 16 or held:find('%W') then held = '?' end
if held ~= ARGV[1] then return 'DATASET' end
if #KEYS == 1 then return 0 end
return redis.call('UNLINK', unpack(KEYS, 2))
