-- record: the parts of a task's record that scripts write.

-- A time in ms in base 36: until the year 2059 it takes 8 bytes of a record instead of 13.
local function base36(n)
  local digits, i = {}, 0
  repeat
    i = i + 1
    local d = n % 36
    digits[i] = d < 10 and 48 + d or 87 + d
    n = (n - d) / 36
  until n == 0
  return string.reverse(string.char(unpack(digits)))
end
