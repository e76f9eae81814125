-- clock: returns Redis's clock.
-- KEYS 1 tasks
-- Returns {'OK', ms}
return {'OK', int(now())}
