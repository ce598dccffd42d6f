#!lua
-- dataset_open  KEYS: dataset, fence, max, ahead
-- ARGV: seen, id, fence, max
-- opens data set `id` while the one there is the one seen ('': none, '?':
-- nonsense); its fences are above `fence` and above those given here before,
-- and from there on as fast as time in us; no fence is as large as 2^52
-- gives 1, also when it is open already, or 0
local t = redis.call('TIME')
local us = t[1] * 1000000 + t[2]
local own = redis.call('MGET', KEYS[1], KEYS[2])
local held = own[1] or ''
if #held > 16 or held:find('%W') then held = '?' end
if held == ARGV[2] then return 1 end
if held ~= ARGV[1] then return 0 end
local last = tonumber(own[2] or '')
if not last or not (last > tonumber(ARGV[3]) and last <= tonumber(ARGV[4])) then
    last = tonumber(ARGV[3])
    redis.call('SET', KEYS[2], ARGV[3])
end
redis.call('SET', KEYS[4], math.max(0, last - us))
redis.call('SET', KEYS[3], ARGV[4])
redis.call('SET', KEYS[1], ARGV[2])
return 1
