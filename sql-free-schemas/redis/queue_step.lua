#!lua
-- queue_step  KEYS: dataset, meta
-- ARGV: dataset id, T, token, lease ms, want (1 or 0), woken (1 or 0), and of
-- a claimed job that ended: id, token, done | gone | retry | back,
-- delay ms, same | ok | failed, hold ms
-- tells what became of that job, then claims one under `token`
-- gives '' | OK | GONE | LOST of the first, ms until something may be due (-1:
-- not known), subscribers met whose limit was reached, and of a claimed job:
-- id, subscriber, group, once (1 or 0), limit, window; or DATASET
-- include queue.inc.lua

-- ---- one job ended

local function judge(s, health, ms)
    if health == 'ok' then
        if s.fails > 0 or s.own then
            s.fails, s.own = 0, nil
            at('HSET', s.key, 'fails', 0, 'pc', '')
        end
    elseif health == 'failed' then
        s.fails = s.fails + 1
        at('HSET', s.key, 'fails', s.fails)
        if s.fails >= 10 then
            s.own = 1
            at('HSET', s.key, 'pc', 1)
            hold(s, now + 60000, 'breaker')
        end
    end
    if ms > 0 then hold(s, now + ms, 'asked') end
end

local function finish(id, token, verdict, delay, health, ms)
    local j = job(id)
    if not j then return 'GONE' end
    if j[5] ~= token then return 'LOST' end
    local s = load(j[1])
    local full = is_full(s)
    local over = verdict == 'done' or verdict == 'gone'
    leave(id, j, s)
    if verdict == 'gone' or verdict == 'back' then refund(j, s) end
    if over then
        at('DEL', J .. id)
        len = len - 1
        if j[2] ~= j[1] then seat_group(s, j[2]) end
    else
        again(id, j, s, tonumber(delay))
    end
    judge(s, health, tonumber(ms))
    if over and s.r == '1' and not full and s.held <= now and
        j[2] == j[1] then
        at('HSET', s.key, 'n', s.n) -- its place in r is what it was
        return 'OK'
    end
    seat(s)
    if j[7] == '1' and over and s.n == 0 and s.r == '0' then
        at('DEL', s.key) -- served once
        subs[s.lim] = nil
    end
    return 'OK'
end

-- ---- what is due

local function promote()
    local ids = at('ZRANGE', DLY, '-inf', now, 'BYSCORE', 'LIMIT', 0, 64)
    if not ids[1] then return end
    at('ZREM', DLY, unpack(ids))
    for i = 1, #ids do
        local j = job(ids[i])
        if j then
            local s = load(j[1])
            wait(ids[i], j, s)
            s.moved = true
        else
            foreign = foreign + 1
        end
    end
end

local function reap()
    local ids = at('ZRANGE', ACT, '-inf', now, 'BYSCORE', 'LIMIT', 0, 16)
    for i = 1, #ids do
        local j = job(ids[i])
        if j and j[5] then
            local s = load(j[1])
            leave(ids[i], j, s)
            again(ids[i], j, s, 0)
            s.moved = true
        else
            at('ZREM', ACT, ids[i])
            foreign = foreign + 1
        end
    end
    return #ids
end

local function unblock()
    local names = at('ZRANGE', HOLD, '-inf', now, 'BYSCORE', 'LIMIT', 0, 64)
    if not names[1] then return end
    at('ZREM', HOLD, unpack(names))
    for i = 1, #names do
        local kind, name = names[i]:sub(1, 1), names[i]:sub(2)
        if kind == 'l' then
            load(name).moved = true
        elseif kind == 'g' then
            local s = load(name:match('^[^:]*'))
            seat_group(s, name)
            s.moved = true
        else
            foreign = foreign + 1
        end
    end
end

local function settle()
    promote()
    -- a group is blocked as long as one of it is in flight
    if reap() < 16 then unblock() end
    for _, s in pairs(subs) do
        if s.moved then seat(s) end
    end
    due = NEVER
    for _, key in ipairs({DLY, ACT, HOLD}) do
        local ms = tonumber(at('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
        if ms and ms < due then due = ms > 0 and ms or 0 end
    end
end

-- ---- a claim

local limited, rest = 0, NEVER -- until when the limit over all stops
local gl, gw = num(meta[7], 0), num(meta[8], 0)
local every = gl > 0 and math.ceil(gl / 1000) or 1

-- Is the limit over all reached?
local function is_stopped()
    if gl == 0 then return false end
    local first = num(at('LINDEX', RL, math.floor(gl / every) - 1))
    if not first or first + gw < now then return false end
    if first > now + gw then -- of a clock that was far ahead
        at('UNLINK', RL)
        return false
    end
    rest = first + gw + 1
    return true
end

local function grant_over_all()
    if gl == 0 then return end
    gn = gn + 1
    if gn >= every then
        gn = 0
        at('LPUSH', RL, now)
        at('LTRIM', RL, 0, math.floor(gl / every) - 1)
        at('PEXPIRE', RL, 2 * gw)
    end
    if every > 1 then at('HSET', KEYS[2], 'gn', gn) end
end

-- Takes a grant of its limit; or holds it until it has one.
local function grant(s)
    if s.lmt == 0 then return true end
    local key = RL .. ':' .. s.lim
    local n = at('LPUSH', key, now)
    if n > s.lmt then
        local first = num(at('LINDEX', key, s.lmt), 0)
        if first > now + s.win then -- of a clock that was far ahead
            at('UNLINK', key)
            at('LPUSH', key, now)
            n = 1
        elseif first + s.win >= now then
            at('LPOP', key)
            hold(s, first + s.win + 1, 'limit')
            limited = limited + 1
            return false
        elseif n > s.lmt + 32 then
            at('LTRIM', key, 0, s.lmt)
        end
    end
    -- at least a window longer than its last grant
    if n == 1 or s.ls - s.ls % s.win ~= now - now % s.win then
        at('PEXPIRE', key, 2 * s.win)
    end
    return true
end

-- The most urgent that waits: its id and group
local function pop(s)
    if s.e == '1' then
        local group = at('ZRANGE', E .. s.lim, 0, 0, 'WITHSCORES')
        if group[1] then
            local sc = at('ZRANGE', W .. s.lim, 0, 0, 'WITHSCORES')[2]
            if not sc or tonumber(group[2]) < tonumber(sc) then
                at('ZREM', E .. s.lim, group[1])
                return at('ZPOPMIN', W .. group[1])[1], group[1]
            end
        end
    end
    return at('ZPOPMIN', W .. s.lim)[1], s.lim
end

-- The next of a subscriber, or nil when it had none that makes sense.
local function take(s)
    local id, group = pop(s)
    local j = id and job(id)
    if not j or j[1] ~= s.lim or j[2] ~= group then
        if s.lmt > 0 then at('LPOP', RL .. ':' .. s.lim) end
        foreign = foreign + 1
        if id then len = len - 1 end
        if group ~= s.lim then seat_group(s, group) end
        return nil
    end
    local ends = now + ARGV[4]
    at('HSET', J .. id, 'lt', ARGV[3], 'gt', now)
    at('ZADD', ACT, ends, id)
    if group ~= s.lim then at('ZADD', HOLD, ends, 'g' .. group) end
    if j[7] ~= '1' then grant_over_all() end
    if ends < due then due = ends end
    if s.ls - s.ls % 86400000 ~= now - now % 86400000 then
        at('PEXPIRE', s.key, 172800000)
    end
    s.n, s.ls = s.n + 1, now
    return {id, s.lim, group, j[7] == '1' and 1 or 0, s.lmt, s.win}
end

local function claim()
    for _ = 1, 64 do
        local lim = at('ZRANGE', R, 0, 0)[1]
        if not lim then return nil end
        local s, got = load(lim), nil
        if s.held <= now and not is_full(s) then
            if s.x ~= '1' and is_stopped() then return nil end
            got = grant(s) and take(s)
        end
        seat(s)
        if got then return got end
    end
    due = now -- there may be more
    return nil
end

local told = ARGV[7] and finish(unpack(ARGV, 7, 12)) or ''
local paused = meta[4] == '1'
local got
if tonumber(ARGV[4]) > num(meta[10], 0) then -- the longest that may run
    at('HSET', KEYS[2], 'lease', ARGV[4])
end
if ARGV[5] == '1' and not paused then
    if now >= due then settle() end
    got = claim()
end
if got then
    if (ARGV[6] == '1' or grew) and at('ZCARD', R) > 0 or soon then mark() end
elseif ARGV[5] ~= '1' and (grew or soon) then
    mark()
end
local by = rest < due and rest or due
local out = {told, (paused or by == NEVER) and -1 or by > now and by - now or 0,
    limited}
if got then
    for i = 1, 6 do out[3 + i] = got[i] end
end
return save(out)
