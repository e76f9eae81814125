-- speed: how fast queues are.

-- Notes the speed of the queue ARGV[a]; after it come its runs, how many of these were
-- first ones, µs that these waited, and µs that all ran. Noted are the minute, these
-- sums, and the same of the minute before.
local function speed(a, at)
  local minute, field = math.floor(at / 60000), ARGV[a] .. '|speed'
  local n = {}
  for word in string.gmatch(redis.call('HGET', key('stats'), field) or '', '%d+') do n[#n + 1] = tonumber(word) end
  if #n == 9 and n[1] == minute - 1 then
    n = {minute, 0, 0, 0, 0, n[2], n[3], n[4], n[5]}
  elseif #n ~= 9 or n[1] ~= minute then
    n = {minute, 0, 0, 0, 0, 0, 0, 0, 0}
  end
  for i = 1, 4 do n[i + 1] = int(n[i + 1] + tonumber(ARGV[a + i])) end
  redis.call('HSET', key('stats'), field, table.concat(n, ' '))
end
