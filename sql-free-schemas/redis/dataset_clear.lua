#!lua flags=allow-oom
-- dataset_clear  KEYS: dataset, keys   ARGV: seen
-- removes the keys while the data set is the one seen ('': none)
-- gives how many there were, or DATASET
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 'DATASET' end
if #KEYS == 1 then return 0 end
return redis.call('UNLINK', unpack(KEYS, 2))
