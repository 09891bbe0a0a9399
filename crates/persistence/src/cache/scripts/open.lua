-- Looks an entry up; where there is none, notes the generations of its marks and takes the lock.
-- KEYS: entry, lock
-- ARGV: prefix of generations, marks of the entry by line, token of the lock (empty: no lock),
--       lease in ms, life of a generation in ms, name for a new generation
local function generations(marks)
  local list = {}
  for mark in string.gmatch(marks, '[^\n]+') do
    list[#list + 1] = redis.call('GET', ARGV[1] .. mark) or ''
  end
  return table.concat(list, '\n')
end

local entry = redis.call('HMGET', KEYS[1], 'value', 'packed', 'marks', 'generations')
-- A generation that is gone, by an eviction for example, equals none: the entry is not believed.
if entry[1] and generations(entry[3]) == entry[4] then
  return {'hit', entry[1], entry[2], redis.call('PTTL', KEYS[1])}
end

if ARGV[3] ~= '' and not redis.call('SET', KEYS[2], ARGV[3], 'NX', 'PX', ARGV[4]) then
  return {'busy'}
end
for mark in string.gmatch(ARGV[2], '[^\n]+') do
  local key = ARGV[1] .. mark
  redis.call('SET', key, ARGV[6], 'NX')
  redis.call('PEXPIRE', key, ARGV[5])
end
return {'miss', generations(ARGV[2])}
