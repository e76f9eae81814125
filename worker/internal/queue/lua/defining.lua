-- defining: the definitions of tasks that programs have published. A field is named after
-- its task and holds: when a publisher last repeated it (ms), '|', the publisher's number,
-- '|', the definition (JSON), a line feed, the program's version. The field '|' holds the
-- largest number of a publisher, '|' and what is another after each change.
local function definition_of(field)
  local seen, by, text, version = string.match(field or '', '^(%d+)|(%d+)|([^\n]*)\n(.*)$')
  return tonumber(seen), tonumber(by), text, version
end

local function publishers()
  local largest, change = string.match(redis.call('HGET', key('definitions'), '|') or '', '^(%d+)|(.*)$')
  return tonumber(largest or 0), change or ''
end
