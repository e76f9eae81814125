-- join: gives a new incarnation an id and a lease.
-- KEYS 1 layout  2 epoch  3 tasks  4 members  5 leases  6 numbers
-- ARGV 1 worker prefix  2 exact id, or ''  3 number to prefer, or 0  4 nonce
--      5 lease in ms  6 the process, for the member record (JSON)  7 '1' if the same
--      request may have run before  8 oldest layout that the program takes over
--      9 layout that it writes
-- Returns {'OK', id, epoch} | {'TAKEN'} | {'WRONGTYPE', key, type} |
--   {'LAYOUT', found, id of a live older node …}
local layout, epoch, _, members, leases, numbers = unpack(KEYS)
local prefix, exact, prefer, nonce = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

for key, kind in pairs({[members] = 'hash', [leases] = 'zset', [numbers] = 'string', [epoch] = 'string'}) do
  local fit, found = fits(key, kind)
  if not fit then return {'WRONGTYPE', key, found} end
end

if ARGV[7] == '1' then
  for _, incarnation in ipairs(redis.call('ZRANGE', leases, 0, -1)) do
    local id, e, n = string.match(incarnation, '^(.*)#(%d+):(%x+)$')
    if n == nonce then return {'OK', id, e} end
  end
end

local last_epoch = redis.call('GET', epoch)
if last_epoch and (not string.find(last_epoch, '^%d+$') or #last_epoch > 15) then return {'WRONGTYPE', epoch, 'string'} end
local refusal = admit(KEYS, tonumber(ARGV[8]), tonumber(ARGV[9]), true)
if refusal then return refusal end

writable(members)
local id, number = exact, prefer
if id ~= '' then
  if redis.call('HEXISTS', members, id) == 1 then return {'TAKEN'} end
else
  if number == 0 or redis.call('GETBIT', numbers, number - 1) == 1 then
    number = redis.call('BITPOS', numbers, 0) + 1
  end
  id = prefix .. '-' .. int(number)
  while redis.call('HEXISTS', members, id) == 1 do
    redis.call('SETBIT', numbers, number - 1, 1)
    number = redis.call('BITPOS', numbers, 0) + 1
    id = prefix .. '-' .. int(number)
  end
end
if number > 0 then redis.call('SETBIT', numbers, number - 1, 1) end

if redis.call('GET', layout) ~= ARGV[9] then redis.call('SET', layout, ARGV[9]) end
local at = now()
local e = int(tonumber(last_epoch or 0) + 1)
redis.call('SET', epoch, e)
local incarnation = id .. '#' .. e .. ':' .. nonce
redis.call('ZADD', leases, int(at + tonumber(ARGV[5])), incarnation)
redis.call('HSET', members, id, incarnation .. '\n' .. int(at) .. '\njoining\n' .. ARGV[6])
return {'OK', id, e}
