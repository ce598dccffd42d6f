#!lua
-- queue_subscriber  KEYS: dataset, meta
-- ARGV: dataset id, T, subscriber, hold | unhold | limit | remove, value,
-- window ms
-- hold: for value ms; unhold: the breaker is closed too; limit: value grants in
-- the window; remove: what waits, at most value jobs
-- gives 1 if remove left some, else 0; or DATASET
-- include queue.inc.lua
begin()
local s, value, left = load(ARGV[3]), tonumber(ARGV[5]), 0

-- Jobs of a group, at most `most`
local function drop(group, most)
    local got = list('ZPOPMIN', W .. group, most)
    for i = 1, #got, 2 do
        at('DEL', J .. got[i])
    end
    gone = gone + #got / 2
    return #got / 2
end

local function remove(most)
    local n = drop(s.lim, most)
    for _ = 1, most do
        local group = list('ZRANGE', E .. s.lim, '0', '0')[1]
        if n >= most or not group then break end
        n = n + drop(group, most - n)
        seat_group(s, group)
    end
    if at('EXISTS', W .. s.lim, E .. s.lim) > 0 then left = 1 end
end

if ARGV[4] == 'hold' then
    hold(s, now + value, 'asked')
elseif ARGV[4] == 'unhold' then
    unhold(s)
    s.fails, s.own = 0, nil
    at('HSET', s.key, 'fails', '0', 'pc', '')
elseif ARGV[4] == 'limit' then
    limit(s, ARGV[5], ARGV[6])
else
    remove(value)
end
seat(s)
if grew or soon then mark() end
return save(left)
