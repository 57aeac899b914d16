// SPDX-FileCopyrightText: The Graft authors
// SPDX-License-Identifier: Apache-2.0
//
// Core.java - what HotSpot compiles: C1, C2, on-stack replacement, uncommon traps, safepoints, collectors, threads

import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.stream.*;

public class Core {
    static int fnv(int h, int v) { return (h ^ v) * 16777619; }

    static String ints() {
        int h = 1, x = 12345;
        long l = 88172645463325252L;
        for (int i = 0; i < 4_000_000; i++) {
            x = x * 1103515245 + 12345;
            l ^= l << 13; l ^= l >>> 7; l ^= l << 17;
            h = fnv(h, (x >>> i) ^ (x % 1000) ^ (x / 7) ^ (int) (l % 77) ^ Integer.rotateLeft(x, i) ^ Long.bitCount(l));
        }
        return h + " " + l;
    }

    static String doubles() {
        double[] a = new double[1024];
        float f = 0;
        double s = 0;
        for (int i = 0; i < 2_000_000; i++) {
            int k = i & 1023;
            a[k] = Math.sqrt(i) / 2 + a[(k * 7) & 1023] / 3 - Math.floor(a[k]);
            f += (float) a[k] * 0.25f;
            s += Math.max(a[k], Math.abs(-a[(k + 1) & 1023])) + Math.fma(a[k], 0.5, 1) + (int) a[k];
        }
        return s + " " + f + " " + (long) 1e30 + " " + (int) Double.NaN + " " + 5.5 % 2.1;
    }

    // Vectorised by C2.
    static String arrays() {
        int n = 4099;
        int[] a = new int[n], b = new int[n];
        byte[] c = new byte[n];
        long h = 0;
        for (int round = 0; round < 400; round++) {
            for (int i = 0; i < n; i++) a[i] = b[i] * 3 + i ^ round;
            for (int i = 0; i < n; i++) { b[i] = a[i] - (b[i] >> 3); c[i] = (byte) (a[i] + c[i]); }
            int s = 0;
            for (int i = 0; i < n; i++) s += b[i] ^ c[i];
            System.arraycopy(a, 0, a, 1, n - 1);
            h = h * 31 + s + Arrays.hashCode(c) + (Arrays.equals(a, b) ? 1 : 0);
        }
        return Long.toString(h);
    }

    interface Shape { int area(int s); }
    static final Shape[] shapes = { s -> s * s, s -> s * s * 355 / 113, s -> -s, s -> { if (s % 97 == 0) throw new IllegalStateException(); return s; } };
    // One receiver, two, many: inlined, then not any more.
    static String virtuals() {
        int h = 7, caught = 0;
        for (int i = 0; i < 2_000_000; i++) {
            int kinds = 1 + i / 500_000;
            try { h = fnv(h, shapes[i % kinds].area(i % 1000)); } catch (IllegalStateException e) { caught++; }
        }
        return h + " " + caught;
    }

    // Null checks are faults, bounds and divisions traps of compiled code.
    static String traps() {
        int[][] rows = new int[16][];
        for (int i = 0; i < 15; i++) rows[i] = new int[i + 1];
        int nulls = 0, bounds = 0, zero = 0, casts = 0, stores = 0, deep = 0;
        Object[] things = { "a", 1, "b", 2L };
        Object[] texts = new String[4];
        for (int i = 0; i < 400_000; i++) {
            try {
                rows[(i * 7) & 15][i % 20] += 10 / (i % 1001);
                String s = (String) things[i > 300_000 ? i & 3 : 0];
                texts[i & 3] = i % 5000 == 4999 ? (Object) i : s;
            } catch (NullPointerException e) { nulls++;
            } catch (ArrayIndexOutOfBoundsException e) { bounds++;
            } catch (ArithmeticException e) { zero++;
            } catch (ClassCastException e) { casts++;
            } catch (ArrayStoreException e) { stores++; }
        }
        for (int i = 0; i < 4; i++) try { deep += dive(1); } catch (StackOverflowError e) { deep++; }
        return nulls + " " + bounds + " " + zero + " " + casts + " " + stores + " " + deep;
    }
    static int dive(int n) { return dive(n + 1) + 1; }

    static String garbage() {
        Map<String, int[]> kept = new HashMap<>();
        int h = 3;
        for (int i = 0; i < 600_000; i++) {
            int[] o = new int[10 + i % 50];
            o[5] = i;
            kept.put("k" + i % 4000, o);
            if (i % 3 == 0) kept.remove("k" + i * 7L % 4000);
            if (i % 200_000 == 0) System.gc();
        }
        for (var e : new TreeMap<>(kept).entrySet()) h = fnv(h, e.getValue()[5] + e.getKey().length());
        return h + " " + kept.size();
    }

    static String strings() {
        StringBuilder b = new StringBuilder();
        int h = 5;
        for (int i = 0; i < 200_000; i++) {
            b.append((char) ('a' + i * 7 % 26)).append(i % 10);
            if (b.length() > 2000) {
                String s = b.toString();
                h = fnv(h, s.toUpperCase().hashCode() + s.indexOf("z9y") + s.replace("e", "__").length() + s.compareTo(s.substring(1)));
                b.setLength(0);
            }
        }
        return h + " " + new java.math.BigInteger("123456789").pow(300).mod(new java.math.BigInteger("1000000007"));
    }

    static String streams() {
        return IntStream.range(0, 300_000).mapToObj(i -> i * 31 % 1009).collect(Collectors.groupingBy(i -> i % 17, TreeMap::new, Collectors.summingInt(i -> i))).hashCode()
            + " " + IntStream.range(0, 200_000).parallel().mapToLong(i -> (long) i * i % 1013).sum();
    }

    static synchronized void bump(int[] a) { a[0]++; }
    static volatile boolean stop;
    static String threads() throws Exception {
        int[] plain = new int[1];
        AtomicInteger atomic = new AtomicInteger();
        LongAdder adder = new LongAdder();
        ConcurrentHashMap<Integer, Integer> map = new ConcurrentHashMap<>();
        long[] spins = new long[1];
        Thread spinner = new Thread(() -> { while (!stop) spins[0]++; }); // a loop with nothing but a safepoint poll
        spinner.start();
        Thread[] t = new Thread[4];
        for (int k = 0; k < t.length; k++) {
            (t[k] = new Thread(() -> {
                for (int i = 0; i < 60_000; i++) {
                    bump(plain);
                    atomic.incrementAndGet();
                    adder.add(i);
                    map.merge(i % 100, 1, Integer::sum);
                    if (i % 20_000 == 0) System.gc();
                }
            })).start();
        }
        for (Thread x : t) x.join();
        stop = true;
        spinner.join();
        BlockingQueue<Integer> q = new ArrayBlockingQueue<>(3);
        Thread maker = new Thread(() -> { try { for (int i = 0; i < 3000; i++) q.put(i); } catch (InterruptedException e) { throw new Error(e); } });
        maker.start();
        int s = 0;
        for (int i = 0; i < 3000; i++) s = s * 31 + q.take();
        return plain[0] + " " + atomic + " " + adder + " " + map.values().stream().mapToInt(i -> i).sum() + " " + s + " " + (spins[0] > 0);
    }

    static String digests() throws Exception {
        byte[] data = new byte[300_000];
        for (int i = 0; i < data.length; i++) data[i] = (byte) (i * 31 >> 3);
        StringBuilder b = new StringBuilder();
        for (String name : new String[] { "MD5", "SHA-1", "SHA-256", "SHA-512", "SHA3-256" }) {
            byte[] sum = data;
            for (int i = 0; i < 8; i++) { var md = java.security.MessageDigest.getInstance(name); md.update(sum); sum = md.digest(data); }
            b.append(HexFormat.of().formatHex(sum, 0, 4)).append(' ');
        }
        var crc = new java.util.zip.CRC32();
        var crcc = new java.util.zip.CRC32C();
        for (int i = 0; i < 20; i++) { crc.update(data); crcc.update(data, i, data.length - i); }
        var aes = javax.crypto.Cipher.getInstance("AES/GCM/NoPadding");
        aes.init(1, new javax.crypto.spec.SecretKeySpec(data, 0, 16, "AES"), new javax.crypto.spec.GCMParameterSpec(128, data, 0, 12));
        return b + Long.toHexString(crc.getValue()) + " " + Long.toHexString(crcc.getValue()) + " " + Arrays.hashCode(aes.doFinal(data))
            + " " + Base64.getEncoder().encodeToString(data).hashCode();
    }

    public static void main(String[] args) throws Exception {
        System.out.println("ints " + ints());
        System.out.println("doubles " + doubles());
        System.out.println("arrays " + arrays());
        System.out.println("virtuals " + virtuals());
        System.out.println("traps " + traps());
        System.out.println("garbage " + garbage());
        System.out.println("strings " + strings());
        System.out.println("streams " + streams());
        System.out.println("threads " + threads());
        System.out.println("digests " + digests());
    }
}
