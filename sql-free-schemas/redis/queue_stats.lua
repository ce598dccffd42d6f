#!lua
-- queue_stats  KEYS: dataset, meta   ARGV: dataset id, T
-- gives jobs, in flight, delayed, held; of the first 1,000 held those by their
-- limit and those by a breaker; what made no sense, spill, complete (1 or 0);
-- or DATASET
-- include queue.inc.lua
local names, by = at('ZRANGE', HOLD, 0, 999), {limit = 0, breaker = 0}
for i = 1, #names do
    if names[i]:sub(1, 1) == 'l' then
        local kind = at('HGET', T .. ':l:' .. names[i]:sub(2), 'hk')
        if by[kind] then by[kind] = by[kind] + 1 end
    end
end
local more = at('HMGET', KEYS[2], 'foreign', 'complete')
return save({len, at('ZCARD', ACT), at('ZCARD', DLY), at('ZCARD', HOLD),
    by.limit, by.breaker, num(more[1], 0) + foreign, meta[6] == '1' and 1 or 0,
    more[2] == '1' and 1 or 0})
