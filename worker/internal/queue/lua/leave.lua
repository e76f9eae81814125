-- leave: a mover that ends is not responsible any more, and all others are told to look.
-- KEYS 1 tasks
-- ARGV 1 the mover's id
-- Returns 1, or 0 when it was not responsible
local responsible = redis.pcall('GET', key('mover'))
if type(responsible) ~= 'string' or string.match(responsible, '^%d+|(.+)$') ~= ARGV[1] then return 0 end
redis.call('DEL', key('mover'))
redis.call('PUBLISH', channel('look'), '')
return 1
