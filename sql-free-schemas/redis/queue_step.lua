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
local meta = begin('gl')

-- ---- one job ended

-- What the try says of the receiver; true: nothing changes.
local function judge(s, health, ms)
    if health == 'failed' then
        s.fails = s.fails + 1
        care(s, 'fails', s.fails)
        if s.fails >= 10 then
            s.own = 1
            care(s, 'pc', '1')
            hold(s, now + 60000, 'breaker')
        end
    elseif health == 'ok' and s.c and (s.own or s.fails > 0) then
        if s.own then unhold(s) end
        s.fails, s.own = 0, nil
        at('HSET', s.key, 'fails', '0', 'pc', '')
    elseif ms == '0' then
        return true
    end
    if ms ~= '0' then hold(s, now + ms, 'asked') end
    return false
end

local function finish(id, token, verdict, delay, health, ms)
    local key = J .. id
    local j = list('HMGET', key, 'lt', 'm', 'g')
    local lim, group = j[2], j[3]
    if not (lim and group) then return 'GONE' end
    if j[1] ~= token then return 'LOST' end
    local s = load(lim)
    if verdict ~= 'done' then j = job(id) end -- all of it
    leave(id, s, group)
    local calm = judge(s, health, ms)
    if j and (verdict == 'back' or verdict == 'gone') then refund(j, s) end
    if j and (verdict == 'back' or verdict == 'retry') then
        again(id, j, s, tonumber(delay))
        seat(s)
        return 'OK'
    end
    at('DEL', key)
    gone = gone + 1
    -- it had room before: its place in r is what it was
    if calm and s.r == '1' and group == lim and s.n + 1 < cap then
        return 'OK'
    end
    if group ~= lim then seat_group(s, group) end
    seat(s)
    if s.x and s.n == 0 and at('EXISTS', W .. lim, E .. lim) == 0 then
        at('DEL', s.key) -- such a subscriber has but one job
        subs[lim] = nil
    end
    return 'OK'
end

-- ---- a claim

local limited, rest = 0, NEVER -- until when the limit over all stops
local gl = num(meta[3], 0)
local is_stopped, count_all

-- Takes a grant of its limit; or holds it until it has one.
local function grant(s)
    local lmt, win = num(s.lmt, 0), num(s.win, 0)
    if lmt == 0 or win == 0 then return true end
    local key = RL .. ':' .. s.lim
    local n = at('LPUSH', key, stamp)
    if n > lmt then
        local first = num(at('LINDEX', key, lmt), 0)
        if first > now + win then -- of a clock that was far ahead
            at('UNLINK', key)
            n = at('LPUSH', key, stamp)
        elseif first + win >= now then
            at('LPOP', key)
            hold(s, first + win + 1, 'limit')
            limited = limited + 1
            return false
        elseif n > lmt + 32 then
            at('LTRIM', key, 0, lmt)
        end
    end
    -- it lives a window longer than its last grant
    local ls = num(s.ls, 0)
    if n == 1 or ls - ls % win ~= now - now % win then
        at('PEXPIRE', key, 2 * win)
    end
    return true
end

-- The most urgent that waits: its id and group
local function pop(s)
    if s.e then
        local head = list('ZRANGE', E .. s.lim, '0', '0', 'WITHSCORES')
        local sc = head[1] and
            list('ZRANGE', W .. s.lim, '0', '0', 'WITHSCORES')[2]
        if head[1] and (not sc or tonumber(head[2]) < tonumber(sc)) then
            at('ZREM', E .. s.lim, head[1])
            return list('ZPOPMIN', W .. head[1])[1], head[1]
        end
    end
    return list('ZPOPMIN', W .. s.lim)[1], s.lim
end

-- The next of a subscriber, or nil when it had none that makes sense.
local function take(s)
    local id, group = pop(s)
    if not id or at('HGET', J .. id, 'm') ~= s.lim then
        if s.lmt ~= '0' then at('LPOP', RL .. ':' .. s.lim) end
        foreign = foreign + 1
        if id then gone = gone + 1 end
        if group ~= s.lim then seat_group(s, group) end
        return nil
    end
    local ends = now + ARGV[4]
    at('HSET', J .. id, 'lt', ARGV[3], 'gt', stamp)
    at('ZADD', ACT, ends, id)
    flights = nil
    if group ~= s.lim then at('ZADD', HOLD, ends, 'g' .. group) end
    if count_all and not s.x then count_all() end
    if ends < due then due = ends end
    if (s.ls or ''):sub(1, 5) ~= stamp:sub(1, 5) then -- since 28 hours
        at('PEXPIRE', s.key, 172800000)
    end
    s.ls = stamp
    at('HSET', s.key, 'ls', stamp)
    return {id, s.lim, group}
end

local function try(s)
    if s.held > now then return nil end
    if s.r ~= '1' then recount(s) end -- was lost
    s.n = at('HINCRBY', s.key, 'n', '1')
    if s.n > (s.own and s.own < cap and s.own or cap) or not grant(s) then
        s.n = at('HINCRBY', s.key, 'n', '-1')
        return nil
    end
    local got = take(s)
    if not got then s.n = at('HINCRBY', s.key, 'n', '-1') end
    return got
end

local function claim()
    for _ = 1, 64 do
        local lim = list('ZRANGE', R, '0', '0')[1]
        if not lim then return nil end
        local s = load(lim)
        if is_stopped and not s.x and is_stopped() then return nil end
        local got = try(s)
        seat(s)
        if got then return got, s end
    end
    due = now -- there may be more
    return nil
end

-- ---- seldom: the limit over all, what is due

if gl > 0 then
    local gw = num(at('HGET', META, 'gw'), 0)
    local every = math.ceil(gl / 1000) -- so many grants leave one time
    local most = math.floor(gl / every)

    is_stopped = function()
        local first = num(at('LINDEX', RL, most - 1))
        if not first or first + gw < now then return false end
        if first > now + gw then -- of a clock that was far ahead
            at('UNLINK', RL)
            return false
        end
        rest = first + gw + 1
        return true
    end

    count_all = function()
        if every > 1 then
            local n = at('HINCRBY', META, 'gn', '1')
            if n < every then return end
            at('HSET', META, 'gn', '0')
        end
        at('LPUSH', RL, stamp)
        at('LTRIM', RL, 0, most - 1)
        at('PEXPIRE', RL, 2 * gw)
    end
end

local function settle()
    local moved = {}
    local ids = list('ZRANGE', DLY, '-inf', now, 'BYSCORE', 'LIMIT', 0, 64)
    if ids[1] then at('ZREM', DLY, unpack(ids)) end
    for i = 1, #ids do
        local j = job(ids[i])
        if j then
            moved[j[1]] = load(j[1])
            wait(ids[i], j, moved[j[1]])
        else
            foreign = foreign + 1
        end
    end

    ids = list('ZRANGE', ACT, '-inf', now, 'BYSCORE', 'LIMIT', 0, 16)
    for i = 1, #ids do
        local j = job(ids[i])
        if j and j[5] then
            moved[j[1]] = load(j[1])
            leave(ids[i], moved[j[1]], j[2])
            again(ids[i], j, moved[j[1]], 0)
        else
            at('ZREM', ACT, ids[i])
            if j then flights = nil end
            foreign = foreign + 1
            -- the name of a delivery begins with its subscriber
            local lim = ids[i]:match('^(.+)%-%d+%-%w+$')
            if lim and at('EXISTS', L .. lim) == 1 then
                moved[lim] = load(lim)
                recount(moved[lim])
            end
        end
    end

    -- a group is blocked as long as one of it is in flight
    local names = #ids == 16 and {} or
        list('ZRANGE', HOLD, '-inf', now, 'BYSCORE', 'LIMIT', 0, 64)
    if names[1] then at('ZREM', HOLD, unpack(names)) end
    for i = 1, #names do
        local kind, name = names[i]:sub(1, 1), names[i]:sub(2)
        if kind == 'l' then
            moved[name] = load(name)
        elseif kind == 'g' then
            local lim = name:match('^[^:]*')
            moved[lim] = load(lim)
            seat_group(moved[lim], name)
        else
            foreign = foreign + 1
        end
    end
    for _, s in pairs(moved) do
        seat(s)
    end

    due = NEVER
    for _, key in ipairs({DLY, ACT, HOLD}) do
        local ms = tonumber(list('ZRANGE', key, '0', '0', 'WITHSCORES')[2])
        if ms and ms < due then due = ms > 0 and ms or 0 end
    end
end

local told = ARGV[7] and finish(unpack(ARGV, 7, 12)) or ''
local got, s
if ARGV[5] == '1' then
    if now >= due then settle() end
    got, s = claim()
end
if got then
    if (ARGV[6] == '1' or grew) and at('ZCARD', R) > 0 or soon then mark() end
elseif ARGV[5] ~= '1' and (grew or soon) then
    mark()
end
local by = rest < due and rest or due
by = by == NEVER and -1 or by > now and by - now or 0
if not got then return save({told, by, limited}) end
return save({told, by, limited, got[1], got[2], got[3], s.x and 1 or 0,
    num(s.lmt, 0), num(s.win, 0)})
