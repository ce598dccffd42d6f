#!lua
-- queue_enqueue  KEYS: dataset, meta
-- ARGV: dataset id, T, fanout | sweep | now (room or not), then of each job (at
-- most 50): id, subscriber, group, sc, order number or '', delay ms, once (1 or ''), limit,
-- window
-- gives a letter for each: N new, K known, F full; or DATASET
-- include queue.inc.lua
local meta = begin('len', 'max', 'spill')
local room, spill = num(meta[4], 100000) - num(meta[3], 0), meta[5] == '1'
if room <= 0 and at('EXISTS', R, ACT, DLY, HOLD) == 0 then -- a wrong number
    at('HSET', META, 'len', '0')
    room = num(meta[4], 100000)
end
if spill and ARGV[3] == 'fanout' then
    return save({('F'):rep((#ARGV - 3) / 9)})
end
if ARGV[3] == 'now' then room = NEVER end

-- A place for one that has none; gives 1 unless it was there.
local function place(id, j, s, delay)
    local group = j[2]
    if delay ~= '0' and group == s.lim then
        look_by(now + delay)
        return at('ZADD', DLY, now + delay, id)
    end
    local new = wait(id, j, s)
    -- as the head it blocks the group
    if delay ~= '0' and at('ZRANK', W .. group, id) == 0 then
        at('ZADD', HOLD, 'GT', now + delay, 'g' .. group)
        seat_group(s, group)
        look_by(now + delay)
    end
    return new
end

-- The head of a group is due, but it is held for long: by one in flight, or in
-- vain.
local function unblock(id, group)
    local till = num(at('ZSCORE', HOLD, 'g' .. group), 0)
    if till < now + 60000 or at('ZRANK', W .. group, id) ~= 0 then return end
    local ids = list('ZRANGE', ACT, 0, 999)
    for i = 1, #ids do
        if at('HGET', J .. ids[i], 'g') == group then return end
    end
    at('ZREM', HOLD, 'g' .. group)
end

-- Its record is there already: is it in flight, delayed, or does it wait? What
-- was lost is made again; what it waits for in vain, by a clock that was far
-- ahead, is ended: by its row it is due.
local function find(id, s, group, delay)
    local j = job(id)
    s.all = true
    look_by(now)
    if delay == '0' and at('ZREM', DLY, id) == 1 then
        place(id, j, s, delay)
        return
    end
    if (j[5] and at('ZSCORE', ACT, id)) or at('ZSCORE', DLY, id) or
        at('ZSCORE', W .. group, id) then
        if group ~= s.lim then
            if delay == '0' then unblock(id, group) end
            seat_group(s, group)
        end
        return
    end
    if j[5] then -- its flight is not known any more
        leave(id, s, group)
        at('HDEL', J .. id, 'lt', 'gt')
    end
    place(id, j, s, delay)
end

-- How many of three fields were new
local function write(id, lim, group, sc, o, once)
    if group == lim and once == '' then
        return at('HSET', J .. id, 'm', lim, 'g', group, 'sc', sc)
    end
    return at('HSET', J .. id, 'm', lim, 'g', group, 'sc', sc, 'o', o,
        'x', once) - 2
end

local out, touched, new = {}, {}, {}
for i = 4, #ARGV, 9 do
    local id, lim, group, sc, o, delay, once, lmt, win = unpack(ARGV, i, i + 8)
    local verdict = 'N'
    if come >= room and at('EXISTS', J .. id) == 0 then
        verdict = 'F'
        if not spill then at('HSET', META, 'spill', '1') end
        spill = true
    else
        local s = load(lim)
        touched[lim] = s
        limit(s, lmt, win)
        if once == '1' and not s.x then
            s.x = true
            care(s, 'x', '1')
        end
        if write(id, lim, group, sc, o, once) == 3 then
            come = come + place(id, {lim, group, sc, o}, s, delay)
            new[id] = true
            if group ~= lim then s.all = true end
        else
            verdict = 'K'
            find(id, s, group, delay)
        end
    end
    out[#out + 1] = verdict
end

-- One that is in r keeps its place there if its head does.
local ready = soon
for lim, s in pairs(touched) do
    if s.all or s.r ~= '1' or new[list('ZRANGE', W .. lim, '0', '0')[1]] then
        seat(s)
    end
    ready = ready or s.r == '1'
end
if ready then mark() end
return save({table.concat(out)})
