#!lua
-- queue_meta  KEYS: dataset, meta
-- ARGV: dataset id, T, paused (1 or 0), cap, max, limit over all (0: none), its
-- window ms, over (1: the sweep found nothing that is not here)
-- gives 0 or DATASET
-- include queue.inc.lua
local names = {'paused', 'cap', 'max', 'gl', 'gw'}
local meta, changed = begin(unpack(names)), false
for i = 1, #names do
    if meta[2 + i] ~= ARGV[2 + i] then changed = true end
end
if changed then
    at('HSET', META, 'paused', ARGV[3], 'cap', ARGV[4], 'max', ARGV[5],
        'gl', ARGV[6], 'gw', ARGV[7])
    if ARGV[6] == '0' then at('DEL', RL) end
    at('PEXPIRE', RL, 2 * ARGV[7])
    if at('ZCARD', R) > 0 then mark() end
end
if ARGV[8] == '1' then at('HSET', META, 'spill', '0', 'complete', '1') end
return save(0)
