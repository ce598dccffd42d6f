#!lua
-- queue_meta  KEYS: dataset, meta
-- ARGV: dataset id, T, paused (1 or 0), cap, max, limit over all (0: none), its
-- window ms, over (1: the sweep found nothing that is not here)
-- gives 0 or DATASET
-- include queue.inc.lua
local paused, gl, gw = ARGV[3], tonumber(ARGV[6]), tonumber(ARGV[7])
if meta[4] ~= paused or meta[1] ~= ARGV[4] or meta[5] ~= ARGV[5] or
    meta[7] ~= ARGV[6] or meta[8] ~= ARGV[7] then
    at('HSET', KEYS[2], 'paused', paused, 'cap', ARGV[4], 'max', ARGV[5], 'gl',
        gl, 'gw', gw)
    if gl > 0 then at('PEXPIRE', RL, 2 * gw) else at('DEL', RL) end
    if at('ZCARD', R) > 0 then mark() end
end
if ARGV[8] == '1' then at('HSET', KEYS[2], 'spill', '0', 'complete', '1') end
return save(0)
