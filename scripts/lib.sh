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

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "need root for: $*"
    fi
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
    apt-get "${APT[@]}" update >"$state/update.log" 2>&1 ||
        { cat "$state/update.log" >&2; die "apt-get update ($name) failed"; }
    touch "$state/updated"
}

# apt_download DIR PACKAGE...: the .deb files of just these packages into DIR.
apt_download() {
    local dir=$1
    shift
    mkdir -p "$dir"
    (cd "$dir" && apt-get "${APT[@]}" download "$@") >"$dir/download.log" 2>&1 ||
        { cat "$dir/download.log" >&2; die "download of $* failed"; }
}

# --- CMake ------------------------------------------------------------------

# Configures and builds the release tree.
build_release() {
    cmake -S "$GRAFT_ROOT" -B "$RELEASE" -G Ninja -DCMAKE_BUILD_TYPE=Release >"$BUILD/cmake.log" 2>&1 ||
        { cat "$BUILD/cmake.log" >&2; die "cmake failed"; }
    cmake --build "$RELEASE"
}
