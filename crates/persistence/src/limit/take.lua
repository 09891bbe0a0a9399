-- Takes one request from a quota: the generic cell rate algorithm.
-- KEYS: theoretical arrival time of the next request, in microseconds
-- ARGV: time that one request costs and time that a burst may run ahead, both in microseconds
-- Returns: 1 when taken, requests left, microseconds until the next can be taken and until all can
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local cost, ahead = tonumber(ARGV[1]), tonumber(ARGV[2])

local arrival = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
-- No request is let so far ahead: the clock was set back, and what was counted is of another time.
if arrival - now > ahead then arrival = now end
local after = arrival + cost
if after - now > ahead then
  return {0, 0, after - now - ahead, arrival - now}
end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
return {1, math.floor((ahead - (after - now)) / cost), 0, after - now}
