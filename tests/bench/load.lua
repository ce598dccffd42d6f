-- What wrk sends, chosen by the words after "--":
--   (none)              the target as given
--   path TEMPLATE N..   GET of TEMPLATE with a random number below N in its %d
--                       or %x; one of several, by chance, when there are more
--   post TARGET         a new document each
--   locks TARGET        a new lock; as soon as one is held, its release
-- and the result as one line of JSON.

local function get_random(args)
    local kinds = (#args - 1) / 2
    return function()
        local at = 2 * math.random(1, kinds)
        local n = math.random(0, tonumber(args[at + 1]) - 1)
        return wrk.format("GET", args[at]:format(n))
    end
end

local document = '{"name":"Ann Lee %d","email":"user%d@example.com","age":%d,'
    .. '"group":%d,"score":41.5,"active":true,'
    .. '"address":{"city":"Seattle","zip":"98101"},"tags":["office","north"]}'

local function post(target)
    local headers = { ["Content-Type"] = "application/json" }
    return function()
        local i = math.random(0, 2147483647)
        local body = document:format(i, i, i % 80, i % 1000)
        return wrk.format("POST", target, headers, body)
    end
end

-- With one thread all connections share what is held; odd when it ends.
local function locks(target)
    local headers = { ["Content-Type"] = "application/json" }
    local held, made, run = {}, 0, math.random(0, 2147483647)
    function response(status, _, body)
        if status == 201 then
            local key, token = body:match('"key":"([^"]*)","token":"([^"]*)"')
            held[#held + 1] = { key, token }
        end
    end
    return function()
        local lock = table.remove(held)
        if lock then
            local body = '{"token":"' .. lock[2] .. '"}'
            return wrk.format("DELETE", target .. "/" .. lock[1], headers, body)
        end
        made = made + 1
        local body = ('{"key":"bench-%d-%d","ttlMs":10000}'):format(run, made)
        return wrk.format("POST", target, headers, body)
    end
end

function init(args)
    math.randomseed(os.time())
    if args[1] == "path" then
        request = get_random(args)
    elseif args[1] == "post" then
        request = post(args[2])
    elseif args[1] == "locks" then
        request = locks(args[2])
    end
end

function done(summary, latency)
    local e = summary.errors
    local errors = e.connect + e.read + e.write + e.timeout + e.status
    io.write(string.format(
        '{"ops":%d,"seconds":%.6f,"errors":%d,"p99_ms":%.3f}\n',
        summary.requests, summary.duration / 1e6, errors,
        latency:percentile(99) / 1000))
end
