-- types: returns the types of keys.
-- KEYS 1.. the keys
-- Returns {'OK', the type of each key, 'none' for one that is not there}
local types = {'OK'}
for i, key in ipairs(KEYS) do
  types[i + 1] = redis.call('TYPE', key).ok
end
return types
