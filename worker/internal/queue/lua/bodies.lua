-- bodies: payloads that are large. The body of a task is a payload that has a key of its own
-- and never comes through a script: 'body:' and a name that was drawn for it. The payload in
-- the record is then '@name|bytes', and the hash bodies has 'name|bytes' of the task's id.
--
-- A body without an expiry is that of a stored task. Whoever enqueues sets it with an expiry,
-- in the transaction that runs the script, unless it is there: the script that stores the task
-- takes the expiry away, and one that refuses the task removes the body. What a late copy sets,
-- or one that found no script, expires.

-- The key of a body and its bytes.
local function body_of(body)
  local name, bytes = string.match(body, '^(%w+)|(%d+)$')
  return key('body:' .. name), tonumber(bytes)
end
