-- claim: gives an incarnation tasks to run. It numbers its claims; the same number
-- again returns the same tasks, so that a claim whose reply was lost can be
-- sent again. A node that got fewer than it asked for is idle: the next task
-- of its queues wakes it.
-- KEYS 1 tasks
-- ARGV 1 incarnation  2 claim number  3 how many, and what the node gathers for batches beside these: '~' and the crashes that make a
--      task a suspect, which runs alone; then for each name: a space, name|number of the batch|how many more|bytes  4 how many begin at
--      once: the first ones; only these may be of groups or of queues with a rate  5 '1' when it idled or tended before
--      6 how many queues it serves, then these, the most urgent first; or '@', the stored list of these (see serve.lua), a space, and
--      where a draw by weights begins; then the parked lists that it can serve, as queue|name
-- Returns {'OK', parked lists, keys of the wrong type, {id, tries, …} of tasks
--         that were tried before, ids, records, 1 when the incarnation counts
--         as idle now, 3 when it is to claim for free slots alone, or 0, ms on Redis's clock}
--       | {'FENCED'} (the incarnation is over) | {'EXPIRED'} (its lease ran out)
--       | {'GAP', last number} (Redis has forgotten claims) | {'UNKNOWN'} (the list is not stored) | {'WRONGTYPE', key}
local incarnation, number, want = ARGV[1], tonumber(ARGV[2]), tonumber(string.match(ARGV[3], '^%d+'))
local at_once = tonumber(ARGV[4])
local list, seed = string.match(ARGV[6], '^@(%S+) (%d*)$')
local served = 6 + (list and 0 or tonumber(ARGV[6])) -- where the last queue is
local most = 1048576 -- bytes of the tasks in one reply, and one task more
local marks = {'^', '', '~'} -- of a queue's lines, the most urgent first
local owned, stream = 'owned:' .. incarnation, key('stream:' .. incarnation)

local deadline = tonumber(redis.call('ZSCORE', key('leases'), incarnation) or 0)
local at, beyond = now()
if deadline <= 0 then return {'FENCED'} end
if deadline <= at then return {'EXPIRED'} end

local last = tonumber(redis.call('HGET', stream, 'claim') or 0)
if number ~= last and number ~= last + 1 then return {'GAP', int(last)} end
local again = number == last
if list and not again and redis.call('EXISTS', key('serves:' .. list)) == 0 then return {'UNKNOWN'} end

-- What work.lua has begun, maybe in the claim whose answer was lost.
if ARGV[5] == '1' then
  for i = 7, served do untend(ARGV[i], incarnation) end
end

local broken = {}
-- Notes whom Redis wakes when there are tasks, or need not any more.
local function note_idle(idle)
  local function note(set)
    if type(redis.pcall(idle and 'SADD' or 'SREM', key(set), incarnation)) == 'table' then broken[#broken + 1] = key(set) end
  end
  for i = 7, served do note('idle:' .. ARGV[i]) end
  if not list then return end
  note('idlers:' .. list)
  if number % 8 == 0 then -- an idle node claims once in a minute or so
    redis.call('PEXPIRE', key('serves:' .. list), 86400000)
    redis.call('PEXPIRE', key('lists'), 86400000)
  end
end

-- Whether nothing is there to claim, as in most claims of a node that idles.
local function nothing()
  if again or last == 0 or #ARGV > served then return false end
  if list then return redis.call('SCARD', key('ready')) == 0 end
  local lines = {}
  for i = 7, served do
    for _, mark in ipairs(marks) do lines[#lines + 1] = key('queue:' .. ARGV[i] .. mark) end
    lines[#lines + 1] = key('groups:' .. ARGV[i])
  end
  return #lines == 0 or redis.call('EXISTS', unpack(lines)) == 0
end
if nothing() then
  local parked = redis.call('SMEMBERS', key('parked'))
  writable(stream)
  redis.call('HSET', stream, 'claim', ARGV[2])
  note_idle(true)
  return {'OK', parked, broken, {}, {}, {}, 1, int(at)}
end

local mistyped = wrong({owned, 'hash', 'tasks', 'hash', 'tries', 'hash', 'parked', 'set', 'settings', 'hash', 'active', 'hash'})
  or list and wrong({'serves:' .. list, 'zset', 'ready', 'set'})
  or wrong_some(party_kinds(), true)
if mistyped then return {'WRONGTYPE', mistyped} end
writable(key(owned))
local tried, records, known_ids, own = {}, {}, {}, {}
local stamp = ARGV[2] .. '|' .. int(at) -- by which claim, and when: nodes of older versions wrote the number alone
local ties = redis.call('EXISTS', key('tries'), key('deadlines'), key('bodies')) -- most often none
local any = ties > 0 and redis.call('EXISTS', key('tries')) == 1
local large = ties > 0 and redis.call('EXISTS', key('bodies')) == 1
if large and not fits(key('bodies'), 'hash') then return {'WRONGTYPE', key('bodies')} end
local bytes, asked, ordered = 0, 0, false
-- Takes the records of these ids into the reply, as far as they fit and may, and returns
-- how many it took and how many of them exist.
local function take(some, parked, admit, seen)
  local counts = any and redis.call('HMGET', key('tries'), unpack(some))
  local bodies = large and redis.call('HMGET', key('bodies'), unpack(some))
  local found = 0
  for i, record in ipairs(redis.call('HMGET', key('tasks'), unpack(some))) do
    if bytes >= most and not again then return i - 1, found end
    local size = record and #record + (bodies and bodies[i] and select(2, body_of(bodies[i])) or 0)
    local batch = admit and record and admit(record, counts and counts[i], size)
    if batch == false then return i - 1, found end
    if not admit or not record then asked = asked + 1 end
    if record then
      found = found + 1
      if seen then seen(i, record) end
      if parked then unparked(some[i], record) end
      known_ids[#known_ids + 1] = some[i]
      records[#records + 1] = record
      bytes = bytes + size
      own[#own + 1] = some[i]
      own[#own + 1] = stamp .. (batch or '') .. (ordered and ((batch or '') == '' and '||' or '|') .. int(beyond * 100000 + #known_ids) or '')
      if counts and counts[i] then
        tried[#tried + 1] = some[i]
        tried[#tried + 1] = counts[i]
      end
    end
  end
  return #some, found
end

-- Has the claim take no task ahead. Those for which it is called, which have to begin at once, would
-- never find a free slot at a node that always has others in hand.
local confined = false
local function confine()
  want, confined = at_once, true
end

-- Claims up to n tasks from one list of a queue, or of a party. What does not fit into the reply, or may not, goes back where it
-- was. Returns how many it took, and whether there were so many.
local function pop(list, party, n, parked, admit)
  local got = redis.call('RPOP', list, n) or {}
  local took, found = 0, 0
  local seen = parked and function(_, record) hand(string.match(record, '^[^|\n]*|([^|\n]*)|') or party, 1) end
  if #got > 0 then took, found = take(got, parked, admit, seen) end
  if took > 0 and settings(party).special then turns().taken({unpack(got, 1, took)}) end
  for back = #got, took + 1, -1 do redis.call('RPUSH', list, got[back]) end
  if not parked then hand(party, found) end
  return took, #got == n
end

-- By the name of tasks, what the node gathers for its next batch of them.
local gathers, suspect
for name, batch, more, left in string.gmatch(ARGV[3], ' ([^|]+)|(%d+)|(%d+)|(%d+)') do
  gathers, suspect = gathers or {}, tonumber(string.match(ARGV[3], '~(%d+)'))
  gathers[name] = {batch = batch, tasks = tonumber(more), bytes = tonumber(left)}
end
local filled_up = false -- a batch, and there are more tasks for the next one

-- Returns a function that says whether a node that gathers may have a task of the queue, see take(). Tasks of its
-- batches are none of those that it asks for. With a limit on its tasks at a time, a batch takes one place of the queue;
-- of a rate each of its tasks takes a token.
local function admission(queue)
  local free, tokens = places(queue), starts(queue) or math.huge
  local limited = free ~= nil
  tokens, free = tokens - (hands[queue] or 0), (free or math.huge) - (hands[queue] or 0) + (shares[queue] or 0)
  return function(record, tried, size)
    if tokens <= 0 then return false end
    local gathered = gathers[string.match(record, '^[^|\n]*')]
    if gathered and tonumber(string.match(tried or '', '%d+$') or 0) >= suspect then gathered = nil end
    if gathered and (gathered.tasks <= 0 or gathered.bytes <= 0) then
      filled_up = true
      return false
    end
    local joins = gathered and limited and sharers(incarnation, gathered.batch, queue) > 0
    if not joins and free <= 0 or not gathered and asked >= want then return false end
    tokens = tokens - 1
    if not joins then free = free - 1 end
    if not gathered then
      asked = asked + 1
      return ''
    end
    gathered.tasks, gathered.bytes = gathered.tasks - 1, gathered.bytes - size
    if not limited then return '' end
    join(incarnation, gathered.batch, queue)
    return '|' .. gathered.batch
  end
end

-- Claims from one list of a queue by a node that gathers.
local function draw_gathered(queue, list)
  if starts(queue) == 0 then return end
  if settings(queue).rate and redis.call('EXISTS', list) == 1 then
    confine()
    if at_once == 0 then return end
  end
  local admit, more, some = admission(queue), true, 4
  while more and bytes < most do
    more, some = pop(list, queue, some, false, admit) == some, math.min(4 * some, 256)
  end
end

-- Claims from one list of a queue.
local function draw(queue, list, parked)
  if gathers and not parked and fits(list, 'list') then return draw_gathered(queue, list) end
  if asked >= want or bytes >= most then return end
  if not fits(list, 'list') then
    broken[#broken + 1] = list
    return
  end
  if settings(queue).rate and redis.call('EXISTS', list) == 1 and room(queue) > 0 then confine() end
  -- A few first, then more at a time: large payloads must not add up to a
  -- reply that never arrives.
  local more, some = true, 4
  while more and asked < want and bytes < most do
    local limit = room(queue)
    local n = math.min(want - asked, some, limit and limit - (hands[queue] or 0) or want)
    if n <= 0 then return end
    more, some = select(2, pop(list, queue, n, parked)), math.min(4 * some, 256)
  end
end

local function full() return asked >= want or bytes >= most or filled_up end

-- How many of some lines are there, with that mark at the end of their names.
local function marked(lines, mark)
  local some = lines
  if mark ~= '' then
    some = {}
    for i, line in ipairs(lines) do some[i] = line .. mark end
  end
  return redis.call('EXISTS', unpack(some))
end

-- Pops from the lines of each party of a queue its share, as far as it may have that. Returns the ids, the line of
-- each, where in ids those of each party end, which parties may have no more, and the lines of the parties
-- without a mark.
local function pop_round(queue, parties, share)
  local t, ids, lines, ends, stops, plain, some = turns(), {}, {}, {[0] = 0}, {}, {}, {}
  for i, party in ipairs(parties) do plain[i] = key('queue:' .. party) end
  for _, mark in ipairs(exists('holders') and t.marks or marks) do
    if mark == '' or mark == '~' or marked(plain, mark) > 0 then some[#some + 1] = mark end -- the others are rare
  end
  local allowed, popped = t.allowances(queue, parties), 0
  for i, party in ipairs(parties) do
    local may, before = party == queue and math.huge or allowed[i] - (hands[party] or 0), popped
    for _, mark in ipairs(some) do
      local n = math.min(share, may) - (popped - before)
      if n <= 0 then break end
      local line = plain[i] .. mark
      local got = (mark ~= '!' or party ~= queue) and redis.pcall('RPOP', line, n)
      if got and not got.err then
        for at = 1, #got do ids[popped + at], lines[popped + at] = got[at], line end
        popped = popped + #got
      end
    end
    ends[i], stops[i] = popped, popped - before >= may or popped == before -- a key of its lines may be something else's
  end
  return ids, lines, ends, stops, plain
end

-- How many tasks fit into the batches that the node gathers.
local function gatherable()
  local n = 0
  for _, gathered in pairs(gathers or {}) do
    if gathered.bytes > 0 then n = n + math.max(0, gathered.tasks) end
  end
  return n
end

local turned = {} -- queues of which a group has a turn after those that this claim took

-- Claims from the groups of a queue, in their turns: from each as many as from the others.
local function draw_turns(queue)
  local groups, t, grouped = key('groups:' .. queue), turns(), 0
  if redis.call('EXISTS', key('queue:' .. queue .. '^'), key('queue:' .. queue), key('queue:' .. queue .. '~')) > 0
    and not redis.call('ZSCORE', groups, '') then t.place(queue, '') end
  local turn, admit, some = t.last(queue), gathers and admission(queue), math.max(1, at_once) -- more in each round, as in draw()
  while bytes < most do
    local limit = (gathers and starts or room)(queue)
    local may = limit and limit - (hands[queue] or 0) or math.huge
    local n = math.min(at_once > 0 and math.max(0, at_once - asked) + gatherable() or 0, may, some, 500)
    if may <= 0 or n <= 0 and confined then break end
    local round, parties = redis.call('ZRANGEBYSCORE', groups, '-inf', '(' .. int(t.stopped), 'LIMIT', 0, math.max(1, n)), {}
    if #round == 0 then break end
    turned[queue] = nil
    confine()
    if n <= 0 then break end
    for i, group in ipairs(round) do parties[i] = group == '' and queue or queue .. '/' .. group end
    local ids, lines, ends, stops, plain = pop_round(queue, parties, math.floor(n / #round))
    local took, found = 0, {}
    ordered = true
    if #ids > 0 then took = take(ids, false, admit, function(i) found[i] = true end) end
    ordered = false
    if took > 0 then t.taken({unpack(ids, 1, took)}) end
    for back = #ids, took + 1, -1 do redis.call('RPUSH', lines[back], ids[back]) end
    local gone, placed, all_wait = {}, {}, marked(plain, '') == #plain
    for i, party in ipairs(parties) do
      local left, got = math.min(took, ends[i]) - ends[i - 1], 0
      if left <= 0 and ends[i] > ends[i - 1] then break end -- it keeps its turn, as all after it do
      for at = ends[i - 1] + 1, ends[i - 1] + left do got = got + (found[at] and 1 or 0) end
      hands[queue] = (hands[queue] or 0) + got
      if party ~= queue then hands[party], grouped = (hands[party] or 0) + got, grouped + left end
      if not all_wait and not t.waits(party) then
        gone[#gone + 1] = round[i]
      else
        local stop = stops[i] and took >= ends[i]
        if not stop then turn, turned[queue] = turn + 1, true end
        placed[#placed + 1], placed[#placed + 2] = int(stop and t.stopped or turn), round[i]
      end
    end
    if #gone > 0 then redis.call('ZREM', groups, unpack(gone)) end
    if #placed > 0 then redis.call('ZADD', groups, unpack(placed)) end
    if took < #ids then break end
    some = 4 * some
  end
  if grouped > 0 and count('grouped', queue, -grouped) == 0 then redis.call('HDEL', key('grouped'), queue) end
end

local unready = {} -- queues of which not all parked tasks are back in their lines

-- Claims from the lines of a queue.
local function draw_lines(queue)
  if unready[queue] then return end
  if settings(queue).special then
    local sound, kind = fits(key('groups:' .. queue), 'zset')
    if not sound then broken[#broken + 1] = key('groups:' .. queue) end
    if kind ~= 'none' then return sound and draw_turns(queue) end
  end
  for _, mark in ipairs(marks) do draw(queue, key('queue:' .. queue .. mark)) end
end

-- The queues of the stored list that have tasks, in the strict order or in one that is
-- drawn: by exponential variates of the weights' rates the smallest wins with the probability
-- of its weight, then the next among the rest.
local function in_order()
  local some = redis.call('ZINTER', 2, key('serves:' .. list), key('ready'), 'WEIGHTS', 1, 0, 'WITHSCORES')
  local x, order, names = tonumber(seed), {}, {}
  for i = 1, #some, 2 do
    local at = tonumber(some[i + 1])
    if x then
      x = x * 16807 % 2147483647
      at = -math.log(x / 2147483647) / at
    end
    order[#order + 1], names[at] = at, some[i]
  end
  table.sort(order)
  for i, at in ipairs(order) do order[i] = names[at] end
  return order
end

-- Iterates over these queues, of which it looks up the settings, some at a time. When many
-- have tasks, the first ones are looked for in the list.
local function listed()
  local all, names, i, from = nil, {}, 0, 0
  if seed ~= '' or redis.call('SCARD', key('ready')) <= 100 then all = in_order() end
  local function next_ones()
    local some = all and {unpack(all, from + 1, math.min(from + 100, #all))} or redis.call('ZRANGE', key('serves:' .. list), from, from + 99)
    if #some == 0 then return false end
    names, i, from = {}, 1, from + 100
    local has = all or redis.call('SMISMEMBER', key('ready'), unpack(some))
    for at, queue in ipairs(some) do
      if has[at] ~= 0 then names[#names + 1] = queue end
    end
    local set = #names > 0 and redis.call('HMGET', key('settings'), unpack(names)) or {}
    for at, text in ipairs(set) do note_settings(names[at], text) end
    return true
  end
  return function()
    i = i + 1
    while i > #names do
      if not next_ones() then return nil end
    end
    return names[i]
  end
end

-- Claims from the queues of the stored list. Returns some that have more tasks than it took.
local function draw_listed()
  local rest = {}
  for queue in listed() do
    local limit = room(queue)
    if gathers or not limit or limit > (hands[queue] or 0) then
      if gathers or not full() then draw_lines(queue) end
      if not pending(queue) then
        emptied(queue)
      elseif full() then
        rest[#rest + 1] = queue
        if #rest == 4 then break end
      end
    end
  end
  return rest
end

-- Puts parked tasks back to the front of their lines, the last ones first. Returns whether all are there.
local function unpark(list)
  for _ = 1, 10 do
    for _, id in ipairs(redis.call('LPOP', list, 200) or {}) do
      local record = redis.call('HGET', key('tasks'), id)
      local line = string.match(record or '', '^[^|\n]*|([^|\n]*)|')
      if line and takes(line) then
        unparked(id, record)
        push(line, {id}, 'RPUSH')
      elseif line then
        redis.call('RPUSH', list, id)
        broken[#broken + 1] = key('queue:' .. line)
        return true
      end
    end
  end
  return redis.call('EXISTS', list) == 0
end

local patience = 1000 -- parked tasks that may not begin, among which a claim looks for others

-- Claims parked tasks of a queue with groups by their name, the first ones first; those that may not begin now keep their
-- places, or come back to their lines when there are too many. Returns whether it has looked at all: before, no task of the
-- queue's lines may be claimed, as others of its group may have come before it.
local function draw_parked(queue, name)
  local list, t, may, stay, whole, some = key(name), turns(), {}, {}, false, 4
  if not fits(list, 'list') then
    broken[#broken + 1] = list
    return true
  end
  if redis.call('EXISTS', list) == 0 or starts(queue) == 0 then return true end
  if room(queue) ~= 0 then confine() end
  local left = false -- one that may begin
  while not whole and not left and #stay < patience do
    local limit, n = room(queue), want - asked
    if limit then n = math.min(n, limit - (hands[queue] or 0)) end
    local got, begin, places = redis.call('RPOP', list, some) or {}, {}, {}
    whole = #got < some
    for i, record in ipairs(#got > 0 and redis.call('HMGET', key('tasks'), unpack(got)) or {}) do
      local party = t.party(string.match(record or '', '^[^|\n]*|([^|\n]*)|') or queue) or queue
      if not may[party] then may[party] = party == queue and math.huge or t.allowances(queue, {party}, true)[1] - (hands[party] or 0) end
      if may[party] > 0 and (party == queue or not t.held(party) or redis.call('HEXISTS', key('holders'), got[i]) == 1) then
        if #begin < n then
          begin[#begin + 1], may[party] = got[i], may[party] - 1
          places[i] = #begin
        else
          left = true
        end
      end
    end
    ordered = true
    local took = #begin > 0 and take(begin, true, nil, function(_, record) hand(string.match(record, '^[^|\n]*|([^|\n]*)|') or queue, 1) end) or 0
    ordered = false
    for i, id in ipairs(got) do
      if (places[i] or math.huge) > took then stay[#stay + 1] = id end
    end
    left, some = left or took < #begin, math.min(4 * some, 256)
  end
  for i = 1, #stay / 2 do stay[i], stay[#stay + 1 - i] = stay[#stay + 1 - i], stay[i] end
  each('RPUSH', name, stay)
  return not left and (whole or unpark(list))
end

local rest = {}
if again then
  local ids, places, all, mine = {}, {}, redis.call('HGETALL', key(owned)), int(number)
  for i = 1, #all, 2 do
    if string.match(all[i + 1], '^%d+') == mine then
      ids[#ids + 1], places[all[i]] = all[i], tonumber(string.match(all[i + 1], '|(%d+)$') or 0) -- their times are all the same
    end
  end
  table.sort(ids, function(a, b) return places[a] < places[b] end)
  for from = 1, #ids, 500 do take({unpack(ids, from, math.min(from + 499, #ids))}) end
else
  redis.call('HSET', stream, 'claim', int(number))
  if number == 1 then -- for whoever takes over, and who asks: what this incarnation serves
    redis.call('HSET', stream, list and 'list' or 'queues', list or table.concat(ARGV, ' ', 7, served))
  end
  for i = served + 1, #ARGV do
    local queue, list = string.match(ARGV[i], '^([^|]*)|'), key('parked:' .. ARGV[i])
    if not settings(queue).special then draw(queue, list, true) elseif not draw_parked(queue, 'parked:' .. ARGV[i]) then unready[queue] = true end
    if fits(list, 'list') and redis.call('EXISTS', list) == 0 then redis.call('SREM', key('parked'), ARGV[i]) end
  end
  for i = 7, served do draw_lines(ARGV[i]) end
  if list then rest = draw_listed() end
end
if not again then each('HSET', owned, own) end
if ties > 0 and fits(key('deadlines'), 'zset') then each('ZREM', 'deadlines', known_ids) end -- the node ends them now
local reply = {'OK', redis.call('SMEMBERS', key('parked')), broken, tried, known_ids, records}

-- When the answer to a claim was lost, nobody knows what it did: it may have begun to tend, filled a batch, or been
-- for free slots alone. The node does not idle then, but looks again.
local idle = not full() and not again
local spent = {}
for party, n in pairs(rated and hands or {}) do
  local set, grouped = settings(queue_of(party)), string.find(party, '/', 1, true)
  local rate = grouped and set.group_rate or not grouped and set.rate
  if rate and n > 0 then turns().spend(party, rate, n, spent) end
end
each('ZADD', 'rates', spent)
if not again and (idle or ARGV[5] == '1') then note_idle(idle) end
flush()
-- Whether tasks of a queue may be claimed: some stand in lines, and not only in those of groups that are stopped.
local function claimable(queue)
  if turned[queue] then return true end
  if not settings(queue).special or redis.call('EXISTS', key('groups:' .. queue)) == 0 then return pending(queue) end
  return turns().waits(queue) or fits(key('groups:' .. queue), 'zset')
    and #redis.call('ZRANGEBYSCORE', key('groups:' .. queue), '-inf', '(' .. int(turns().stopped), 'LIMIT', 0, 1) > 0
end

if not idle then -- there may be more: whoever idles takes it
  for i = 7, served do
    if claimable(ARGV[i]) then wake(ARGV[i]) end
  end
  for _, queue in ipairs(rest) do
    if claimable(queue) then wake(queue) end
  end
end
reply[7], reply[8] = idle and 1 or confined and 3 or 0, int(at)
return reply
