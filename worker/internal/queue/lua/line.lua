-- line: the queue of a line (see places.lua).
local function queue_of(line)
  local mark = string.byte(line, -1) -- most often there is none
  return (mark == 94 or mark == 126) and string.sub(line, 1, -2) or line
end
