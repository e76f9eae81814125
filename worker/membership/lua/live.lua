-- live: lists the incarnations whose lease has not run out. It reads no member record: a call
-- of all nodes asks for them each time.
-- KEYS 1 leases
-- Returns {'OK', incarnations}
return {'OK', redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. int(now()), '+inf')}
