-- admit: whether a program may work with the data of the namespace. Data without
-- a layout key has layout 1: the oldest programs wrote none. A namespace without data
-- admits every program.
-- The program takes over data from layout least on, and writes layout most. raises is
-- true for a node, which raises an older layout to most.
-- Returns nil, or a refusal: {'LAYOUT', found, id of a live older node …} |
-- {'WRONGTYPE', key, type}
local function admit(keys, least, most, raises)
  local layout, epoch, tasks, members, leases = unpack(keys)
  local fit, kind = fits(layout, 'string')
  if not fit then return {'WRONGTYPE', layout, kind} end
  local text = redis.call('GET', layout)
  if not text and redis.call('EXISTS', epoch, tasks) == 0 then return nil end
  local digits = string.match(text or '1', '^%d%d?%d?%d?$')
  local found = digits and tonumber(digits)
  if not found then return {'WRONGTYPE', layout, 'string'} end
  if found == most then return nil end
  local refusal = {'LAYOUT', int(found)}
  if found > most or found < least or not raises then return refusal end
  local at = now()
  local records = redis.call('HGETALL', members)
  for i = 2, #records, 2 do
    local incarnation, info = string.match(records[i], '^([^\n]*)\n[^\n]*\n[^\n]*\n(.*)$')
    local deadline = incarnation and tonumber(redis.call('ZSCORE', leases, incarnation) or 0)
    local ok, process = pcall(cjson.decode, info or '')
    local own = ok and type(process) == 'table' and tonumber(process.layout) or 1
    if deadline and deadline > at and own < most and #refusal < 12 then
      refusal[#refusal + 1] = records[i - 1]
    end
  end
  if #refusal > 2 then return refusal end
end
