-- queue.inc.lua - what the scripts of the queue share: each is this text, by
-- embed.sh, and its own lines.  KEYS: dataset, meta   ARGV: id, T, ..
--
--   enqueue -> w -- claim --> act -- done --> nowhere
--              ^ \-- delay -> dly <- retry --/
-- A job is in one of w, dly, act. A subscriber that has something to run, is
-- below its cap and not held is in r; so is a group in e, for its own. Whoever
-- changes one of these seats the subscriber (and the group) afterwards.
--
-- Speed: a field that is read costs as much as a lookup, a number made text or
-- text made a number half of that, so little is read and `stamp` is text.
local time = redis.call('TIME')
local stamp = time[1] .. ('00000' .. time[2]):sub(-6, -4)
local now = tonumber(stamp)
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 'DATASET' end
local T, META, NEVER = ARGV[2], KEYS[2], 2^52
local W, J, L, ACT = T .. ':w:', T .. ':j:', T .. ':l:', T .. ':act'
local R, E, HOLD, DLY, RL = T .. ':r', T .. ':e:', T .. ':hold', T .. ':dly',
    T .. ':rl'
local pcall, tonumber, type = redis.pcall, tonumber, type
local foreign = 0 -- keys and members that made no sense

-- What another type holds under T is a stranger's: it goes, and the command is
-- done again. So does a field that should be a number.
local function mend(got, command, key, ...)
    foreign = foreign + 1
    if got.err:find('WRONGTYPE', 1, true) then
        redis.call('UNLINK', key)
    elseif command == 'HINCRBY' then
        redis.call('HDEL', key, (...))
    else
        error(got)
    end
    return redis.call(command, key, ...)
end

-- Any command on a key under T that gives no list; one that does
local function at(command, key, ...)
    local got = pcall(command, key, ...)
    if type(got) == 'table' and got.err then
        return mend(got, command, key, ...)
    end
    return got
end
local function list(command, key, ...)
    local got = pcall(command, key, ...)
    if got.err then return mend(got, command, key, ...) end
    return got
end

-- Whole, as what it is made of may be a stranger's.
local function num(text, none)
    local n = tonumber(text)
    if n and n >= 0 and n < 2^53 then return n - n % 1 end
    return none
end

local cap, due, due_was
local gone, come = 0, 0 -- jobs
local grew, soon = false, false -- r has more; a timer has come nearer

-- The first line of a script: settings beside cap and due
local function begin(...)
    local meta = list('HMGET', META, 'cap', 'due', ...)
    cap, due = num(meta[1], 1), num(meta[2], 0)
    due_was = due
    return meta
end

-- The last one: what it replies
local function save(reply)
    if come ~= gone and at('HINCRBY', META, 'len', come - gone) < 0 then
        at('HSET', META, 'len', '0')
    end
    if due ~= due_was then at('HSET', META, 'due', due) end
    if foreign > 0 then at('HINCRBY', META, 'foreign', foreign) end
    return reply
end

local function mark()
    at('ZADD', T .. ':mk', '0', 'w')
end

-- Something has to be looked at then; sooner than others expect it.
local function look_by(ms)
    if ms < due then due, soon = ms, true end
end

-- ---- subscribers
--
-- T:l:<lim> as s: n in flight, ls last served, lmt and win its limit, r '1': it
-- stands in r; and, read only when c says that some of it is there: held (h)
-- until when and why (hk), e: it has groups in e, fails in a row, own (pc) its
-- cap while the breaker is open, x: of jobs that are sent once

local subs = {}
local flights -- by subscriber, once they were counted; nil: act has changed

-- How many are in flight, counted: its record was lost.
local function recount(s)
    if not flights then
        flights = {}
        local ids = list('ZRANGE', ACT, 0, 999)
        for i = 1, #ids do
            local lim = at('HGET', J .. ids[i], 'm')
            if lim then flights[lim] = (flights[lim] or 0) + 1 end
        end
    end
    s.n = flights[s.lim] or 0
    at('HSET', s.key, 'n', s.n)
end

-- No hold is longer, unless a clock was far ahead: ms from now by its reason
local function longest(s, kind)
    return math.max(num(s.win, 0), kind == 'limit' and 0 or 3600000) + 60000
end

local function load(lim)
    local s = subs[lim]
    if s then return s end
    local key, strange = L .. lim, foreign
    local v = list('HMGET', key, 'r', 'ls', 'lmt', 'win', 'c')
    s = {lim = lim, key = key, r = v[1], ls = v[2], lmt = v[3], win = v[4],
        held = 0, fails = 0}
    subs[lim] = s
    if v[5] == '1' then
        v = list('HMGET', key, 'h', 'e', 'fails', 'pc', 'x', 'hk')
        s.held, s.e, s.fails = num(v[1], 0), v[2] == '1', num(v[3], 0)
        s.own, s.x = v[4] == '1' and 1 or nil, v[5] == '1'
        s.c = true
        if s.held > now + longest(s, v[6]) then s.held = 0 end
        if s.held <= now and not (s.e or s.fails > 0 or s.own or s.x) then
            s.c = false
            at('HSET', key, 'c', '')
        end
    end
    if not s.r and at('EXISTS', E .. lim) == 1 then -- its record was lost
        s.e, s.c = true, true
        at('HSET', key, 'e', '1', 'c', '1')
    end
    if foreign > strange then recount(s) end
    return s
end

-- Stores what is seldom there.
local function care(s, ...)
    at('HSET', s.key, ...)
    if not s.c then at('HSET', s.key, 'c', '1') end
    s.c = true
end

local function is_full(s)
    if not s.n then s.n = num(at('HGET', s.key, 'n'), 0) end
    return s.n >= (s.own and s.own < cap and s.own or cap)
end

-- Puts it into r or takes it out.
local function seat(s)
    local best, was, ls = nil, s.r, num(s.ls, 0)
    if s.held > now then
        at('ZADD', HOLD, s.held, 'l' .. s.lim)
        look_by(s.held)
    else
        -- served long ago, and still all that in flight?
        if is_full(s) and (ls < now - 60000 or ls > now) then recount(s) end
        if not is_full(s) then
            best = tonumber(list('ZRANGE', W .. s.lim, '0', '0',
                'WITHSCORES')[2])
            if s.e then
                local sc = tonumber(list('ZRANGE', E .. s.lim, '0', '0',
                    'WITHSCORES')[2])
                if sc and not (best and best <= sc) then best = sc end
            end
        end
    end
    if best then
        local class = (best - best % 2^41) / 2^41
        if not (class >= 0 and class < 1024) then class = 1023 end
        if ls > now then ls = now end
        at('ZADD', R, class * 2^42 + ls, s.lim)
        s.r = '1'
        if was ~= '1' then grew = true end
    else
        at('ZREM', R, s.lim)
        s.r = '0'
    end
    if s.r ~= was then at('HSET', s.key, 'r', s.r) end
    if not was then at('PEXPIRE', s.key, 172800000) end -- new
end

-- An ordered group: into e by sc of its head, or out; its subscriber is seated
-- by the caller.
local function seat_group(s, group)
    local id, sc
    if num(at('ZSCORE', HOLD, 'g' .. group), 0) <= now then
        id = list('ZRANGE', W .. group, '0', '0')[1]
        sc = id and (num(at('HGET', J .. id, 'sc')) or 0)
    end
    if not sc then
        at('ZREM', E .. s.lim, group)
        return
    end
    at('ZADD', E .. s.lim, sc, group)
    if not s.e then care(s, 'e', '1') end
    s.e = true
end

-- It is served no more until then; seat it. What ends a hold by the limit ends
-- no other: of two the longer time counts, and the other reason.
local function hold(s, ms, kind)
    if ms > s.held then
        s.held = ms
    elseif kind == 'limit' then
        return
    end
    care(s, 'h', s.held, 'hk', kind)
end

local function unhold(s)
    if s.held > 0 then at('HSET', s.key, 'h', '0', 'hk', '') end
    s.held = 0
    at('ZREM', HOLD, 'l' .. s.lim)
end

-- So many grants in a window of so many ms, as text, from now on.
local function limit(s, lmt, win)
    if s.lmt == lmt and s.win == win then return end
    s.lmt, s.win = lmt, win
    at('HSET', s.key, 'lmt', lmt, 'win', win)
    at('PEXPIRE', RL .. ':' .. s.lim, 2 * win)
    if s.held > now and at('HGET', s.key, 'hk') == 'limit' then unhold(s) end
end

-- ---- jobs: m, g, sc, o, lt, gt, x

local function job(id)
    local j = list('HMGET', J .. id, 'm', 'g', 'sc', 'o', 'lt', 'gt', 'x')
    j[3] = num(j[3])
    if not (j[1] and j[2] and j[3]) then return nil end -- none, or not ours
    return j
end

-- Waits again, or for the first time; gives 1 if it did not yet.
local function wait(id, j, s)
    if j[2] == j[1] then return at('ZADD', W .. j[2], j[3], id) end
    local new = at('ZADD', W .. j[2], num(j[4], 0), id)
    seat_group(s, j[2])
    return new
end

-- Is in flight no more.
local function leave(id, s, group)
    at('ZREM', ACT, id)
    flights = nil
    s.n = at('HINCRBY', s.key, 'n', '-1')
    if s.n < 0 then recount(s) end
    if group ~= s.lim then at('ZREM', HOLD, 'g' .. group) end
end

-- It did not run: it costs no limit.
local function refund(j, s)
    if not j[6] then return end
    if s.lmt ~= '0' then at('LREM', RL .. ':' .. s.lim, '1', j[6]) end
    if s.held > now and at('HGET', s.key, 'hk') == 'limit' then unhold(s) end
    local gl = num(at('HGET', META, 'gl'), 0)
    if gl == 0 or j[7] == '1' then return end
    local gn = num(at('HGET', META, 'gn'), 0)
    if gn > 0 then
        at('HSET', META, 'gn', gn - 1)
    elseif at('LREM', RL, '1', j[6]) == 1 then -- the last of those it stands for
        at('HSET', META, 'gn', math.ceil(gl / 1000) - 1)
    end
end

-- Waits again, after a delay.
local function again(id, j, s, delay)
    at('HDEL', J .. id, 'lt', 'gt')
    if delay > 0 and j[2] == j[1] then
        at('ZADD', DLY, now + delay, id)
    else
        if delay > 0 then at('ZADD', HOLD, now + delay, 'g' .. j[2]) end
        wait(id, j, s)
    end
    if delay > 0 then look_by(now + delay) end
end
