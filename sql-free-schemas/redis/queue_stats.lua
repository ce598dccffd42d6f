#!lua
-- queue_stats  KEYS: dataset, meta   ARGV: dataset id, T
-- gives jobs, in flight, delayed, held; of the first 1,000 held those by their
-- limit and those by a breaker; what made no sense, spill, complete (1 or 0);
-- or DATASET
-- include queue.inc.lua
local meta = begin('len', 'foreign', 'spill', 'complete')
local names, by = list('ZRANGE', HOLD, 0, 999), {limit = 0, breaker = 0}
for i = 1, #names do
    if names[i]:sub(1, 1) == 'l' then
        local kind = at('HGET', L .. names[i]:sub(2), 'hk')
        if by[kind] then by[kind] = by[kind] + 1 end
    end
end
return save({num(meta[3], 0), at('ZCARD', ACT), at('ZCARD', DLY),
    at('ZCARD', HOLD), by.limit, by.breaker, num(meta[4], 0) + foreign,
    meta[5] == '1' and 1 or 0, meta[6] == '1' and 1 or 0})
