# shellcheck shell=bash
# SPDX-FileCopyrightText: The Graft authors
# SPDX-License-Identifier: Apache-2.0
#
# lib-linux.sh - boot a Linux guest and judge its console log. Source it after lib.sh.
#
# The variables below describe the guest; guest_command turns them into a
# command line for Graft or, to see whether an expectation is right, for QEMU.

# shellcheck disable=SC2034  # read here and by the scripts that source this file
{
    GRAFT=${GRAFT:-$RELEASE/graft}
    PEER=${PEER:-graft}
    KERNEL='' INITRD='' APPEND='' MEMORY=1G SMP=1 DRIVE='' NET=none VM='' MMU='' GIC='' CPU='' VIRTIO=''
}

# guest_is arm64|riscv64: sets GUEST, and what goes with it: CONSOLE, the kernel's name of the serial port, and EXPECTED.
guest_is() {
    case $1 in
    arm64) CONSOLE=ttyAMA0 EXPECTED=expected ;;
    riscv64) CONSOLE=ttyS0 EXPECTED=expected-riscv64 ;;
    *) usage_error "unknown guest '$1'" ;;
    esac
    GUEST=$1
}

# guest_command: sets the array CMD.
guest_command() {
    case $PEER in
    graft) graft_command ;;
    qemu) qemu_command ;;
    *) usage_error "unknown peer '$PEER' (graft or qemu)" ;;
    esac
}

graft_command() {
    CMD=("$GRAFT" run "$KERNEL" --initrd "$INITRD" --append "$APPEND" --memory "$MEMORY")
    [ "$SMP" = 1 ] || CMD+=(--smp "$SMP")
    [ -z "$DRIVE" ] || CMD+=(--drive "$DRIVE")
    [ "$NET" = none ] || CMD+=(--net "$NET")
    [ -z "$VM" ] || CMD+=(--vm "$VM")
    [ -z "$MMU" ] || CMD+=(--mmu "$MMU")
    [ -z "$GIC" ] || CMD+=(--gic "$GIC")
    [ -z "$CPU" ] || CMD+=(--cpu "$CPU")
    [ -z "$VIRTIO" ] || CMD+=(--virtio-mmio "$VIRTIO")
}

qemu_command() {
    case $GUEST in
    arm64) CMD=("${QEMU:-$BUILD/qemu/bin/qemu-system-aarch64}" -M "virt,gic-version=${GIC:-3}" -cpu "${CPU:-cortex-a72}") ;;
    riscv64) CMD=("${QEMU:-$BUILD/qemu/bin/qemu-system-riscv64}" -M virt -cpu "${CPU:-rv64}") ;;
    esac
    CMD+=(-smp "$SMP" -m "$MEMORY" -accel tcg -nodefaults -display none -serial mon:stdio -no-reboot
        -device virtio-rng-device
        -kernel "$KERNEL" -initrd "$INITRD" -append "$APPEND")
    [ "$VIRTIO" = legacy ] || CMD+=(-global virtio-mmio.force-legacy=false)
    [ -z "$DRIVE" ] || CMD+=(-drive "file=$DRIVE,if=none,format=raw,id=disk0" -device "virtio-blk-device,drive=disk0")
    [ "$NET" = none ] || CMD+=(-netdev "user,id=net0" -device "virtio-net-device,netdev=net0")
}

guest_is arm64

# graft_place: "host none|pvm|hw, layout WHERE, strategy NAME", as graft info has it for this host and without options.
graft_place() {
    "$GRAFT" info | awk '
        { name = substr($0, 1, 14); gsub(/ /, "", name); if (name != "") key = name; rest = substr($0, 15) }
        key == "kvm" { split(rest, word, /[ :,]/); kind = word[1] }
        key == "layout" { layout = rest; sub(/:.*/, "", layout) }
        key == "strategies" && /\(default\)/ { split(rest, word, " "); strategy = word[1] }
        END { printf "host %s, layout %s, strategy %s\n", kind, layout, strategy }'
}

# Ends the script when this machine cannot run PEER; fetches QEMU if that is it.
require_peer() {
    case $PEER in
    graft)
        [ -x "$GRAFT" ] || die "no $GRAFT (build it first)"
        if [ "$VM" = kvm ] && ! kvm_usable; then skip "no usable /dev/kvm"; fi
        ;;
    qemu) "$GRAFT_ROOT/scripts/fetch-qemu" ;;
    *) usage_error "unknown peer '$PEER' (graft or qemu)" ;;
    esac
}

# run_logged LOG SECONDS: runs CMD without a terminal; its output goes to LOG
# and, with VERBOSE=1, to standard output as well. Returns its status; 124
# when it ran out of time.
run_logged() {
    local log=$1 seconds=$2 status=0
    mkdir -p "$(dirname "$log")"
    if [ "${VERBOSE:-0}" = 1 ]; then
        timeout -k 10 "$seconds" "${CMD[@]}" </dev/null 2>&1 | tr -d '\r' | tee "$log" || status=${PIPESTATUS[0]}
    else
        timeout -k 10 "$seconds" "${CMD[@]}" </dev/null 2>&1 | tr -d '\r' >"$log" || status=${PIPESTATUS[0]}
    fi
    return "$status"
}

# --- judging a log ----------------------------------------------------------

verdicts_failed=0

verdict() {
    if [ "$1" = 0 ]; then
        echo "PASS $2"
    else
        echo "FAIL $2"
        verdicts_failed=$((verdicts_failed + 1))
    fi
}

quote_ere() { printf '%s' "$1" | sed 's/[].+*?(){}^$|[]/\\&/g'; }

# The lines of tests/linux/$EXPECTED have to be there, in that order. @SMP@ and
# @VERSION@ stand for this guest's values.
judge_expected() {
    local log=$1 version=$2 pattern at=0 hit
    while IFS= read -r pattern; do
        case $pattern in '' | '#'*) continue ;; esac
        pattern=${pattern//@SMP@/$SMP}
        pattern=${pattern//@VERSION@/$(quote_ere "$version")}
        hit=$(tail -n "+$((at + 1))" "$log" | grep -anEm1 -- "$pattern" | cut -d: -f1 || true)
        if [ -n "$hit" ]; then
            at=$((at + hit))
            verdict 0 "console: $pattern"
        else
            verdict 1 "console: no line (or not in its place): $pattern"
        fi
    done <"$GRAFT_ROOT/tests/linux/$EXPECTED"
}

# No line may match one of tests/linux/forbidden.
judge_forbidden() {
    local log=$1 pattern bad=0
    while IFS= read -r pattern; do
        case $pattern in '' | '#'*) continue ;; esac
        if grep -anE -m 3 -- "$pattern" "$log"; then
            verdict 1 "console has: $pattern"
            bad=1
        fi
    done <"$GRAFT_ROOT/tests/linux/forbidden"
    [ $bad = 1 ] || verdict 0 "console: nothing that must not be there"
}

# Every item that check.sh has to report, and that it reported well.
judge_checks() {
    local log=$1 name line wanted=(uname cpuinfo cpus memory clock date sha256 gzip forks)
    [ -z "$DRIVE" ] || wanted+=(disk-read disk-sums disk-write)
    [ "$NET" = none ] || wanted+=(net-dhcp)
    [ "$NET" != user ] || wanted+=(net-ping net-ping6)
    for name in "${wanted[@]}"; do
        line=$(grep -aE "^CHECK $name " "$log" | tail -n 1 || true)
        case $line in
        "CHECK $name ok") verdict 0 "guest: $name" ;;
        "CHECK $name skip"*) verdict 1 "guest: $name was skipped" ;;
        '') verdict 1 "guest: $name (nothing reported)" ;;
        *) verdict 1 "guest: $name: ${line#CHECK "$name" FAIL}" ;;
        esac
    done
}

# judge LOG STATUS VERSION: prints PASS and FAIL lines; fails when there was a
# FAIL, and shows the end of the log then.
judge() {
    local log=$1 status=$2 version=$3
    case $status in
    0) verdict 0 "exit status 0" ;;
    124 | 137) verdict 1 "still running when time was up" ;;
    *) verdict 1 "exit status $status" ;;
    esac
    judge_expected "$log" "$version"
    judge_checks "$log"
    judge_forbidden "$log"
    if [ $verdicts_failed -gt 0 ]; then
        echo "--- the end of $log ---"
        tail -n 25 "$log"
        echo "---"
        echo "FAILED: $verdicts_failed"
        return 1
    fi
    echo "ALL PASS"
}
