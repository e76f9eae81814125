-- leave: frees the id of an incarnation that has been handed over, or that is condemned
-- and has been handed over except for tasks whose handlers still run.
-- KEYS 1 members  2 leases  3 numbers
-- ARGV 1 id  2 incarnation  3 its number, or 0  4 '1' to free the id only: the
--      incarnation stays condemned, because its hand-over is not complete
-- Returns 1, or 0 when it had left before
local members, leases, numbers = KEYS[1], KEYS[2], KEYS[3]
local gone = 0
if ARGV[4] == '1' then
  local score = tonumber(redis.call('ZSCORE', leases, ARGV[2]) or '')
  if not score or score > 0 then return 0 end -- only a condemned incarnation gives up its id early
  gone = 1
else
  gone = redis.call('ZREM', leases, ARGV[2])
end
local record = redis.call('HGET', members, ARGV[1])
if record and string.match(record, '^[^\n]*') == ARGV[2] then
  redis.call('HDEL', members, ARGV[1])
  if tonumber(ARGV[3]) > 0 then
    redis.call('SETBIT', numbers, tonumber(ARGV[3]) - 1, 0)
    if redis.call('BITPOS', numbers, 1) == -1 then redis.call('DEL', numbers) end
  end
end
return gone
