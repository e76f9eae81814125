-- fast/load: the common case of load.lua, for one or more entries: loads them and records
-- the reads.
-- KEYS 1.. entries
-- Returns {'OK', for each entry what it was before the read was recorded, nil (no entry), or
--         0 (another case: use load.lua)}
local at, values, size = cache_digits(), {}, 0
for i, entry in ipairs(KEYS) do
  -- What the script returns is copied while Redis serves nobody else: after 256 KiB the
  -- entries that are left are another case.
  local raw = size < 262144 and redis.pcall('GET', entry)
  if type(raw) == 'string' then
    local expires = string.sub(raw, 27, 39)
    if #raw < 55 or expires <= at and expires ~= '0000000000000' then -- digits of the same length
      raw = 0
    else
      size = size + #raw
      redis.pcall('SETRANGE', entry, 13, at) -- pcall: at maxmemory the read is not recorded, but the load works
    end
  elseif raw or size >= 262144 then
    raw = 0
  end
  values[i] = raw
end
return {'OK', values}
