-- line: the queue of a line, and the group (see places.lua).
local function queue_of(line)
  local slash = string.find(line, '/', 1, true) -- most often there is none
  if slash then return string.sub(line, 1, slash - 1) end
  local mark = string.byte(line, -1) -- nor is there one of these
  return (mark == 94 or mark == 126) and string.sub(line, 1, -2) or line
end
