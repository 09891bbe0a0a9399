-- Stores an entry, unless it was invalidated or somebody else took over since `open`.
-- KEYS: entry, lock
-- ARGV: prefix of generations, marks by line, generations by line, token (empty: no lock),
--       value, whether it is packed, life in ms, channel, message for those who wait
local function generations(marks)
  local list = {}
  for mark in string.gmatch(marks, '[^\n]+') do
    list[#list + 1] = redis.call('GET', ARGV[1] .. mark) or ''
  end
  return table.concat(list, '\n')
end

local held = ARGV[4] == '' or redis.call('GET', KEYS[2]) == ARGV[4]
local stored = 0
if held and generations(ARGV[2]) == ARGV[3] then
  redis.call('HSET', KEYS[1], 'value', ARGV[5], 'packed', ARGV[6], 'marks', ARGV[2], 'generations', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
  stored = 1
end
if ARGV[4] ~= '' then
  if held then redis.call('DEL', KEYS[2]) end
  redis.call('PUBLISH', ARGV[8], ARGV[9])
end
return stored
