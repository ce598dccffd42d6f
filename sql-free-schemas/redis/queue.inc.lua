-- queue.inc.lua - what the scripts of the queue share: each is this text, by
-- embed.sh, and its own lines.  KEYS: dataset, meta   ARGV: id, T, ..
--
--   enqueue -> w -- claim --> act -- done --> nowhere
--              ^ \-- delay -> dly <- retry --/
-- A job is in one of w, dly, act. A subscriber that has something to run, is
-- below its cap and not held is in r; so is a group in e, for its own. Whoever
-- changes one of these seats the subscriber (and the group) afterwards.
local time = redis.call('TIME')
local now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 'DATASET' end
local T, NEVER = ARGV[2], 2^52
local W, J, ACT, DLY = T .. ':w:', T .. ':j:', T .. ':act', T .. ':dly'
local R, E, HOLD, RL = T .. ':r', T .. ':e:', T .. ':hold', T .. ':rl'
local pcall, tonumber, type = redis.pcall, tonumber, type
local foreign = 0 -- keys and members that made no sense

-- A command on a key under T. What another type holds there is a stranger's.
local function at(command, key, ...)
    local got = pcall(command, key, ...)
    if type(got) ~= 'table' or not got.err then return got end
    if not got.err:find('WRONGTYPE', 1, true) then error(got) end
    redis.call('UNLINK', key)
    foreign = foreign + 1
    return redis.call(command, key, ...)
end

local function num(text, none)
    local n = tonumber(text)
    if n and n >= 0 and n < 2^53 then return n end
    return none
end

local meta = at('HMGET', KEYS[2], 'cap', 'due', 'len', 'paused', 'max',
    'spill', 'gl', 'gw', 'gn', 'lease')
local cap, due, len = num(meta[1], 1), num(meta[2], 0), num(meta[3], 0)
local due_was, len_was, gn = due, len, num(meta[9], 0)
local lease = num(meta[10], 3600000)
local grew, soon = false, false -- r has more; a timer has come nearer

-- The last line of a script but its reply.
local function save(reply)
    if len < 0 then len = 0 end
    if len ~= len_was or due ~= due_was then
        at('HSET', KEYS[2], 'len', len, 'due', due)
    end
    if foreign > 0 then
        local n = num(at('HGET', KEYS[2], 'foreign'), 0)
        at('HSET', KEYS[2], 'foreign', n + foreign)
    end
    return reply
end

local function mark()
    at('ZADD', T .. ':mk', 0, 'w')
end

-- Something has to be looked at then; sooner than others expect it.
local function look_by(ms)
    if ms < due then due, soon = ms, true end
end

-- ---- subscribers

local subs = {}
local function load(lim)
    local s = subs[lim]
    if s then return s end
    local key = T .. ':l:' .. lim
    local v = at('HMGET', key, 'n', 'ls', 'r', 'b', 'h', 'lmt', 'win', 'e',
        'fails', 'pc', 'x')
    s = {lim = lim, key = key, n = num(v[1], 0), ls = num(v[2], 0), r = v[3],
        born = num(v[4]), held = num(v[5], 0), lmt = num(v[6], 0),
        win = num(v[7], 0), e = v[8], fails = num(v[9], 0), own = num(v[10]),
        x = v[11]}
    if s.ls > now then s.ls = now end
    -- new, or lost, or its n counts jobs that were lost: all leases are over.
    -- What was granted before is not in n any more.
    if not s.born or (s.n > 0 and s.ls + lease < now) then
        if not s.born then s.e = '1' end
        s.born, s.n = now, 0
        at('HSET', key, 'b', now, 'n', 0, 'e', s.e or '')
        at('PEXPIRE', key, 172800000)
    end
    subs[lim] = s
    return s
end

local function is_full(s)
    return s.n >= (s.own and s.own < cap and s.own or cap)
end

-- Puts it into r or takes it out, and stores n, ls.
local function seat(s)
    local best, was = nil, s.r
    if s.held > now then
        at('ZADD', HOLD, s.held, 'l' .. s.lim)
        look_by(s.held)
    elseif not is_full(s) then
        best = tonumber(at('ZRANGE', W .. s.lim, 0, 0, 'WITHSCORES')[2])
        if s.e == '1' then
            local sc = tonumber(at('ZRANGE', E .. s.lim, 0, 0,
                'WITHSCORES')[2])
            if sc and not (best and best <= sc) then best = sc end
        end
    end
    if best then
        local class = (best - best % 2^41) / 2^41
        if not (class >= 0 and class < 1024) then class = 1023 end
        at('ZADD', R, class * 2^42 + s.ls, s.lim)
        s.r = '1'
        if was ~= '1' then grew = true end
    else
        at('ZREM', R, s.lim)
        s.r = '0'
    end
    at('HSET', s.key, 'n', s.n, 'ls', s.ls, 'r', s.r)
end

-- An ordered group: into e by sc of its head, or out; its subscriber is seated
-- by the caller.
local function seat_group(s, group)
    local id, sc
    if num(at('ZSCORE', HOLD, 'g' .. group), 0) <= now then
        id = at('ZRANGE', W .. group, 0, 0)[1]
        sc = id and (tonumber(at('HGET', J .. id, 'sc')) or 0)
    end
    if not sc then
        at('ZREM', E .. s.lim, group)
        return
    end
    at('ZADD', E .. s.lim, sc, group)
    if s.e ~= '1' then
        s.e = '1'
        at('HSET', s.key, 'e', '1')
    end
end

-- It is served no more until then; seat it.
local function hold(s, ms, kind)
    if ms <= s.held then return end
    s.held = ms
    at('HSET', s.key, 'h', ms, 'hk', kind)
end

local function unhold(s)
    if s.held > 0 then at('HSET', s.key, 'h', 0, 'hk', '') end
    s.held = 0
    at('ZREM', HOLD, 'l' .. s.lim)
end

-- So many grants in a window of so many ms, from now on.
local function limit(s, lmt, win)
    if s.lmt == lmt and s.win == win then return end
    s.lmt, s.win = lmt, win
    at('HSET', s.key, 'lmt', lmt, 'win', win)
    at('PEXPIRE', RL .. ':' .. s.lim, 2 * win)
    if at('HGET', s.key, 'hk') == 'limit' then unhold(s) end
end

-- ---- jobs: j = m, g, sc, o, lt, gt, x

local function job(id)
    local j = at('HMGET', J .. id, 'm', 'g', 'sc', 'o', 'lt', 'gt', 'x')
    if not (j[1] and j[2] and num(j[3])) then
        return nil -- none, or not ours
    end
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
local function leave(id, j, s)
    at('ZREM', ACT, id)
    if s.n > 0 and num(j[6], 0) >= s.born then s.n = s.n - 1 end
    if j[2] ~= j[1] then at('ZREM', HOLD, 'g' .. j[2]) end
end

-- It did not run: it costs no limit.
local function refund(j, s)
    local gt = j[6]
    if not gt then return end
    if s.lmt > 0 then at('LREM', RL .. ':' .. s.lim, 1, gt) end
    local gl = num(meta[7], 0)
    if gl == 0 or j[7] == '1' then return end
    local every = math.ceil(gl / 1000)
    if at('LREM', RL, 1, gt) == 1 then
        gn = every - 1
    elseif gn > 0 then
        gn = gn - 1
    end
    at('HSET', KEYS[2], 'gn', gn)
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
