-- turns: which tasks of groups begin, and when; and rates, of queues and of groups. All that is kept
-- of a group has the name of its lines without the marks, 'images/tenant', its party. A queue without
-- a group is a party too: 'images'.
--
-- groups:<queue> has the groups with tasks in their lines: the turn of each, by which claims go round
-- them, or stopped for one of which no task may begin now. What lets one begin offers it a turn
-- again. '' in it stands for the tasks without a group: a claim gives them a turn among the others.
-- grouped counts the tasks in lines of groups, by queue; active has parties too.
-- halted has the groups that an operator has paused, resting until when in ms a party rests as a
-- handler asked, rates when in µs a party has all its tokens again, refills when in ms a party that
-- had none left is to be offered a turn. In a queue with strict groups, held has how many
-- tasks of a group wait for their next run, and holders the group of each of these. Such a task comes
-- back to the line '!' of its group, which is served first. A suspect that was put aside
-- holds its group likewise until it begins, in any queue: under the name of the group with that mark.
--
-- returned has the tasks that were claimed, have not run and stand at the front of their lines again,
-- or will when they are due: their order, as that of their claims. Those of queues without groups are
-- there when their queue rests.
--
-- stopped is no round number: the embedded Redis's Lua takes the score 1e+15 for no number.
-- These functions are made when they are needed, as most queues have neither groups nor rates.
local made
function turns()
  if made then return made end
  local t = {stopped = 1000000000000001, marks = {'!', '^', '', '~'}}
  made = t

  -- The party of a line of a group, or nil.
  function t.party(line) return string.match(line, '^([^/]+/.-)[%^~!]?$') end

  local function group_of(party) return string.match(party, '/(.*)$') end

  local function note_mark(queue, mark)
    local f = {string.match(redis.call('HGET', key('settings'), queue) or '', settings_form)}
    if not f[1] then f = {'', '0', '0', '0', '0', '', '', ''} end
    if f[5] == '' then f[5] = '0' end
    f[9] = mark
    local text = table.concat(f, '|')
    if text == '|0|0|0|0||||' then redis.call('HDEL', key('settings'), queue) else redis.call('HSET', key('settings'), queue, text) end
    all_set[queue] = nil
  end

  -- Has scripts look at the groups and the rest of a queue, from now on.
  function t.mark(queue)
    if not settings(queue).special then note_mark(queue, '1') end
  end

  -- Ends that when there is neither. Parked tasks may be of groups.
  function t.unmark(queue)
    for _, list in ipairs(redis.call('SMEMBERS', key('parked'))) do
      if string.match(list, '^([^|]*)|') == queue then return end
    end
    if redis.call('EXISTS', key('groups:' .. queue), key('returned')) == 0 and not redis.call('ZSCORE', key('resting'), queue) then note_mark(queue, '') end
  end

  -- A time of a party. A key that is something else's is reported by who writes it.
  local function time_of(name, party)
    local time = exists(name) and redis.pcall('ZSCORE', key(name), party)
    return type(time) == 'string' and tonumber(time) or 0
  end

  function t.rests(party) return time_of('resting', party) > now() end

  -- The times of several parties, likewise, or nil when there is none.
  local function times_of(name, parties)
    local times = exists(name) and redis.pcall('ZMSCORE', key(name), unpack(parties))
    return times and not times.err and times or nil
  end

  local rates = {} -- what allowances() has found

  -- How many tasks of a party may begin now at a rate, when in µs it has all tokens again, and now in µs.
  function t.tokens(party, rate)
    local ms, beyond = now()
    local at = ms * 1000 + beyond
    local full, latest = rates[party] or time_of('rates', party), at + math.ceil(rate.burst * rate.interval)
    if full > latest then -- Redis's clock was ahead, or the rate was another
      full = latest
      redis.pcall('ZADD', key('rates'), int(full), party)
    end
    full = math.max(at, full)
    return math.max(0, math.floor((at - full) / rate.interval + rate.burst + 1e-7)), full, at
  end

  -- Has the movers offer a party its turn at a time.
  local function rouse_at(name, party, time)
    redis.call('ZADD', key(name), int(time), party)
    if redis.call('ZRANGE', key(name), 0, 0)[1] == party then announce(time) end
  end

  -- Spends tokens of a party, and adds the new entry of rates to words. When none is left, the next one that
  -- comes is told, together with those of the 4 ms after, as far as the party can have so many: a look for each
  -- would be too many.
  function t.spend(party, rate, n, words)
    local had, full, at = t.tokens(party, rate)
    full = full + math.ceil(n * rate.interval)
    words[#words + 1], words[#words + 2] = int(full), party
    if had <= n then
      local next_one = full + (1 - rate.burst) * rate.interval
      rouse_at('refills', party, math.ceil(math.max(next_one, math.min(full, at + 4000)) / 1000))
    end
  end

  -- A party has another rate, or may have: what it has spent stays spent.
  function t.rescale(party, old, rate)
    redis.call('ZREM', key('refills'), party)
    if not rate then return redis.call('ZREM', key('rates'), party) end
    local ms, beyond = now()
    local at, full = ms * 1000 + beyond, time_of('rates', party)
    if full <= at then return end
    if old and old.interval ~= rate.interval then
      redis.call('ZADD', key('rates'), int(at + math.ceil((full - at) * rate.interval / old.interval)), party)
    end
    local words = {}
    t.spend(party, rate, 0, words)
    redis.call('ZADD', key('rates'), unpack(words))
  end

  -- Whether tasks hold a group: only these may begin.
  function t.held(party)
    return exists('held') and (settings(queue_of(party)).strict and counted('held', party) > 0 or counted('held', party .. '!') > 0)
  end

  -- How many tasks of each of some groups of a queue may begin now from their lines. parked: no matter who holds the groups.
  function t.allowances(queue, parties, parked)
    local set, may = settings(queue), {}
    local halted = exists('halted') and redis.call('SMISMEMBER', key('halted'), unpack(parties)) or {}
    local resting = times_of('resting', parties) or {}
    local active = set.per_group > 0 and redis.call('HMGET', key('active'), unpack(parties))
    local times = set.group_rate and (times_of('rates', parties) or {})
    for i, party in ipairs(parties) do
      local n = active and set.per_group - count_of(active[i]) or math.huge
      if halted[i] == 1 or (tonumber(resting[i] or 0) or 0) > now() then n = 0 end
      if times then
        rates[party] = tonumber(times[i] or 0) or 0
        n = math.min(n, (t.tokens(party, set.group_rate)))
      end
      if not parked and n > 0 and t.held(party) then n = math.min(n, fits(key('queue:' .. party .. '!'), 'list') and redis.call('LLEN', key('queue:' .. party .. '!')) or 0) end
      may[i] = math.max(0, n)
    end
    return may
  end

  function t.allowance(party) return t.allowances(queue_of(party), {party})[1] end

  -- Whether the lines of a group can take its tasks.
  function t.fits(party) return fits(key('queue:' .. party .. '!'), 'list') and fits(key('groups:' .. queue_of(party)), 'zset') end

  -- The last turn of a queue's groups.
  function t.last(queue)
    local last = redis.call('ZREVRANGEBYSCORE', key('groups:' .. queue), '(' .. int(t.stopped), '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
    return tonumber(last[2]) or 0
  end

  -- Gives a group, or '', the last turn, or stops it.
  function t.place(queue, group, stops)
    redis.call('ZADD', key('groups:' .. queue), int(stops and t.stopped or t.last(queue) + 1), group)
  end

  -- Offers a party its turn: something that kept its tasks from beginning may be over. Parked ones have none, but may begin too.
  function t.offer(party)
    local queue, group = queue_of(party), group_of(party)
    if not group then
      if pending(queue) then touched[queue] = true end
      if exists('parked') then offer_parked(queue) end
      return
    end
    local turn = fits(key('groups:' .. queue), 'zset') and redis.call('ZSCORE', key('groups:' .. queue), group)
    local stops = turn and tonumber(turn) >= t.stopped
    if not stops and not exists('parked') or t.allowances(queue, {party}, not stops)[1] == 0 then return end
    if exists('parked') then offer_parked(queue) end
    if not stops then return end
    t.place(queue, group)
    touched[queue] = true
  end

  -- Offers some stopped groups of a queue their turn, in case that nobody has: others every 5 s, when the movers
  -- look. Returns how many.
  function t.mend(queue, most)
    local groups, stopped = key('groups:' .. queue), int(t.stopped)
    local n = fits(groups, 'zset') and redis.call('ZCOUNT', groups, stopped, '+inf') or 0
    if n == 0 then return 0 end
    local from = redis.call('ZCARD', groups) - n + (n > most and math.floor(now() / 5000) * most % n or 0)
    local some = redis.call('ZRANGE', groups, int(from), int(from + most - 1))
    for _, group in ipairs(some) do t.offer(queue .. '/' .. group) end
    return #some
  end

  -- Whether tasks stand in the lines of a party.
  function t.waits(party)
    local lines = {}
    for i, mark in ipairs(t.marks) do lines[i] = key('queue:' .. party .. mark) end
    return redis.call('EXISTS', unpack(lines)) > 0
  end

  -- Tasks have left the lines of a group.
  function t.left(party, n)
    local queue = queue_of(party)
    if n > 0 and count('grouped', queue, -n) == 0 then redis.call('HDEL', key('grouped'), queue) end
    if not t.waits(party) and fits(key('groups:' .. queue), 'zset') then redis.call('ZREM', key('groups:' .. queue), group_of(party)) end
  end

  -- Puts tasks into a line of a group, see push(). Returns whether somebody has to be woken.
  function t.push(line, ids, command)
    local party, others, back = t.party(line), ids, {}
    local queue = queue_of(line)
    if exists('holders') then
      others = {}
      for _, id in ipairs(ids) do
        if redis.call('HEXISTS', key('holders'), id) == 1 then back[#back + 1] = id else others[#others + 1] = id end
      end
    end
    if #others > 0 then each(command or 'LPUSH', 'queue:' .. line, others) end
    if #back > 0 then each('RPUSH', 'queue:' .. party .. '!', back) end
    count('grouped', queue, #ids)
    t.mark(queue)
    if redis.call('ZSCORE', key('groups:' .. queue), group_of(party)) then
      if #back > 0 then t.offer(party) end
      return false
    end
    filled(queue)
    local stops = t.allowance(party) == 0
    t.place(queue, group_of(party), stops)
    return not stops
  end

  -- The order of a claimed task, of its entry in owned: when it was claimed, and its place in the claim.
  function t.order(entry)
    local ms, place = string.match(entry, '^%d+|(%d+)|?%d*|?(%d*)$') -- older programs write no time
    return ms and ms .. string.format('%08d', tonumber(place) or 0) or ''
  end

  -- Puts a task that was claimed to the front of its line, behind those that were claimed before it and came back.
  -- Returns whether somebody has to be woken.
  function t.give_back(line, id, order)
    if exists('holders') and redis.call('HEXISTS', key('holders'), id) == 1 then line = t.party(line) .. '!' end
    local list, before = key('queue:' .. line), {}
    while exists('returned') do
      local first = redis.call('LINDEX', list, -1)
      local other = first and redis.call('HGET', key('returned'), first)
      if not other or other > order then break end
      before[#before + 1] = redis.call('RPOP', list)
    end
    local wakes = push(line, {id}, 'RPUSH')
    for i = #before, 1, -1 do redis.call('RPUSH', list, before[i]) end
    redis.call('HSET', key('returned'), id, order)
    there.returned = true
    return wakes
  end

  -- Puts a suspect of a group off: it holds the group, and then comes back to the front.
  function t.put_aside(id, party, order)
    local queue, group = queue_of(party), group_of(party)
    t.hold(id, settings(queue).strict and party or party .. '!')
    redis.call('HSET', key('returned'), id, order)
    there.returned = true
    if redis.call('ZSCORE', key('groups:' .. queue), group) then t.place(queue, group, true) end
  end

  -- Tasks have been claimed, or lose their place.
  function t.taken(ids)
    if exists('returned') then each('HDEL', 'returned', ids) end
  end

  -- Has a party rest until a time.
  function t.rest(party, time)
    local queue, group = queue_of(party), group_of(party)
    if time_of('resting', party) < time then rouse_at('resting', party, time) end
    there.resting = true
    if not group then
      t.mark(queue)
    elseif redis.call('ZSCORE', key('groups:' .. queue), group) then
      t.place(queue, group, true)
    end
  end

  -- Has a task that waits for its next run hold its group.
  function t.hold(id, party)
    if redis.call('HSETNX', key('holders'), id, party) == 0 then return end
    count('held', party, 1)
    there.holders, there.held = true, true
  end

  -- A suspect begins, or is not to be waited for: others of its group may begin.
  function t.begin(id)
    if exists('holders') and string.sub(redis.call('HGET', key('holders'), id) or '', -1) == '!' then t.let_go(id) end
  end

  -- Lets go the group that a task holds.
  function t.let_go(id)
    local party = redis.call('HGET', key('holders'), id)
    if not party then return end
    redis.call('HDEL', key('holders'), id)
    if count('held', party, -1) <= 0 then redis.call('HDEL', key('held'), party) end
    t.offer(t.party(party))
  end

  return t
end
