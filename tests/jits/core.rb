# SPDX-FileCopyrightText: The Graft authors
# SPDX-License-Identifier: Apache-2.0
#
# core.rb - methods and blocks redefined while they run, exceptions, garbage, threads

def ints(n)
  h = 1
  x = 12345
  i = 0
  while i < n
    x = (x * 1103515245 + 12345) & 0x7fffffff
    h = ((h ^ (x >> (i & 15)) ^ x % 1000 ^ x / 7) * 16777619) & 0xffffffff
    i += 1
  end
  h
end

def floats(n)
  a = Array.new(1024, 0.0)
  s = 0.0
  n.times do |i|
    k = i & 1023
    a[k] = Math.sqrt(i) / 2 + a[k * 7 & 1023] / 3 - a[k].floor
    s = s / 2 + a[k]
  end
  [s, a[17]].inspect
end

class Shape
  attr_reader :s
  def initialize(s) = @s = s
  def area = s
end

class Square < Shape
  def area = s * s
end

class Late < Shape
  def area
    raise ArgumentError, "late" if s % 97 == 0
    -s
  end
end

def shapes(n)
  h = 7
  caught = 0
  n.times do |i|
    kinds = i < n / 2 ? [Shape, Square] : [Shape, Square, Late]
    Square.class_eval('def area = s + 1') if i == n * 3 / 4
    Integer.class_eval('def twice = self * 2') if i == n / 3
    begin
      h = (h * 31 + kinds[i % kinds.size].new(i).area) & 0xffffffff
      h ^= i.twice if i > n / 3
    rescue ArgumentError
      caught += 1
    end
  end
  [h, caught].inspect
end

# What is compiled for plus is wrong from then on.
def redefined(n)
  s = 0
  n.times { |i| s = (s + (i % 3 == 0 ? i.to_f : i)) % 65521 }
  Integer.class_eval { alias_method :plus, :+; def +(o) = plus(o).plus(1) }
  1000.times { |i| s = (s + i) % 65521 }
  Integer.class_eval { alias_method :+, :plus }
  s
end

def errors(n)
  s = 0
  rows = [{ x: 1 }, nil, [1], 'x']
  n.times do |i|
    s += begin
      rows[i % 5].fetch(:x)
    rescue NoMethodError, TypeError => e
      e.class.name.size
    ensure
      s += 1
    end
    s += catch(:out) { throw :out, 2 if i.odd?; 1 }
  end
  dive = ->(k) { dive.(k + 1) + 1 }
  deep = 0
  2.times { begin; dive.(0); rescue SystemStackError; deep += 1; end }
  [s, deep].inspect
end

def garbage(n)
  kept = {}
  n.times do |i|
    o = [i, "k#{i % 3000}", { deep: i }]
    kept[o[1]] = o
    kept.delete("k#{i * 7 % 3000}") if i % 3 == 0
    GC.compact if GC.respond_to?(:compact) && i % 100_000 == 99_999
  end
  [kept.values.sum { |o| o[2][:deep] }, kept.size].inspect
end

def threads
  total = 0
  lock = Mutex.new
  sums = 4.times.map do |k|
    Thread.new do
      s = 0
      20_000.times { |i| s = (s * 31 + i ^ k) & 0xffffff; lock.synchronize { total += 1 } if i % 10 == 0 }
      s
    end
  end.map(&:value)
  fiber = Fiber.new { 1000.times { |i| Fiber.yield i }; -1 }
  [total, sums, 1001.times.sum { fiber.resume }].inspect
end

def evals(n)
  (1..n).sum { |i| eval("->(a) { s = #{i}; 200.times { |k| s = (s * 3 + a + k) % 65521 }; s }").(i) }
end

puts "ints #{ints(600_000)}"
puts "floats #{floats(300_000)}"
puts "shapes #{shapes(200_000)}"
puts "redefined #{redefined(100_000)}"
puts "errors #{errors(60_000)}"
puts "garbage #{garbage(200_000)}"
puts "threads #{threads}"
puts "evals #{evals(300)}"
