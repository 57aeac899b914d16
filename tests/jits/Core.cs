// SPDX-FileCopyrightText: The Graft authors
// SPDX-License-Identifier: Apache-2.0
//
// Core.cs - Mono's compiler: methods, generics, faults that become exceptions, its collector, threads

using System;
using System.Collections.Generic;
using System.Linq;
using System.Reflection.Emit;
using System.Threading;

static class Core {
    static int Fnv(int h, int v) { unchecked { return (h ^ v) * 16777619; } }

    static string Ints() {
        int h = 1, x = 12345;
        ulong l = 88172645463325252;
        for (int i = 0; i < 3000000; i++) unchecked {
            x = x * 1103515245 + 12345;
            l ^= l << 13; l ^= l >> 7; l ^= l << 17;
            h = Fnv(h, (x >> (i & 31)) ^ (x % 1000) ^ (x / 7) ^ (int) (l % 77));
        }
        return h + " " + l;
    }

    static string Doubles() {
        var a = new double[1024];
        double s = 0;
        for (int i = 0; i < 1000000; i++) {
            int k = i & 1023;
            a[k] = Math.Sqrt(i) / 2 + a[(k * 7) & 1023] / 3 - Math.Floor(a[k] / 7);
            s = s / 2 + a[k] + (float) a[(k + 1) & 1023];
        }
        return BitConverter.DoubleToInt64Bits(s) + " " + BitConverter.DoubleToInt64Bits(a[17]);
    }

    class Node { public int V; public Node Next; public virtual int Area(int s) { return s; } }
    class Square : Node { public override int Area(int s) { return s * s; } }
    class Late : Node { public override int Area(int s) { if (s % 97 == 0) throw new InvalidOperationException(); return -s; } }

    static string Traps() {
        int nulls = 0, bounds = 0, zero = 0, casts = 0, over = 0, late = 0, h = 7;
        Node[] nodes = { new Node { V = 1 }, null, new Square(), new Late() };
        object[] things = { "a", 1 };
        for (int i = 0; i < 60000; i++) {
            try {
                h = Fnv(h, nodes[i % 5].Area(i % 1000) + nodes[i % 5].V);
                h = Fnv(h, 100 / (i % 13));
                h = Fnv(h, ((string) things[i % 7 == 6 ? 1 : 0]).Length);
                checked { h = Fnv(h, (i % 17 == 16 ? int.MaxValue : i) + 5); }
            } catch (NullReferenceException) { nulls++; } catch (IndexOutOfRangeException) { bounds++; } catch (DivideByZeroException) { zero++; }
            catch (InvalidCastException) { casts++; } catch (OverflowException) { over++; } catch (InvalidOperationException) { late++; }
        }
        return String.Join(" ", nulls, bounds, zero, casts, over, late, h);
    }

    static string Garbage() {
        var kept = new Dictionary<string, Node>();
        Node list = null;
        for (int i = 0; i < 300000; i++) {
            kept["k" + i % 3000] = new Node { V = i, Next = list };
            if (i % 100 == 0) list = null; else list = new Square { V = i, Next = list };
            if (i % 3 == 0) kept.Remove("k" + (long) i * 7 % 3000);
            if (i % 100000 == 99999) GC.Collect();
        }
        return kept.Values.Sum(n => (long) n.V) + " " + kept.Count;
    }

    static string Generics() {
        var s = new SortedDictionary<int, List<long>>();
        for (int i = 0; i < 100000; i++) {
            List<long> l;
            if (!s.TryGetValue(i * 31 % 101, out l)) s[i * 31 % 101] = l = new List<long>();
            l.Add(i);
        }
        return s.Select(p => p.Key * (p.Value.Sum() % 1009)).Sum() + " " + Enumerable.Range(0, 200000).Where(i => i % 3 == 1).Select(i => (decimal) i / 3).Sum();
    }

    static volatile bool stop;
    static string Threads() {
        int atomic = 0, plain = 0;
        long spins = 0;
        var mutex = new object();
        var spinner = new Thread(() => { while (!stop) spins++; });
        spinner.Start();
        var t = Enumerable.Range(0, 4).Select(k => new Thread(() => {
            for (int i = 0; i < 30000; i++) {
                Interlocked.Increment(ref atomic);
                lock (mutex) plain++;
                if (i % 10000 == 0) GC.Collect();
            }
        })).ToArray();
        foreach (var x in t) x.Start();
        foreach (var x in t) x.Join();
        stop = true;
        spinner.Join();
        return atomic + " " + plain + " " + (spins > 0);
    }

    // Code made, run, and thrown away.
    static string Emitted() {
        int h = 1;
        for (int i = 0; i < 200; i++) {
            var m = new DynamicMethod("f" + i, typeof(int), new[] { typeof(int) });
            var g = m.GetILGenerator();
            g.Emit(OpCodes.Ldarg_0);
            for (int k = 0; k < i % 30 + 1; k++) { g.Emit(OpCodes.Ldc_I4, k * 31 + i); g.Emit(k % 2 == 0 ? OpCodes.Mul : OpCodes.Add); }
            g.Emit(OpCodes.Ret);
            var f = (Func<int, int>) m.CreateDelegate(typeof(Func<int, int>));
            for (int k = 0; k < 100; k++) h = Fnv(h, f(k));
        }
        return h.ToString();
    }

    static void Main() {
        Console.WriteLine("ints " + Ints());
        Console.WriteLine("doubles " + Doubles());
        Console.WriteLine("traps " + Traps());
        Console.WriteLine("garbage " + Garbage());
        Console.WriteLine("generics " + Generics());
        Console.WriteLine("threads " + Threads());
        Console.WriteLine("emitted " + Emitted());
    }
}
