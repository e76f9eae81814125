package queue

// Mistakes in what notes steps, and in what forgets them.
var stepMutants = []mutant{
	{"step", "if tonumber(redis.call('ZSCORE', key('leases'), incarnation) or 0) <= 0 then return {'FENCED'} end", ""},
	{"step", "if not claim or string.match(claim, '^%d+') ~= ARGV[3] then", "if not claim then"},
	{"step", "if run == this and tonumber(number) >= tonumber(ARGV[4]) then", "if false then"},
	{"step", "if run == this and tonumber(number) >= tonumber(ARGV[4]) then", "if run == this and tonumber(number) == tonumber(ARGV[4]) then"},
	{"step", "if run == this and tonumber(number) >= tonumber(ARGV[4]) then", "if run and tonumber(number) >= tonumber(ARGV[4]) then"},
	{"step", "string.match(before or '', 'until|(%d+)$') or ''}", "''}"},
	{"step", "  apply_effects(10, effects, 0, code)\n", ""},
	{"step", "local code = effects_refused(10, effects)", "local code"},
	{"step", "if kind ~= 'checkpoint' then value =", "if false then value ="},
	{"step", ", '#', this .. '|' .. ARGV[4])", ")"},
	{"step", "redis.call('HSET', key('steps'), id, int(counted('steps', id) + more))", ""},
	{"step", "(before and #before or -#field)", "-#field"},
	{"step", "  count('bytes', queue, more)\n", ""},
	{"step", "redis.call('HEXISTS', key('weighing'), queue) == 0 or ", ""},
	{"step", " or redis.call('SISMEMBER', key('weighed:' .. queue), id) == 1)", ")"},
	{"step", "(redis.call('HEXISTS', key('weighing'), queue) == 0 or redis.call('SISMEMBER', key('weighed:' .. queue), id) == 1)", "true"},
	{"step", "apply_effects(10, effects, at)\n", ""},
	{"step", "flush()\n", ""},
	{"commit", "  unstep(gone)\n", ""},
	{"commit", "  unstep({id})\n", ""},
	{"endings", "  unstep({id})\n", ""},
	{"ties", "redis.call('UNLINK', key('steps:' .. id))", "do end"},
	{"moving", " + counted('steps', id)", ""},
	{"weigh", ", key('steps')) > 0", ") > 0"},
}
