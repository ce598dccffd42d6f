#!lua flags=allow-oom
-- queue_recover  KEYS: dataset, meta
-- ARGV: dataset id, T, token, ran (1: the grants stay)
-- what is in flight under the token waits again
-- gives how many; or DATASET
-- include queue.inc.lua
begin()
local ids, n = list('ZRANGE', ACT, 0, 9999), 0
for i = 1, #ids do
    if at('HGET', J .. ids[i], 'lt') == ARGV[3] then
        local j = job(ids[i])
        if j then
            local s = load(j[1])
            leave(ids[i], s, j[2])
            if ARGV[4] ~= '1' then refund(j, s) end
            again(ids[i], j, s, 0)
            seat(s)
            n = n + 1
        end
    end
end
if n > 0 then mark() end
return save(n)
