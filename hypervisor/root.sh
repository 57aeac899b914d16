#!/bin/sh
# SPDX-FileCopyrightText: The Graft authors
# SPDX-License-Identifier: Apache-2.0
#
# root.sh - graft root: Debian roots for graft exec, made from packages. It is a part of the program graft (root.c).
#
# GRAFT is the program, CACHE its folder in the user's cache. A root is CACHE/roots/NAME: `tree` is what the guest sees, `kernel` has a
# kernel and its modules, `about` says what it was made from.
set -eu

usage() {
    cat <<'TEXT'
usage: graft root add NAME [--arch ARCH] [--suite SUITE] [--include PACKAGE[,PACKAGE]...]
       graft root list
       graft root rm NAME
       graft root shell NAME

Debian roots for 'graft exec --root NAME'. They are kept in $XDG_CACHE_HOME/graft
(default ~/.cache/graft) and made without root rights.

  add    downloads Debian's packages of priority required, those that --include
         names with what they need, and a kernel, and unpacks them. ARCH is arm64
         (default) or riscv64, SUITE bookworm or another of the mirror's (default:
         the first that has ARCH). The packages' own installation scripts are not run.
  list   name, processor, suite and size of each
  rm     removes one
  shell  starts a shell in one; unlike those of 'graft exec', its changes stay
TEXT
}

say() { printf 'graft: root: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}
wrong() {
    say "$* (try --help)"
    exit 2
}

need() { command -v "$1" >/dev/null || die "$1 is needed (Debian: package $2)"; }

check_name() {
    case $1 in
    '' | .* | *[!A-Za-z0-9._+-]*) wrong "'$1' is no name for a root: letters, digits and . _ + - only" ;;
    esac
}

have() {
    check_name "$1"
    [ -d "$CACHE/roots/$1" ] || die "there is no root '$1' (graft root list)"
}

# --- add ------------------------------------------------------------------------------------------------------
# The mirror that apt has here for Debian, whatever suite.
mirror() {
    # shellcheck disable=SC2016  # apt's own variables
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
        awk '($1 == "Debian" || NF == 2) && $NF == "main" && $(NF - 1) !~ /security/ { print $(NF - 1); exit }'
}

# apt_options DIR ARCH SUITE: a state of our own; the host's is not touched.
apt_options() {
    uri=${GRAFT_MIRROR:-$(mirror)}
    [ -n "$uri" ] || die "apt knows no Debian mirror here (GRAFT_MIRROR names one)"
    mkdir -p "$1/lists/partial" "$1/cache/archives/partial"
    : >>"$1/status"
    key=/usr/share/keyrings/debian-archive-keyring.gpg
    if [ -r $key ]; then key="[signed-by=$key] "; else key=''; fi
    echo "deb $key$uri $3 main" >"$1/sources.list"
    cat >"$1/apt.conf" <<TEXT
Dir::State "$1";
Dir::State::lists "$1/lists";
Dir::State::status "$1/status";
Dir::Cache "$1/cache";
Dir::Cache::archives "$1/cache/archives";
Dir::Etc::sourcelist "$1/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "$2";
#clear APT::Architectures;
APT::Architectures { "$2"; };
APT::Sandbox::User "$(id -un)";
APT::Get::List-Cleanup "false";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
TEXT
    export APT_CONFIG="$1/apt.conf"
}

quietly() {
    "$@" >"$work/log" 2>&1 || {
        tail -n 20 "$work/log" >&2
        die "$1 failed"
    }
}

unpack_packages() {
    mkdir -p "$work/tree/usr/bin" "$work/tree/usr/sbin" "$work/tree/usr/lib"
    for folder in bin sbin lib; do ln -s "usr/$folder" "$work/tree/$folder"; done
    for deb in "$1"/cache/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink --no-same-owner -C "$work/tree" \
            --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*'
        basename "$deb" .deb >>"$work/about"
    done
    rm -rf "$1"/cache/archives/*.deb
}

# What nothing works without, of all that installation scripts do.
finish_tree() {
    tree=$work/tree
    mkdir -p "$tree/proc" "$tree/sys" "$tree/dev" "$tree/run" "$tree/tmp" "$tree/root" "$tree/etc"
    chmod 1777 "$tree/tmp"
    for file in passwd group; do
        [ -e "$tree/etc/$file" ] || cp "$tree/usr/share/base-passwd/$file.master" "$tree/etc/$file"
    done
    [ -e "$tree/usr/bin/awk" ] || [ ! -e "$tree/usr/bin/mawk" ] || ln -s mawk "$tree/usr/bin/awk"
    for pair in cc:gcc c++:g++; do
        [ -e "$tree/usr/bin/${pair%:*}" ] || [ ! -e "$tree/usr/bin/${pair#*:}" ] || ln -s "${pair#*:}" "$tree/usr/bin/${pair%:*}"
    done
    if [ -d "$tree/usr/share/ca-certificates" ] && [ ! -e "$tree/etc/ssl/certs/ca-certificates.crt" ]; then
        mkdir -p "$tree/etc/ssl/certs"
        find "$tree/usr/share/ca-certificates" -name '*.crt' -exec cat {} + >"$tree/etc/ssl/certs/ca-certificates.crt"
    fi
    echo graft >"$tree/etc/hostname"
    echo '127.0.0.1 localhost graft' >"$tree/etc/hosts"
}

# Kernel and modules; most modules are for hardware that no guest has.
add_kernel() {
    package=$(apt-cache depends --important "linux-image-$2" | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    [ -n "$package" ] || die "no kernel for $2 in this suite"
    say "downloading $package"
    rm -rf "$1/kernel"
    mkdir -p "$1/kernel"
    (cd "$1/kernel" && quietly apt-get -q download "$package")
    dpkg-deb -x "$1"/kernel/*.deb "$1/kernel"
    modules=$1/kernel/usr/lib/modules
    [ -d "$modules" ] || modules=$1/kernel/lib/modules
    version=$(basename "$modules"/*)
    (cd "$modules/$version/kernel" &&
        rm -rf sound drivers/gpu drivers/media drivers/staging drivers/infiniband drivers/scsi drivers/iio drivers/usb drivers/hid \
            drivers/input drivers/mtd drivers/net/wireless drivers/net/ethernet)
    mkdir -p "$work/kernel/lib"
    mv "$modules" "$work/kernel/lib/modules"
    depmod -b "$work/kernel" "$version"
    mv "$work/kernel/lib/modules" "$work/kernel/modules"
    rmdir "$work/kernel/lib"
    mv "$1"/kernel/boot/vmlinu[xz]-"$version" "$work/kernel/vmlinuz-$version"
    rm -rf "$1/kernel"
}

add() {
    name=${1:-} suite='' arch=arm64 include=''
    [ $# -gt 0 ] || wrong "add: no NAME given"
    check_name "$name"
    shift
    while [ $# -gt 0 ]; do
        [ $# -ge 2 ] || wrong "add: $1 needs a value"
        case $1 in
        --suite) suite=$2 ;;
        --arch) arch=$2 ;;
        --include) include=$(echo "$2" | tr , ' ') ;;
        *) wrong "add: unknown option '$1'" ;;
        esac
        shift 2
    done
    case $arch in
    arm64) : "${suite:=bookworm}" ;;
    riscv64) : "${suite:=trixie}" ;;
    *) wrong "add: there are no guests of '$arch': arm64 or riscv64" ;;
    esac
    [ ! -e "$CACHE/roots/$name" ] || die "there is a root '$name' already"
    need apt-get apt
    need dpkg-deb dpkg
    PATH=$PATH:/sbin:/usr/sbin
    need depmod kmod
    mkdir -p "$CACHE/roots" "$CACHE/tmp"
    work=$(mktemp -d "$CACHE/tmp/root.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    state=$CACHE/apt/$suite-$arch
    apt_options "$state" "$arch" "$suite"
    printf '%s\n' "$arch $suite" >"$work/about"
    say "reading the package lists of $suite ($arch)"
    quietly apt-get -q update
    say "downloading the packages"
    # shellcheck disable=SC2086  # words are what is wanted
    quietly apt-get -q install -y --no-install-recommends --download-only '?priority(required)' $include
    say "unpacking"
    unpack_packages "$state"
    finish_tree
    add_kernel "$state" "$arch"
    rm -f "$work/log"
    chmod 755 "$work"
    mv "$work" "$CACHE/roots/$name"
    say "$name is there: graft exec --root $name -- uname -m"
}

# --- the others -------------------------------------------------------------------------------------------------
list() {
    [ $# = 0 ] || wrong "list: unexpected '$1'"
    for root in "$CACHE"/roots/*/; do
        [ -f "$root/about" ] || continue
        printf '%-20s %-18s %s\n' "$(basename "$root")" "$(head -n 1 "$root/about")" "$(du -sh "$root" | cut -f 1)"
    done
}

main() {
    action=${1:-}
    [ $# = 0 ] || shift
    case $action in
    add) add "$@" ;;
    list) list "$@" ;;
    rm)
        [ $# = 1 ] || wrong "rm: give one NAME"
        have "$1"
        rm -rf "${CACHE:?}/roots/$1"
        ;;
    shell)
        [ $# = 1 ] || wrong "shell: give one NAME"
        have "$1"
        exec "$GRAFT" exec --root "$1" --write-root -- /bin/sh -l
        ;;
    -h | --help | help) usage ;;
    '') wrong "add, list, rm or shell?" ;;
    *) wrong "unknown action '$action'" ;;
    esac
}

main "$@"
