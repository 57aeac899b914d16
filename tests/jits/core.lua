-- SPDX-FileCopyrightText: The Graft authors
-- SPDX-License-Identifier: Apache-2.0
--
-- core.lua - traces of LuaJIT: loops, side exits, the FFI, errors out of compiled code

local bit = require 'bit'
local ffi = require 'ffi'

local tests = {}

function tests.ints()
    local h, x = 1, 12345
    for i = 1, 2000000 do
        x = (x * 16807) % 2147483647
        h = bit.bxor(bit.rol(h, 5), bit.tobit(x), bit.rshift(h, bit.band(i, 31)))
    end
    return h
end

function tests.doubles()
    local a, s = {}, 0
    for i = 0, 1023 do a[i] = 0 end
    for i = 1, 1000000 do
        local k = i % 1024
        a[k] = math.sqrt(i) / 2 + a[(k * 7) % 1024] / 3 - math.floor(a[k])
        s = s + a[k]
    end
    return string.format('%.6f %g %s', s, a[17], tostring(1 / 0))
end

-- Branches that change their mind: side traces.
function tests.branches()
    local h, odd = 3, 0
    for i = 1, 1000000 do
        local m = bit.band(i * 7919, 15)
        if m < 3 then h = bit.bxor(h, i) elseif m < 7 then h = bit.ror(h, 3) elseif m == 9 and i > 700000 then odd = odd + 1
        else h = bit.tobit(h + m) end
    end
    return h .. ' ' .. odd
end

-- The type changes in the loop.
function tests.types()
    local s, list = 0, {}
    for i = 1, 300000 do
        local v = i
        if i % 1000 == 0 then v = tostring(i) elseif i % 777 == 0 then v = i + 0.5 end
        s = s + v
        list[i % 50 + 1] = v
    end
    return s .. ' ' .. #list
end

function tests.errors()
    local caught, s = 0, 0
    local function risky(t, i) if i % 11 == 0 then error({ code = i }) end return t.x end
    for i = 1, 100000 do
        local ok, e = pcall(risky, i % 7 ~= 0 and { x = i } or nil, i)
        if ok then s = s + e else caught = caught + 1 end
        if type(e) == 'table' then s = s + e.code end
    end
    local function dive(n) return 1 + dive(n + 1) end
    return s .. ' ' .. caught .. ' ' .. tostring(pcall(dive, 1))
end

function tests.garbage()
    local kept, h = {}, 0
    for i = 1, 500000 do
        local o = { i, 'k' .. i % 3000, { deep = i } }
        kept[o[2]] = o
        if i % 3 == 0 then kept['k' .. (i * 7) % 3000] = nil end
    end
    for _, o in pairs(kept) do h = h + o[3].deep end
    return h
end

function tests.strings()
    local n, b = 0, {}
    for i = 1, 60000 do
        b[#b + 1] = string.char(97 + i * 7 % 26)
        if #b == 400 then
            local s = table.concat(b)
            n = n + #s:gsub('[aeiou]', '%0%0'):upper() + select(2, s:gsub('(.)b', '%1'))
            b = {}
        end
    end
    return n
end

ffi.cdef [[
    struct node { int32_t v; double d; struct node *next; uint8_t tail[5]; };
    int abs(int);
    void qsort(void *, size_t, size_t, int (*)(const int32_t *, const int32_t *));
]]
function tests.ffi()
    local a = ffi.new('struct node[?]', 1000)
    local s = 0
    for round = 1, 300 do
        for i = 0, 999 do
            a[i].v = i * round - 500
            a[i].d = a[i].v / 4
            a[i].next = a + (i * 7) % 1000
            a[i].tail[i % 5] = i
        end
        for i = 0, 999 do s = s + a[i].next.v + a[i].next.next.d + ffi.C.abs(a[i].v) + a[i].tail[2] end
    end
    local v = ffi.new('int32_t[3000]')
    for i = 0, 2999 do v[i] = bit.bxor(i * 40503, 0x5a5a) % 100003 end
    ffi.C.qsort(v, 3000, 4, function(x, y) return x[0] - y[0] end) -- a callback: code made for C to call
    local q = 0ULL
    for i = 1, 200000 do q = q * 6364136223846793005ULL + i end
    return s .. ' ' .. v[1500] .. ' ' .. tostring(q)
end

function tests.coroutines()
    local s = 0
    for round = 1, 200 do
        local c = coroutine.wrap(function() for i = 1, 500 do coroutine.yield(i * round) end return 0 end)
        for _ = 1, 500 do s = s + c() end
    end
    return s
end

function tests.loads()
    local h = 0
    for i = 1, 1500 do
        local f = assert(loadstring('local s, a = ' .. i .. ', ... for k = 1, 200 do s = (s * 3 + a + k) % 65521 end return s'))
        h = h + f(i)
    end
    return h
end

local names = {}
for name in pairs(tests) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do print(name, tests[name]()) end
