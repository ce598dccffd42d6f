#!lua
-- queue_meta  KEYS: dataset, meta
-- ARGV: dataset id, T, cap, max, limit over all (0: none), its window ms, over
-- (1: the sweep found nothing that is not here)
-- gives 0 or DATASET
-- include queue.inc.lua

-- Those that were at the old cap may have more, or are at the new one.
local function seat_all()
    local ids, seated = list('ZRANGE', ACT, 0, 999), {}
    cap = num(ARGV[3], 1)
    for i = 1, #ids do
        local lim = at('HGET', J .. ids[i], 'm')
        if lim and not seated[lim] then
            seated[lim] = true
            seat(load(lim))
        end
    end
end

local names = {'cap', 'max', 'gl', 'gw'}
local meta, changed = begin(unpack(names)), false
for i = 1, #names do
    if meta[2 + i] ~= ARGV[2 + i] then changed = true end
end
if changed then
    at('HSET', META, 'cap', ARGV[3], 'max', ARGV[4], 'gl', ARGV[5],
        'gw', ARGV[6])
    if ARGV[5] == '0' then at('DEL', RL) end
    at('PEXPIRE', RL, 2 * ARGV[6])
    if meta[3] ~= ARGV[3] then seat_all() end
    if at('ZCARD', R) > 0 then mark() end
end
if ARGV[7] == '1' then at('HSET', META, 'spill', '0', 'complete', '1') end
return save(0)
