-- definitions: returns the definitions of tasks that programs have published.
-- KEYS 1 tasks
-- ARGV 1 what the last answer said of the last change, '' for none  2 ms for which a
--      definition is kept that nobody repeats
-- Returns {'OK', what tells this answer from later ones, {name, definition (JSON), version, …}}
--       | {'OK', the same as before} (nothing has changed) | {'WRONGTYPE', key}
local mistyped = wrong({'definitions', 'hash'})
if mistyped then return {'WRONGTYPE', mistyped} end
local _, change = publishers()
if change ~= '' and change == ARGV[1] then return {'OK', change} end
local at, keep, all, known = now(), tonumber(ARGV[2]), redis.call('HGETALL', key('definitions')), {}
for i = 1, #all, 2 do
  local seen, _, text, version = definition_of(all[i + 1])
  if seen and seen + keep > at then
    local n = #known
    known[n + 1], known[n + 2], known[n + 3] = all[i], text, version
  end
end
return {'OK', change, known}
