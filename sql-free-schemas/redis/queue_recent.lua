#!lua
-- queue_recent  KEYS: dataset, meta
-- ARGV: dataset id, T, subscribers (at most 100)
-- gives of each how many grants are in its window; or DATASET
-- include queue.inc.lua
begin()
local out = {}

-- Newest first: how many of n are after `since`
local function count(key, n, since)
    local low, high = 0, n
    while low < high do
        local mid = math.floor((low + high) / 2)
        if num(at('LINDEX', key, mid), 0) >= since then
            low = mid + 1
        else
            high = mid
        end
    end
    return low
end

for i = 3, #ARGV do
    local win = num(at('HGET', L .. ARGV[i], 'win'), 0)
    local key = RL .. ':' .. ARGV[i]
    local n = at('LLEN', key)
    out[#out + 1] = count(key, n, now - win)
end
return save(out)
