-- Gives a lock back and tells those who wait.
-- KEYS: lock; ARGV: token, channel, message
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return 1
