#!lua
-- rate_take  KEYS: counts   ARGV: window ms, limit, ask | take | add
-- take counts one if it fits into the limit, add in any case, ask never
-- gives fits (1 or 0), count of the window before, of this one, ms into it
-- repeated after a lost reply it counts at most one more
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local window, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local index = math.floor(now / window)
local into = now - index * window

-- window number; counts of the one before and of that one
local held = redis.call('HMGET', KEYS[1], 'w', 'b', 'n')
local age = index - (tonumber(held[1]) or 0)
local before, count = 0, 0
if age == 0 then
    before, count = tonumber(held[2]), tonumber(held[3])
elseif age == 1 then
    before = tonumber(held[3])
end

local fits = before * (window - into) + (count + 1) * window <= limit * window
if ARGV[3] == 'add' or (ARGV[3] == 'take' and fits) then
    count = count + 1
    redis.call('HSET', KEYS[1], 'w', index, 'b', before, 'n', count)
    redis.call('PEXPIRE', KEYS[1], 2 * window)
end
return {fits and 1 or 0, before, count, into}
