-- tables.lua - tables, strings, closures and the collector. usage: tables.lua SCALE
-- Prints sums that must not depend on the allocator.
local scale = tonumber(arg[1])
local seed = 7

local function draw(n)
	seed = (seed * 1103515245 + 12345) & 0x7fffffff
	return (seed >> 7) % n
end

-- A binary tree that grows and is cut.
local function insert(node, key)
	if not node then return { key = key, text = "k" .. key } end
	if key < node.key then node.left = insert(node.left, key)
	elseif key > node.key then node.right = insert(node.right, key) end
	return node
end

local function count(node)
	if not node then return 0 end
	return 1 + count(node.left) + count(node.right)
end

local total = 0
for _ = 1, scale do
	local root
	for _ = 1, 1500 do root = insert(root, draw(100000)) end
	total = total + count(root)
end

-- Strings joined, split and kept by key.
local words, length = {}, 0
for i = 1, scale * 900 do
	local key = "w" .. draw(20000)
	words[key] = (words[key] or "") .. string.rep(string.char(97 + i % 26), 1 + draw(30))
	if #words[key] > 300 then length = length + #words[key]; words[key] = nil end
end
local parts = {}
for i = 1, scale * 100 do parts[#parts + 1] = string.format("%d:%x", i, draw(1 << 20)) end
local joined = table.concat(parts, ",")
local sum = 0
for number in joined:gmatch(":(%x+)") do sum = sum + tonumber(number, 16) end

-- Closures that hold on to what they were made with.
local calls = {}
for i = 1, scale * 400 do
	local held = { i, draw(9) }
	calls[draw(500) + 1] = function(x) return held[1] * x + held[2] end
end
local made = 0
for i = 1, 501 do if calls[i] then made = (made + calls[i](i)) % 1000003 end end

print(total, length, #joined, sum, made)
