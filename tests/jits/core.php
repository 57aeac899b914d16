<?php
// SPDX-FileCopyrightText: The Graft authors
// SPDX-License-Identifier: Apache-2.0
//
// core.php - opcache's JIT, tracing and by function: types that change, exceptions, PCRE's own compiler

function ints(int $n): int {
    $h = 1; $x = 12345;
    for ($i = 0; $i < $n; $i++) {
        $x = ($x * 1103515245 + 12345) & 0x7fffffff;
        $h = (($h ^ ($x >> ($i & 15)) ^ $x % 1000 ^ intdiv($x, 7)) * 16777619) & 0xffffffff;
    }
    return $h;
}

function floats(int $n): string {
    $a = array_fill(0, 1024, 0.0); $s = 0.0;
    for ($i = 0; $i < $n; $i++) {
        $k = $i & 1023;
        $a[$k] = sqrt($i) / 2 + $a[$k * 7 & 1023] / 3 - floor($a[$k]);
        $s = $s / 2 + $a[$k];
    }
    return sprintf('%.12e %.12e', $s, $a[17]);
}

class Shape { function __construct(public $s) {} function area() { return $this->s; } }
class Square extends Shape { function area() { return $this->s * $this->s; } }
class Late extends Shape { function area() { if ((int) $this->s % 97 == 0) throw new DomainException('late'); return -$this->s; } }

function guards(int $n): string {
    $h = 7; $caught = 0; $kinds = ['Shape', 'Square', 'Late'];
    for ($i = 0; $i < $n; $i++) {
        $v = $i % 1000 == 5 ? $i + 0.5 : ($i % 777 == 3 ? "$i" : $i);
        try {
            $h = ($h * 31 + (int) (new $kinds[$i % ($i < $n >> 1 ? 2 : 3)]($v))->area()) & 0xffffffff;
        } catch (DomainException $e) { $caught++; }
    }
    return "$h $caught";
}

function overflow(): string {
    $x = PHP_INT_MAX - 50000; $y = 1;
    for ($i = 0; $i < 100000; $i++) { $x += 1; $y = $y * 3 % 1000003; }
    return var_export($x, true) . " $y " . gettype($x);
}

function errors(int $n): int {
    $s = 0; $rows = [['x' => 1], null, 'abc', [2]];
    for ($i = 0; $i < $n; $i++) {
        try {
            $s += intdiv(10, $i % 11) + ($rows[$i & 3]['x'] ?? 7);
            $s += match ($i % 5) { 0 => 1, 1 => 2, 2 => 3 };
        } catch (DivisionByZeroError) { $s += 100; } catch (UnhandledMatchError) { $s += 1000; } finally { $s++; }
    }
    return $s;
}

function garbage(int $n): string {
    $kept = [];
    for ($i = 0; $i < $n; $i++) {
        $o = new stdClass; $o->self = $o; $o->i = $i;
        $kept['k' . $i % 3000] = $o;
        if ($i % 3 == 0) unset($kept['k' . $i * 7 % 3000]);
    }
    return array_sum(array_map(fn($o) => $o->i, $kept)) . ' ' . count($kept);
}

function strings(int $n): string {
    $h = 5; $s = '';
    for ($i = 0; $i < $n; $i++) {
        $s .= chr(97 + $i * 7 % 26);
        if (strlen($s) == 1000) {
            $h = ($h * 31 + strlen(preg_replace('/(?:[aeiou]|x{1,2})(?=[b-y])/', '--', $s)) + preg_match_all('/(\w)(\w)(?!\1)\w+?z/', $s) + crc32($s)) & 0xffffffff;
            $s = '';
        }
    }
    return $h . ' ' . hash('sha256', (string) $h);
}

function naturals(int $n) { for ($i = 0; $i < $n; $i++) yield $i => $i * 2; }
function generators(int $n): int { $s = 0; foreach (naturals($n) as $k => $v) $s = ($s * 31 + $k + $v) & 0xffffff; return $s; }

function evals(int $n): int {
    $s = 0;
    for ($i = 0; $i < $n; $i++) {
        $f = eval("return function (\$a) { \$s = $i; for (\$k = 0; \$k < 300; \$k++) \$s = (\$s * 3 + \$a + \$k) % 65521; return \$s; };");
        $s += $f($i);
    }
    return $s;
}

echo 'ints ', ints(2000000), "\n", 'floats ', floats(1000000), "\n", 'guards ', guards(300000), "\n", 'overflow ', overflow(), "\n", 'errors ', errors(300000),
    "\n", 'garbage ', garbage(200000), "\n", 'strings ', strings(300000), "\n", 'generators ', generators(300000), "\n", 'evals ', evals(300), "\n";
