-- defining: the definitions of tasks that programs have published. A field is named after
-- its task and holds: when a publisher last repeated it (ms), '|', the publisher's number,
-- '|', the definition (JSON), a line feed, the program's version. The field '|' holds the
-- largest number of a publisher, '|' and what is another after each change.
local function definition_of(field)
  local seen, by, text, version = string.match(field or '', '^(%d+)|(%d+)|([^\n]*)\n(.*)$')
  if not seen or #seen > 15 or #by > 15 then return nil end -- not ours
  return tonumber(seen), tonumber(by), text, version
end

local function publishers()
  local largest, change = string.match(redis.call('HGET', key('definitions'), '|') or '', '^(%d+)|(.*)$')
  if not largest or #largest > 15 then return 0, '' end -- there is none, or it is not ours
  return tonumber(largest), change
end
