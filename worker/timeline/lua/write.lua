-- write: appends events to the timeline, and drops what is too old or too much. An event that
-- happened before its request reached Redis has its own time beside the entry's id. A deploy is
-- written only if the program's last version was another one.
-- KEYS 1 events  2 versions
-- ARGV 1 the writer  2 '1' if the same request may have run before  3 most events  4 oldest in ms
--      5.. for each event: its number, how many ms ago it happened, 'program\nversion' of a
--      deploy or '', and the event (JSON)
-- Returns how many were written | {'WRONGTYPE', key, type}
local events, versions, writer = KEYS[1], KEYS[2], ARGV[1]
for key, kind in pairs({[events] = 'stream', [versions] = 'hash'}) do
  local fit, found = fits(key, kind)
  if not fit then return {'WRONGTYPE', key, found} end
end

local at, written, count = now(), {}, 0
if ARGV[2] == '1' then
  local longest = 0
  for i = 6, #ARGV, 4 do longest = math.max(longest, tonumber(ARGV[i])) end
  -- What was written of this request is younger than its first event; a second is for the clocks.
  local from = int(math.max(at - longest - 1000, 1))
  for _, entry in ipairs(redis.call('XRANGE', events, from, '+', 'COUNT', ARGV[3])) do
    local fields = entry[2]
    for i = 1, #fields, 2 do
      if fields[i] == 'w' then written[fields[i + 1]] = true end
    end
  end
end

for i = 5, #ARGV, 4 do
  local mark, fresh = writer .. ':' .. ARGV[i], true
  local entry = {'at', int(at - tonumber(ARGV[i + 1])), 'w', mark, 'e', ARGV[i + 3]}
  local program, version = string.match(ARGV[i + 2], '^([^\n]+)\n(.*)$')
  if written[mark] then
    fresh = false
  elseif program then
    local was = redis.call('HGET', versions, program)
    fresh = was and was ~= version
    if was ~= version and (was or redis.call('HLEN', versions) < 1000) then
      redis.call('HSET', versions, program, version)
    end
    entry[7], entry[8] = 'was', was or ''
  end
  if fresh then
    redis.call('XADD', events, 'MAXLEN', ARGV[3], '*', unpack(entry))
    count = count + 1
  end
end
if count > 0 then redis.call('XTRIM', events, 'MINID', int(math.max(at - tonumber(ARGV[4]), 0))) end
return count
