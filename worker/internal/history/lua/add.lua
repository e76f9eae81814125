-- add: adds what a process has summed up to the history. Each sum goes into two hashes: that of the
-- hour with a field for each minute, and that of the hour with one for each quarter, so that
-- nothing has to be condensed later: the hashes expire. Beyond the most bytes the oldest are deleted.
-- KEYS 1 history, the bytes of each hash (sorted set)  2 names, when each was last added (sorted set)
-- ARGV 1 the writer  2 number of its request  3 '1' if the request may have run before  4 most names
--      5 most bytes  6 for how many hours minutes are kept  7 the same of quarters
--      8.. for each sum: its minute since 1970, 'queue|name', and its counts: 'word=number …'
-- Returns {'OK', ms on Redis's clock} | {'WRONGTYPE', key, type}
local history, names = KEYS[1], KEYS[2]
local most_names, most_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local at, sent = now(), history .. ':sent:' .. ARGV[1]
local this_minute = math.floor(at / 60000)
local this_hour = math.floor(this_minute / 60)
local kinds = {{'m', 1, tonumber(ARGV[6])}, {'q', 15, tonumber(ARGV[7])}}

-- The minute of a sum, by a clock that may have been wrong.
local function minute_of(i)
  return math.max(math.min(tonumber(ARGV[i]), this_minute), this_minute - 60)
end

local wanted = {[history] = 'zset', [names] = 'zset', [sent] = 'string'}
for i = 8, #ARGV, 3 do
  for _, kind in ipairs(kinds) do
    wanted[history .. ':' .. kind[1] .. int(math.floor(minute_of(i) / 60))] = 'hash'
  end
end
for key, kind in pairs(wanted) do
  local fit, found = fits(key, kind)
  if not fit then return {'WRONGTYPE', key, found} end
end
if ARGV[3] == '1' and redis.call('GET', sent) == ARGV[2] then return {'OK', int(at)} end

-- A name beyond the most is counted as another one. A name that no hash has any more makes room.
local function known(name)
  if name == '_other|_other' then return name end
  if redis.call('ZADD', names, 'XX', int(this_minute), name) == 0 and redis.call('ZSCORE', names, name) then return name end
  if redis.call('ZCARD', names) >= most_names then
    redis.call('ZREMRANGEBYSCORE', names, '-inf', int(this_minute - 60 * tonumber(ARGV[7]) - 60))
  end
  if redis.call('ZCARD', names) >= most_names then return '_other|_other' end
  redis.call('ZADD', names, int(this_minute), name)
  return name
end

-- The sum of two lines of counts.
local function plus(a, b)
  local counts, order = {}, {}
  for _, line in ipairs({a, b}) do
    for word, n in string.gmatch(line, '(%w+)=(%d+)') do
      if not counts[word] then order[#order + 1] = word end
      counts[word] = (counts[word] or 0) + tonumber(n)
    end
  end
  for i, word in ipairs(order) do order[i] = word .. '=' .. int(math.min(counts[word], 9007199254740992)) end
  return table.concat(order, ' ')
end

local grown = {}
for i = 8, #ARGV, 3 do
  local minute, name = minute_of(i), known(ARGV[i + 1])
  local hour = math.floor(minute / 60)
  for _, kind in ipairs(kinds) do
    local hash = kind[1] .. int(hour)
    local key, field = history .. ':' .. hash, int(math.floor(minute % 60 / kind[2])) .. '|' .. name
    local was = redis.call('HGET', key, field)
    local line = was and plus(was, ARGV[i + 2]) or ARGV[i + 2]
    redis.call('HSET', key, field, line)
    redis.call('PEXPIREAT', key, int((hour + 1 + kind[3]) * 3600000))
    grown[hash] = (grown[hash] or 0) + #line - (was and #was or -#field - 64)
  end
end
for hash, bytes in pairs(grown) do redis.call('ZINCRBY', history, bytes, hash) end

local hashes, sum = {}, 0
local all = redis.call('ZRANGE', history, 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
  local hour = tonumber(string.match(all[i], '^[mq](%d+)$') or '')
  local kept = string.sub(all[i], 1, 1) == 'm' and kinds[1][3] or kinds[2][3]
  if not hour or hour + kept < this_hour then
    redis.call('ZREM', history, all[i])
  else
    sum = sum + tonumber(all[i + 1])
    hashes[#hashes + 1] = {all[i], hour, tonumber(all[i + 1])}
  end
end
table.sort(hashes, function(a, b)
  if a[2] ~= b[2] then return a[2] < b[2] end
  return a[1] < b[1]
end)
for _, oldest in ipairs(hashes) do
  if sum <= most_bytes or oldest[2] == this_hour then break end
  redis.call('DEL', history .. ':' .. oldest[1])
  redis.call('ZREM', history, oldest[1])
  sum = sum - oldest[3]
end
redis.call('PEXPIREAT', history, int((this_hour + 1 + tonumber(ARGV[7])) * 3600000))
redis.call('PEXPIREAT', names, int((this_hour + 2 + tonumber(ARGV[7])) * 3600000))
redis.call('SET', sent, ARGV[2], 'PX', 7200000)
return {'OK', int(at)}
