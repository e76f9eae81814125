-- record: the parts of a task's record that scripts write.

-- A time in ms in base 36: until the year 2059 it takes 8 bytes of a record instead of 13.
local function base36(n)
  local digits, i = {}, 9
  repeat
    local d = n % 36
    i = i - 1
    digits[i], n = d < 10 and 48 + d or 87 + d, (n - d) / 36
  until n == 0
  return string.char(unpack(digits, i, 8))
end
