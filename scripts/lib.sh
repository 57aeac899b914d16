# shellcheck shell=bash
# SPDX-FileCopyrightText: The Graft authors
# SPDX-License-Identifier: Apache-2.0
#
# lib.sh - functions shared by the scripts in this folder. Source it, never run it:
#
#     . "$(dirname "$0")/lib.sh"
#
# It sets GRAFT_ROOT (the source tree), BUILD (all generated files) and
# RELEASE (the CMake build folder that the scripts use).

set -euo pipefail

GRAFT_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${GRAFT_BUILD:-$GRAFT_ROOT/build}
# shellcheck disable=SC2034  # used by the scripts that source this file
RELEASE=$BUILD/release

# --- messages ---------------------------------------------------------------

prog=$(basename "$0")

say() { printf '%s: %s\n' "$prog" "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# A mistake in how the script was called: one line, status 2.
usage_error() {
    printf '%s: %s (see %s --help)\n' "$prog" "$*" "$prog" >&2
    exit 2
}

# The comment at the head of the script, from its third line on, is its help text.
show_help() {
    awk '/^# SPDX/ || NR == 1 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$0" |
        sed '1{/^$/d}'
}

# Test cannot run on this machine: CTest shows status 77 as skipped.
skip() {
    printf 'SKIP: %s\n' "$*"
    exit 77
}

# --- small helpers ----------------------------------------------------------

# become_root: makes as_root possible, asking for a password if there is somebody to answer. Fails if it cannot be had.
become_root() {
    [ "$(id -u)" != 0 ] || return 0
    command -v sudo >/dev/null || return 1
    sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# progress WHAT LOG COMMAND...: runs the command with its output in LOG; shows LOG's end if it fails. Standard error says
# what is being done, from 5 seconds on also for how long, and what LOG's last line is.
progress() {
    local what=$1 log=$2 ticker status=0 start=$SECONDS
    shift 2
    mkdir -p "$(dirname "$log")"
    say "$what"
    tick "$what" "$log" 9>&- & # not with with_lock's lock
    ticker=$!
    # shellcheck disable=SC2064  # this one's, now
    trap "kill $ticker 2>/dev/null" EXIT
    "$@" >"$log" 2>&1 || status=$?
    kill $ticker
    wait $ticker 2>/dev/null || true
    trap - EXIT
    if [ "$status" != 0 ]; then
        printf %s "$clear_line" >&2
        tail -n 40 "$log" >&2
        say "$what: failed with status $status; log $log"
    elif [ $((SECONDS - start)) -ge 5 ]; then
        printf '%s%s: %s: done after %d s\n' "$clear_line" "$prog" "$what" $((SECONDS - start)) >&2
    fi
    return "$status"
}

# On a terminal the line is written over, again and again.
clear_line='' end_line='\n'
if [ -t 2 ]; then clear_line=$'\r\e[K' end_line=''; fi

tick() {
    local what=$1 log=$2 seconds=0 last
    # Its output is not ours: who waits for the end of that does not wait for this.
    while sleep 5 >/dev/null 2>&1; do
        seconds=$((seconds + 5))
        last=$(tail -n 1 "$log" | tr '\r' '\n' | tail -n 1 | sed -E 's/\x1b\[[0-9;]*[A-Za-z]//g' | cut -c1-60)
        # shellcheck disable=SC2059
        printf "%s%s: %s: %d s, %s$end_line" "$clear_line" "$prog" "$what" $seconds "$last" >&2
    done
}

kvm_usable() { [ -r /dev/kvm ] && [ -w /dev/kvm ]; }

# need_value OPTION ARGUMENTS-LEFT: an option that takes a value has one.
need_value() { [ "$2" -ge 2 ] || usage_error "$1 needs a value"; }

# with_lock NAME COMMAND...: one caller at a time, so that tests run in
# parallel do not download the same thing twice.
with_lock() {
    local name=$1
    shift
    mkdir -p "$BUILD"
    (
        flock 9
        "$@"
    ) 9>"$BUILD/.lock-$name"
}

# --- Debian packages from a private apt state -------------------------------

apt_etc=/etc/apt

# Prints "URI KEYRING" of the Debian mirror that this host uses, KEYRING being
# "-" when none is named. GRAFT_MIRROR overrides the URI.
host_mirror() {
    local suite found
    # shellcheck disable=SC1091
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
    if [ -n "${GRAFT_MIRROR:-}" ]; then
        echo "$GRAFT_MIRROR $(default_keyring)"
        return
    fi
    found=$(mirror_from_deb822 "$suite" | head -n 1)
    [ -n "$found" ] || found=$(mirror_from_one_line "$suite" | head -n 1)
    [ -n "$found" ] || die "no Debian mirror for '$suite' in /etc/apt (set GRAFT_MIRROR=URI)"
    case $found in
    *" -") found="${found% -} $(default_keyring)" ;;
    esac
    echo "$found"
}

default_keyring() {
    local f=/usr/share/keyrings/debian-archive-keyring.gpg
    if [ -r "$f" ]; then echo "$f"; else echo -; fi
}

mirror_from_deb822() {
    local f
    for f in "$apt_etc"/sources.list.d/*.sources; do
        [ -r "$f" ] || continue
        grep -v '^#' "$f" | awk -v want="$1" '
            function finish(   i, n, s, ok) {
                n = split(suites, s, " "); ok = 0
                for (i = 1; i <= n; i++) if (s[i] == want) ok = 1
                if (ok && types ~ /(^| )deb( |$)/ && components ~ /main/ && enabled != "no") {
                    split(uris, s, " ")
                    print s[1], (key ~ /^\// ? key : "-")
                }
                suites = types = uris = components = key = enabled = ""
            }
            /^[ \t]*$/ { finish(); next }
            /^[^ \t]+:/ {
                name = tolower($1); value = $0; sub(/^[^:]*:[ \t]*/, "", value)
                if (name == "types:") types = value
                if (name == "uris:") uris = value
                if (name == "suites:") suites = value
                if (name == "components:") components = value
                if (name == "signed-by:") key = value
                if (name == "enabled:") enabled = tolower(value)
            }
            END { finish() }'
    done
}

mirror_from_one_line() {
    cat "$apt_etc"/sources.list "$apt_etc"/sources.list.d/*.list 2>/dev/null | awk -v want="$1" '
        $1 == "deb" {
            key = "-"; i = 2
            if ($2 ~ /^\[/) {
                for (; i <= NF; i++) {
                    word = $i; gsub(/[][]/, "", word)
                    if (word ~ /^signed-by=\//) { key = word; sub(/^signed-by=/, "", key) }
                    if ($i ~ /\]$/) { i++; break }
                }
            }
            if ($(i + 1) == want && $0 ~ / main( |$)/) print $i, key
        }'
}

# private_apt NAME ARCH SUITE...: sets the array APT to the options that make
# apt-get and apt-cache use a state of our own below build/apt/NAME. The
# host's package state, sources and architecture list are not touched.
private_apt() {
    local name=$1 arch=$2 state mirror uri key suite
    shift 2
    state=$BUILD/apt/$name
    mkdir -p "$state"/lists/partial "$state"/cache/archives/partial
    : >>"$state/status"
    mirror=$(host_mirror)
    uri=${mirror% *}
    key=${mirror##* }
    for suite; do
        if [ "$key" = - ]; then
            echo "deb $uri $suite main"
        else
            echo "deb [signed-by=$key] $uri $suite main"
        fi
    done >"$state/sources.list"
    APT=(-q -o "Dir::State=$state" -o "Dir::State::lists=$state/lists"
        -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache"
        -o "Dir::Cache::archives=$state/cache/archives"
        -o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
        -o "APT::Architecture=$arch" -o "APT::Architectures=$arch"
        -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none -o Acquire::Retries=3
        -o APT::Sandbox::User=root -o Debug::NoLocking=true)
    # Lists of the last twelve hours will do.
    if [ -n "$(find "$state" -maxdepth 1 -name updated -mmin -720)" ]; then return; fi
    progress "reading the package lists of ${*: -1} ($arch)" "$state/update.log" apt-get "${APT[@]}" update ||
        die "apt-get update ($name) failed"
    touch "$state/updated"
}

# apt_download DIR PACKAGE...: the .deb files of just these packages into DIR.
apt_download() {
    local dir=$1
    shift
    mkdir -p "$dir"
    progress "downloading $*" "$dir/download.log" in_folder "$dir" apt-get "${APT[@]}" download "$@" ||
        die "download of $* failed"
}

in_folder() {
    (cd "$1" && "${@:2}")
}

# apt_unpack DIR PACKAGE...: these packages and what they depend on, from private_apt's state, unpacked into DIR, unless it is there.
apt_unpack() {
    local dir=$1 deb archives
    shift
    if [ -e "$dir" ]; then return; fi
    progress "downloading Debian's $*" "$dir.log" apt-get "${APT[@]}" install -y --no-install-recommends --download-only "$@" ||
        die "download of $* failed"
    rm -rf "$dir.new"
    mkdir -p "$dir.new"
    archives=$(apt-config "${APT[@]}" shell at Dir::Cache::archives/d | sed "s/^at='\(.*\)'/\1/")
    for deb in "$archives"/*.deb; do dpkg-deb -x "$deb" "$dir.new"; done
    rm -f "$archives"/*.deb
    mv "$dir.new" "$dir"
}

# --- CMake ------------------------------------------------------------------

# build_release: configures and builds the release tree, tests and all.
build_release() {
    progress "configuring" "$BUILD/cmake.log" configure -DBUILD_TESTING=ON || die "cmake failed"
    cmake --build "$RELEASE"
}

# build_graft: the program alone, for which fewer packages will do. A tree that has been configured keeps its settings.
build_graft() {
    [ -e "$RELEASE/build.ninja" ] ||
        progress "configuring" "$BUILD/cmake.log" configure -DBUILD_TESTING=OFF || die "cmake failed"
    progress "building graft" "$BUILD/build.log" cmake --build "$RELEASE" --target graft || die "the build failed"
}

configure() { cmake -S "$GRAFT_ROOT" -B "$RELEASE" -G Ninja -DCMAKE_BUILD_TYPE=Release "$@"; }
