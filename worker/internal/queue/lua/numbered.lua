-- numbered: what came of a producer's batch that was sent before, and what Redis has to
-- remember of this one. See enqueue.lua for the arguments.
local batch, open, behind, remembered = tonumber(ARGV[2]), ' ' .. ARGV[3] .. ' ', ARGV[4], ARGV[2] .. '|' .. ARGV[2] .. ':'
if not follows then
  -- The largest number that came, then of those up to it that the producer waits for:
  -- number, ':', '-' when it has not come, or else position, code, …, ';'.
  local largest, list = string.match(before or '0|', '^(%d+)|(.*)$')
  largest, list = tonumber(largest or 0), list or ''
  local expected, kept = batch > largest, {}
  for number, what in string.gmatch(list, '(%d+):([^;]*);') do
    if number == ARGV[2] then
      expected = what == '-'
      if not expected then
        local reply = {'OK'}
        for position, code in string.gmatch(what, '(%d+) (%S+)') do
          reply[#reply + 1], reply[#reply + 2] = tonumber(position), code
        end
        return reply
      end
    elseif tonumber(number) > batch or string.find(open, ' ' .. number .. ' ', 1, true) then
      kept[#kept + 1] = number .. ':' .. what .. ';'
    end
    if number == behind and what ~= '-' then behind = '' end
  end
  if not expected then return {'OK'} end -- nobody waits for it
  if behind ~= '' then return {'EARLY'} end
  for number in string.gmatch(open, '%d+') do
    if tonumber(number) > largest then kept[#kept + 1] = number .. ':-;' end
  end
  remembered = int(math.max(largest, batch)) .. '|' .. table.concat(kept) .. ARGV[2] .. ':'
end
