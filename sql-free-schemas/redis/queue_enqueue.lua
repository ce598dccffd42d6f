#!lua
-- queue_enqueue  KEYS: dataset, meta
-- ARGV: dataset id, T, fanout | sweep, then of each job (at most 50): id,
-- subscriber, group, sc, order number or '', delay ms, once (1 or ''), limit,
-- window
-- gives a letter for each: N new, K known, F full; or DATASET
-- include queue.inc.lua
local max, spill = num(meta[5], 100000), meta[6] == '1'
if spill and ARGV[3] == 'fanout' then
    return {('F'):rep((#ARGV - 3) / 9)}
end

-- Is in flight, or delayed, or waits.
local function has_place(id, j)
    if j[5] and at('ZSCORE', ACT, id) then return true end
    return at('ZSCORE', DLY, id) or at('ZSCORE', W .. j[2], id)
end

-- A place for one that has none; gives 1 unless it was there.
local function place(id, j, s, delay)
    if delay > 0 and j[1] == j[2] then
        look_by(now + delay)
        return at('ZADD', DLY, now + delay, id)
    end
    local new = wait(id, j, s)
    -- as the head it blocks the group
    if delay > 0 and at('ZRANK', W .. j[2], id) == 0 then
        at('ZADD', HOLD, 'GT', now + delay, 'g' .. j[2])
        seat_group(s, j[2])
        look_by(now + delay)
    end
    return new
end

-- How many of its three fields were new
local function write(id, lim, group, sc, o, once)
    if group == lim and once == '' then
        return at('HSET', J .. id, 'm', lim, 'g', group, 'sc', sc)
    end
    return at('HSET', J .. id, 'm', lim, 'g', group, 'sc', sc, 'o', o,
        'x', once) - 2
end

local function enqueue(s, id, group, sc, o, delay, once)
    if write(id, s.lim, group, sc, o, once) == 3 then
        len = len + place(id, {s.lim, group, sc, o}, s, delay)
        return 'N'
    end
    local j = job(id)
    if has_place(id, j) then
        if group ~= s.lim then seat_group(s, group) end
        return 'K'
    end
    if j[5] then -- the record of its flight was lost
        leave(id, j, s)
        at('HDEL', J .. id, 'lt', 'gt')
    end
    place(id, j, s, delay)
    return 'K'
end

local out, touched = {}, {}
for i = 4, #ARGV, 9 do
    local id, lim, group, sc, o, delay, once = unpack(ARGV, i, i + 6)
    if len >= max and at('EXISTS', J .. id) == 0 then
        out[#out + 1] = 'F'
        if not spill then at('HSET', KEYS[2], 'spill', '1') end
        spill = true
    else
        local s = load(lim)
        touched[lim] = s
        limit(s, tonumber(ARGV[i + 7]), tonumber(ARGV[i + 8]))
        if once == '1' and s.x ~= '1' then
            s.x = '1'
            at('HSET', s.key, 'x', '1')
        end
        out[#out + 1] = enqueue(s, id, group, sc, o, tonumber(delay), once)
    end
end
local ready = soon
for _, s in pairs(touched) do
    seat(s)
    ready = ready or s.r == '1'
end
if ready then mark() end
return save({table.concat(out)})
