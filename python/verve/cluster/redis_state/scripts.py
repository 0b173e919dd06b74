"""The scripts that change the state of a window. Each is one step of a rule, and atomic.

`ARGV[1]` is when the state expires, in seconds since the epoch. Each answers with an outcome, the
time in milliseconds and the state after it. They read `TIME` before they write, which Redis before
version 5 refuses.
"""

from __future__ import annotations

_HEAD = """
local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function get(field) return redis.call('HGET', key, field) end
-- What is not a number is as good as none, and is written anew.
local function is_number(text) return text and #text <= 15 and string.match(text, '^%d+$') end
local function number(field)
  local found = get(field)
  return is_number(found) and tonumber(found) or 0
end
local function set(...) redis.call('HSET', key, ...) end
-- Whether this is a master that the caller knows of: one that took over may have forgotten a token
-- that was taken, and remember one that was given up. `known`: replication ids; empty: any.
local function is_known(known)
  if known == '' then return true end
  local id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
  return string.find(known, id, 1, true) ~= nil
end
local function milliseconds(value) return string.format('%.0f', value) end
local function answer(outcome)
  if ARGV[1] then redis.call('EXPIREAT', key, ARGV[1]) end
  return {outcome, now, redis.call('HGETALL', key)}
end
"""

READ = (
    _HEAD
    + """
return {'read', now, redis.call('HGETALL', key)}
"""
)

# Rules 2 and 9: register the host, and note the markers that may be among the ids.
# ARGV: host, `open` or `any`, then pairs of a marker and its host.
# An open window may get more ids: a host that was complete in it is so no longer.
REGISTER = (
    _HEAD
    + """
for i = 4, #ARGV, 2 do redis.call('HSETNX', key, 'mark:' .. ARGV[i], ARGV[i + 1]) end
local field = 'host:' .. ARGV[2]
local known = get(field)
if not known or (ARGV[3] == 'open' and known ~= 'registered') then set(field, 'registered') end
return answer(known and 'known' or 'new')
"""
)

# Rule 3: note that all ids of the host are in the sets. If the host is not registered, the state
# was lost, and the host must first find out what else was lost (rule 9).
# ARGV: host, marker or `-`, epochs, `complete`, or `early` while ids may still come.
COMPLETE = (
    _HEAD
    + """
local field, news = 'host:' .. ARGV[2], ARGV[5] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4]
local known = get(field)
if not known then return {'unregistered', now, redis.call('HGETALL', key)} end
if known ~= news then
  if ARGV[3] ~= '-' then redis.call('HSETNX', key, 'mark:' .. ARGV[3], ARGV[2]) end
  set(field, news)
  -- Above the published ones, too, or a damaged number would hide this completion from the record.
  local changes = math.max(number('changes'), number('published_changes'))
  set('changes', milliseconds(changes + 1))
end
return answer(known == news and 'known' or 'complete')
"""
)

# Rule 5: take the token. It names one attempt, so that a late commit differs from that of the next
# attempt of the same leader. That leader need not wait until its own token expires.
# ARGV: host, owner, number of the attempt, milliseconds, known masters.
BEGIN = (
    _HEAD
    + """
if not is_known(ARGV[6]) then return {'taken', now, redis.call('HGETALL', key)} end
local host_state = get('host:' .. ARGV[2])
if not host_state then return {'unregistered', now, redis.call('HGETALL', key)} end
if host_state == 'registered' then return answer('late') end
local token, left = get('token'), number('token_until') - now
-- What lasts for much longer than a token does is damaged. (The clocks of masters differ.)
local is_valid = token and left > 0 and left <= 10 * ARGV[5]
if is_valid and string.match(token, '^%S+') ~= ARGV[3] then
  return answer('taken')
end
set('token', ARGV[3] .. ' ' .. ARGV[4], 'token_until', milliseconds(now + ARGV[5]))
return answer('begun')
"""
)

# Rule 5: a count from here on holds all changes so far.
# ARGV: token, milliseconds, known masters.
FIX = (
    _HEAD
    + """
if get('token') ~= ARGV[2] or not is_known(ARGV[4]) then
  return {'lost', now, redis.call('HGETALL', key)}
end
set('fixed', milliseconds(number('changes')), 'token_until', milliseconds(now + ARGV[3]))
return answer('fixed')
"""
)

# Rules 6 and 7: replace the record that the committer saw, never by a lower count. The changes are
# noted as seen in any case, or an unchanged count would be asked for again and again.
# ARGV: token, revision seen, changes seen, count, `1` if complete, host, known masters, the host
# fields seen, sorted, each followed by a newline.
COMMIT = (
    _HEAD
    + """
if get('token') ~= ARGV[2] or not is_known(ARGV[8]) then
  return {'lost', now, redis.call('HGETALL', key)}
end
redis.call('HDEL', key, 'token', 'token_until')
-- A host that came, or was set back, since the look was taken is late.
local hosts, fields = {}, redis.call('HGETALL', key)
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 5) == 'host:' then
    hosts[#hosts + 1] = fields[i] .. ' ' .. fields[i + 1] .. string.char(10)
  end
end
table.sort(hosts)
local complete_now = ARGV[6]
if table.concat(hosts) ~= ARGV[9] then complete_now = '0' end
local revision = number('revision')
if revision ~= tonumber(ARGV[3]) then return answer('moved') end
set('published_changes', ARGV[4])
if revision > 0 and is_number(get('count')) then
  local count, complete = number('count'), get('complete')
  if tonumber(ARGV[5]) < count then return answer('lower') end
  if tonumber(ARGV[5]) == count and (complete == '1' or complete_now == '0') then
    return answer('same')
  end
end
set('count', ARGV[5], 'complete', complete_now, 'publisher', ARGV[7],
    'delivery', ARGV[7] .. ' ' .. milliseconds(now))
set('revision', milliseconds(revision + 1))
return answer('committed')
"""
)

# Rule 5: give up an attempt, so that others can have the token at once.
# ARGV: token.
RELEASE = (
    _HEAD
    + """
if get('token') ~= ARGV[2] then return {'lost', now, redis.call('HGETALL', key)} end
redis.call('HDEL', key, 'token', 'token_until')
return answer('released')
"""
)

# Rule 5: have a host complete again, unless it has just done so.
# ARGV: host, the state seen.
SET_BACK = (
    _HEAD
    + """
local field = 'host:' .. ARGV[2]
if get(field) ~= ARGV[3] then return {'moved', now, redis.call('HGETALL', key)} end
set(field, 'registered')
return answer('set back')
"""
)

# Rule 9: put back a record that Redis lost. Hosts that completed since then ask for a revision.
# After a loss there may be two records of one number, each known to some hosts. The better one gets
# the next number then, since nobody publishes a number again. So does a complete record, if the one
# that took its place is degraded and has no more ids: the host that published the complete one has
# given up its ids, and will never be complete again.
# ARGV: revision, count, `1` if complete, publisher, delivery.
RESTORE = (
    _HEAD
    + """
local revision, count, complete = number('revision'), number('count'), get('complete')
local lost, known = tonumber(ARGV[2]), tonumber(ARGV[3])
local completes = ARGV[4] == '1' and complete ~= '1' and known >= count
if lost < revision and not completes
    or lost == revision and known == count and ARGV[4] == complete then
  return {'newer', now, redis.call('HGETALL', key)}
end
if lost > revision or completes or known > count then
  set('count', ARGV[3], 'complete', ARGV[4], 'publisher', ARGV[5], 'published_changes', '0')
end
if lost > revision then
  set('revision', ARGV[2], 'delivery', ARGV[6])
else
  set('revision', milliseconds(revision + 1), 'delivery', ARGV[5] .. ' ' .. milliseconds(now))
end
return answer('restored')
"""
)

# Rule 10: note that the revision is delivered.
# ARGV: revision.
DELIVERED = (
    _HEAD
    + """
if number('revision') ~= tonumber(ARGV[2]) then
  return {'moved', now, redis.call('HGETALL', key)}
end
set('delivery', 'done')
return answer('delivered')
"""
)

# Rule 10: take over the delivery of a dead host.
# ARGV: host, revision, the delivery seen, milliseconds that it must have lasted.
TAKE_OVER = (
    _HEAD
    + """
local delivery = get('delivery')
local since = delivery and string.match(delivery, '%d+$')
-- A time far ahead is damaged. (The clocks of masters differ.)
local age = math.abs(now - (is_number(since) and tonumber(since) or 0))
if number('revision') ~= tonumber(ARGV[3]) or delivery ~= ARGV[4] or delivery == 'done'
    or age < tonumber(ARGV[5]) then
  return {'moved', now, redis.call('HGETALL', key)}
end
set('delivery', ARGV[2] .. ' ' .. milliseconds(now))
return answer('taken over')
"""
)
