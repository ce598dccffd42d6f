-- queue_audit  ARGV: T, lowest cap, highest cap, len (not looked at) or ''
-- walks all of a queue; gives '' or what is wrong
local T, low, high = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local J, W, E, L = T .. ':j:', T .. ':w:', T .. ':e:', T .. ':l:'
local ACT, DLY, HOLD, R = T .. ':act', T .. ':dly', T .. ':hold', T .. ':r'

local function keys(prefix)
    local out = {}
    for _, key in ipairs(redis.call('KEYS', prefix .. '*')) do
        out[#out + 1] = key:sub(#prefix + 1)
    end
    table.sort(out)
    return out
end
local function hash(key)
    local flat, out = redis.call('HGETALL', key), {}
    for i = 1, #flat, 2 do out[flat[i]] = flat[i + 1] end
    return out
end
local function score(key, member)
    return tonumber(redis.call('ZSCORE', key, member) or nil)
end
-- true: held, false: not, nil: until now, and not looked at yet
local function held(name)
    local till = score(HOLD, name)
    if not till then return false end
    if till > now then return true end
    return nil
end

local jobs, flying, in_group, n_jobs = {}, {}, {}, 0
for _, id in ipairs(keys(J)) do
    local j = hash(J .. id)
    if not j.m or not j.g or not j.sc then return id .. ': half a job' end
    local places = (score(ACT, id) and 1 or 0) + (score(DLY, id) and 1 or 0) +
        (score(W .. j.g, id) and 1 or 0)
    if places ~= 1 then return id .. ': has ' .. places .. ' places' end
    if (score(ACT, id) and true or false) ~= (j.lt and true or false) then
        return id .. ': token and flight'
    end
    if j.lt then
        flying[j.m] = (flying[j.m] or 0) + 1
        in_group[j.g] = (in_group[j.g] or 0) + 1
        if j.g ~= j.m and in_group[j.g] > 1 then
            return j.g .. ': two in flight'
        end
        if j.g ~= j.m and held('g' .. j.g) == false then
            return j.g .. ': in flight, not held'
        end
    end
    jobs[id], n_jobs = j, n_jobs + 1
end
local len = tonumber(redis.call('HGET', T .. ':meta', 'len') or '0')
if len ~= n_jobs and ARGV[4] ~= 'len' then return 'len ' .. len .. ', jobs ' .. n_jobs end
for _, set in ipairs({ACT, DLY}) do
    for _, id in ipairs(redis.call('ZRANGE', set, 0, -1)) do
        if not jobs[id] then return id .. ': in ' .. set .. ', no job' end
    end
end

-- groups
local waiting = {}
for _, g in ipairs(keys(W)) do
    for _, id in ipairs(redis.call('ZRANGE', W .. g, 0, -1)) do
        if not jobs[id] or jobs[id].g ~= g then
            return id .. ': waits in ' .. g .. ', no job of it'
        end
    end
    local head = jobs[redis.call('ZRANGE', W .. g, 0, 0)[1]]
    local lim = head.m
    waiting[lim] = waiting[lim] or {}
    if g == lim then
        waiting[lim].sc = tonumber(head.sc)
    else
        local sc, is_held = score(E .. lim, g), held('g' .. g)
        if is_held and sc then return g .. ': held, in e' end
        if is_held == false and not sc then return g .. ': not in e' end
        if sc and sc ~= tonumber(head.sc) then
            return g .. ': in e by another score than its head'
        end
        if sc and not (waiting[lim].ord and waiting[lim].ord < sc) then
            waiting[lim].ord = sc
        end
    end
end
for _, lim in ipairs(keys(E)) do
    for _, g in ipairs(redis.call('ZRANGE', E .. lim, 0, -1)) do
        if redis.call('EXISTS', W .. g) == 0 then
            return g .. ': in e, empty'
        end
    end
end

-- subscribers
for _, lim in ipairs(redis.call('ZRANGE', R, 0, -1)) do
    if not waiting[lim] then return lim .. ': in r, empty' end
end
for lim in pairs(waiting) do
    if redis.call('EXISTS', L .. lim) == 0 then return lim .. ': unknown' end
end
for _, lim in ipairs(keys(L)) do
    local l, s = hash(L .. lim), score(R, lim)
    local n, h, is_held = tonumber(l.n or '0'), tonumber(l.h or '0'),
        held('l' .. lim)
    if n ~= (flying[lim] or 0) then
        return lim .. ': n ' .. n .. ', in flight ' .. (flying[lim] or 0)
    end
    if h > now and score(HOLD, 'l' .. lim) ~= h then
        return lim .. ': held, not in hold'
    end
    if (l.r == '1') ~= (s and true or false) then return lim .. ': r' end
    local own = tonumber(l.pc or '') or high
    local best = waiting[lim] and waiting[lim].sc
    local ord = waiting[lim] and waiting[lim].ord
    if ord and not (best and best < ord) then best = ord end
    if s then
        if not best then return lim .. ': in r, nothing to run' end
        if n >= math.min(high, own) then return lim .. ': in r, at its cap' end
        if h > now then return lim .. ': in r, held' end
        local class = math.floor(best / 2^41)
        if s ~= class * 2^42 + tonumber(l.ls or '0') then
            return lim .. ': in r by another score'
        end
    elseif best and n < math.min(low, own) and is_held == false and
        h <= now then
        return lim .. ': not in r'
    end
end

local due = tonumber(redis.call('HGET', T .. ':meta', 'due') or '0')
for _, set in ipairs({ACT, DLY, HOLD}) do
    local head = tonumber(redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')[2])
    if head and head < due then return 'due is later than a head of ' .. set end
end
return ''
