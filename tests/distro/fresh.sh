#!/bin/bash
# Does to machines that have nothing what the README tells newcomers and administrators to do.
#
#   tests/distro/fresh.sh [--keep] [SUITE...]      as root; stable and testing if none is named
#
# For each suite of Debian, debootstrap makes two minimal systems. One is given Rust (the toolchain that
# `rustc` is here, read-only) and make, and runs source.sh: the README's commands, and `make deb`. The other
# gets the packages that this made, and runs package.sh: install, start, reload, upgrade, purge. Both see
# processes of their own alone, which end with them; nothing on this machine is changed but target/distro.
# Registries are reached as from here: proxies and certificates are passed on.
#
# It takes about half an hour a suite on two cores, and 6 GB while it runs. --keep leaves the systems in
# target/distro/SUITE, to look at them.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$PWD/target/distro
keep=
[ "${1:-}" != --keep ] || { keep=yes; shift; }
case "${1:-}" in -*) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 2 ;; esac
[ "$(id -u)" = 0 ] || { echo "fresh.sh: chroot and mount need root" >&2; exit 1; }
command -v debootstrap >/dev/null || apt-get install -qy --no-install-recommends debootstrap
toolchain=$(rustc --print sysroot)
authorities=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}

# inside ROOT COMMAND... runs a command in a system as if it were a machine of its own.
inside() {
    local root=$1
    shift
    # shellcheck disable=SC2016 # That shell shall expand it.
    unshare --mount --pid --fork --kill-child bash -euc '
        root=$1; toolchain=$2; shift 2
        mount --make-rprivate /
        mount -t proc proc "$root/proc"
        mount --rbind /sys "$root/sys"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs -o mode=755 run "$root/run"
        mount -t tmpfs -o mode=1777 tmp "$root/tmp"
        if [ -d "$root/opt/rust" ]; then
            mount --bind "$toolchain" "$root/opt/rust"
            mount -o remount,bind,ro "$root/opt/rust"
        fi
        # Not exec: this shell is the first process of that system, and takes leave of the last ones.
        env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
            PATH=/opt/rust/bin:/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            SSL_CERT_FILE=/opt/authorities.pem PIP_CERT=/opt/authorities.pem CARGO_HTTP_CAINFO=/opt/authorities.pem \
            ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
            chroot "$root" "$@"
    ' inside "$root" "$toolchain" "$@"
}

# system ROOT BASE makes a system.
system() {
    rm -rf --one-file-system "$1"
    cp -a "$2" "$1"
    cp /etc/resolv.conf "$1/etc/resolv.conf"
    cp "$authorities" "$1/opt/authorities.pem"
    cp tests/distro/*.sh "$1/opt/"
    # A mirror that has fallen behind is not what is tried here.
    echo 'Acquire::Check-Valid-Until "false";' >"$1/etc/apt/apt.conf.d/00mirror"
}

one() {
    local suite=$1 place=$work/$1
    mkdir -p "$place"
    if [ ! -e "$place/base/done" ]; then
        rm -rf --one-file-system "$place/base"
        debootstrap --variant=minbase "$suite" "$place/base"
        touch "$place/base/done"
    fi

    system "$place/source" "$place/base"
    mkdir "$place/source/opt/rust" "$place/source/root/trackalert"
    git archive HEAD | tar -x -C "$place/source/root/trackalert"
    inside "$place/source" /opt/source.sh

    system "$place/package" "$place/base"
    mkdir "$place/package/opt/packages"
    cp "$place"/source/root/packages/*.deb "$place/package/opt/packages/"
    inside "$place/package" /opt/package.sh

    [ -n "$keep" ] || rm -rf --one-file-system "$place/source" "$place/package"
    echo "fresh.sh: $suite passed"
}

[ $# -gt 0 ] || set -- stable testing
for suite; do
    one "$suite"
done
