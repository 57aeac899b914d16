#!/bin/sh
# SPDX-FileCopyrightText: The Graft authors
# SPDX-License-Identifier: Apache-2.0
#
# check.sh - exercises a booted guest and says what came out
#
# Runs inside the guest. Prints one line 'CHECK name ok' or 'CHECK name FAIL why'
# for each item, 'CHECK name skip why' for what this configuration does not
# have, lines 'INFO ...' for the reader, and 'CHECK done' at the end.
#
# From the kernel command line:
#   graft.quick=1   a tenth of the data, 100 forks instead of 500
#   graft.smp=N     the number of CPUs there should be

# shellcheck disable=SC2154,SC3043  # busybox sh has 'local'; init exports graft_*

ok() { echo "CHECK $1 ok"; }
fail() { echo "CHECK $1 FAIL ${2:-}"; }
skipped() { echo "CHECK $1 skip ${2:-}"; }

# equal NAME GOT WANTED
equal() {
    if [ "$2" = "$3" ]; then ok "$1"; else fail "$1" "got '$2', not '$3'"; fi
}

if [ "${graft_quick:-0}" = 1 ]; then
    copies=9 forks=100
    # 9 times 'seq 1 100000'
    data_sum=aafacd3509fd4614104030057b9c310168be3194df04382d944385d58b7d2006
else
    copies=85 forks=500
    # 85 times 'seq 1 100000': 50056075 bytes
    data_sum=5c51f5eaf8b78dae353ac771446383135de9c862b54884d73693a337c618b4e3
fi

check_machine() {
    echo "INFO uname $(uname -a)"
    grep -E '^(processor|BogoMIPS|Features|CPU |isa|mmu)' /proc/cpuinfo | sed 's/^/INFO cpuinfo /'
    case $(uname -m) in
    riscv64)
        ok uname
        if grep -q '^isa.*: rv64imafdc_.*zba_zbb' /proc/cpuinfo && grep -q '^mmu.*: sv57' /proc/cpuinfo; then
            ok cpuinfo
        else
            fail cpuinfo "no rv64imafdc with zba and zbb, and sv57"
        fi
        ;;
    *)
        equal uname "$(uname -m)" aarch64
        if grep -q '^CPU architecture: 8' /proc/cpuinfo && grep -q '^Features.*fp asimd' /proc/cpuinfo; then
            ok cpuinfo
        else
            fail cpuinfo "no 'CPU architecture: 8' with fp and asimd"
        fi
        ;;
    esac
    equal cpus "$(grep -c '^processor' /proc/cpuinfo)" "${graft_smp:-1}"
    if [ "$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)" -gt 200000 ]; then ok memory; else fail memory; fi
}

check_clock() {
    local before after
    before=$(cut -d. -f1 /proc/uptime)
    sleep 2
    after=$(cut -d. -f1 /proc/uptime)
    if [ $((after - before)) -ge 2 ] && [ $((after - before)) -le 60 ]; then
        ok clock
    else
        fail clock "sleep 2 took $((after - before)) s"
    fi
    # The PL031 gives the date: any year from 2024 on will do.
    if [ "$(date +%Y)" -ge 2024 ]; then ok date; else fail date "$(date)"; fi
}

check_disk() {
    if [ ! -b /dev/vda ]; then
        skipped disk "no /dev/vda"
        return
    fi
    mkdir -p /mnt
    if ! mount -t ext4 /dev/vda /mnt; then
        fail disk "mount"
        return
    fi
    equal disk-read "$(sha256sum </mnt/numbers.txt | cut -d' ' -f1)" d2d7c0abc3eb76d91b0b5a2702e92a9f2908269c9c1b3604bdfe2521c71d6274
    if (cd /mnt && sha256sum -c SHA256SUMS >/tmp/sums 2>&1); then ok disk-sums; else fail disk-sums "$(cat /tmp/sums)"; fi
    check_disk_write
    umount /mnt
}

check_disk_write() {
    local sum
    if ! touch /mnt/probe 2>/dev/null; then
        skipped disk-write "read-only disk"
        return
    fi
    dd if=/dev/urandom of=/mnt/probe bs=64k count=64 2>/dev/null
    sum=$(sha256sum </mnt/probe)
    sync
    umount /mnt
    echo 3 >/proc/sys/vm/drop_caches
    mount -t ext4 /dev/vda /mnt || { fail disk-write remount; return; }
    equal disk-write "$(sha256sum </mnt/probe)" "$sum"
    rm /mnt/probe
}

check_gzip() {
    local i=0
    seq 1 100000 >/tmp/part
    while [ $i -lt $copies ]; do
        cat /tmp/part
        i=$((i + 1))
    done >/tmp/data
    equal sha256 "$(sha256sum </tmp/data | cut -d' ' -f1)" "$data_sum"
    gzip -c /tmp/data >/tmp/data.gz
    equal gzip "$(gunzip -c /tmp/data.gz | sha256sum | cut -d' ' -f1)" "$data_sum"
    rm -f /tmp/part /tmp/data /tmp/data.gz
}

check_forks() {
    local i=0 sum=0
    while [ $i -lt $forks ]; do
        i=$((i + 1))
        # The substitution forks, and so checks that the child's output comes back.
        # shellcheck disable=SC2116
        sum=$((sum + $(echo $i)))
    done
    equal forks "$sum" $((forks * (forks + 1) / 2))
}

check_net() {
    if [ ! -d /sys/class/net/eth0 ]; then
        skipped net "no eth0"
        return
    fi
    ifconfig lo up
    ifconfig eth0 up
    if timeout 30 udhcpc -q -n -t 10 -T 1 -i eth0 -s /scripts/udhcpc >/tmp/udhcpc 2>&1 </dev/null; then
        ok net-dhcp
    else
        fail net-dhcp "$(tail -n 1 /tmp/udhcpc)"
    fi
    # passt lets nothing but its host answer, if that may be pinged at all.
    # shellcheck disable=SC2154  # of the command line
    [ "$graft_net" != passt ] || { skipped net-ping "--net $graft_net"; return; }
    if timeout 30 ping -c 3 -W 5 10.0.2.2 >/dev/null 2>&1; then ok net-ping; else fail net-ping; fi
    local left=20 # seconds until the router has told eth0 its network
    while ! grep -q '^fec0.* eth0$' /proc/net/if_inet6 && [ $left -gt 0 ]; do
        sleep 1
        left=$((left - 1))
    done
    if timeout 30 ping -6 -c 3 -W 5 fec0::2 >/tmp/ping6 2>&1; then ok net-ping6; else fail net-ping6 "$(tail -n 1 /tmp/ping6)"; fi
}

check_rng() {
    local name
    name=$(cat /sys/class/misc/hw_random/rng_current 2>/dev/null)
    case $name in
    virtio*)
        if [ "$(dd if=/dev/hwrng bs=16 count=1 2>/dev/null | wc -c)" = 16 ]; then ok rng; else fail rng; fi
        ;;
    *) skipped rng "no virtio rng" ;;
    esac
}

check_machine
check_clock
check_disk
check_gzip
check_forks
check_net
check_rng
echo "INFO interrupts"
sed 's/^/INFO /' /proc/interrupts
echo "CHECK done"
