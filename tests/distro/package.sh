#!/bin/bash
# What an administrator does with the Debian package, on a minimal system that has neither Rust nor a
# service manager: install, start in each way, reload, upgrade, purge; and, where Debian has it, come from
# weakforced-trackalert. fresh.sh runs it in a system of its own, with two versions in /opt/packages.
set -euo pipefail

config=/etc/wforce/trackalert.conf
state=/var/lib/trackalert
first=$(echo /opt/packages/trackalert_*-1_*.deb)
second=$(echo /opt/packages/trackalert_*-2_*.deb)
report='{"login":"joe@example.com","remote":"192.0.2.1","success":true}'

say() { echo "package.sh: $*"; }
fail() { say "$*" >&2; exit 1; }

# wait_for WHAT COMMAND... until the command succeeds, for a minute at most.
wait_for() {
    local what=$1 end=$((SECONDS + 60))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "waited in vain for $what"
        sleep 0.1
    done
}

password() { sed -n 's/^setWebserverPassword("\(.*\)")$/\1/p' $config; }
answers() { curl -sf -u "wforce:$(password)" http://127.0.0.1:8084/command/stats; }
silent() { ! curl -s -o /dev/null http://127.0.0.1:8084/; }
sends() { [ "$(curl -s -u "wforce:$(password)" -d "$report" http://127.0.0.1:8084/command/report)" = '{"status":"ok"}' ]; }
has_stat() { curl -s -u "wforce:$(password)" http://127.0.0.1:8084/metrics | grep -q "metric=\"$1\""; }
console() { trackalert -e "$1"; }
install_package() { apt-get install -qy --no-install-recommends "$1"; }

# Everything on the system but what apt and dpkg keep for themselves, and who users are.
files() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /opt \
        -o -path /var/cache -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/log \) -prune \
        -o -print | grep -v -E '^/etc/((passwd|group|g?shadow|sub[ug]id)-?|\.pwd\.lock|ld\.so\.cache|rc.\.d)$' | sort
}

# A system without systemd starts services by their scripts, in the order of their headers.
apt-get update -q
apt-get install -qy --no-install-recommends curl sysvinit-utils procps
# What the package needs stays when it goes.
dpkg-deb -f "$first" Depends | tr ',' '\n' | sed 's/|.*//; s/(.*//; s/:any//' |
    xargs apt-get install -qy --no-install-recommends
# Without this file invoke-rc.d starts nothing where no init runs.
printf '#!/bin/sh\nexit 0\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
files >/tmp/before

say "install"
install_package "$first"
[ "$(stat -c '%a %U:%G' $config)" = "640 root:trackalert" ] || fail "$config: $(stat -c '%a %U:%G' $config)"
[ "$(stat -c '%a %U:%G' $state)" = "700 trackalert:trackalert" ] || fail "$state: $(stat -c '%a %U:%G' $state)"
[ "$(password | wc -c)" -gt 20 ] || fail "no password of its own"
[ "$(grep -c '^setKey("[A-Za-z0-9+/=]\{44\}")' $config)" = 1 ] || fail "no key"
trackalert -t || fail "the configuration is bad"
wait_for "the package to start it" answers
[ "$(ps -o user= -C trackalert)" = "trackalert" ] || fail "it runs as $(ps -o user= -C trackalert)"
sends || fail "no report taken"

say "the init script"
service trackalert status || fail "status of what runs: $?"
echo 'addCustomStat("changed")' >>$config
service trackalert reload || fail "reload: $?"
wait_for "the new configuration" has_stat changed
console 'showVersion()' | grep -q "$(dpkg-deb -f "$first" Version | sed 's/-.*//')" || fail "no console"
echo 'nonsense(' >>$config
if service trackalert restart; then fail "a broken configuration was taken"; fi
answers >/dev/null || fail "a broken configuration has stopped it"
sed -i '$d' $config
service trackalert restart || fail "restart: $?"
wait_for "it to answer again" answers
service trackalert stop || fail "stop: $?"
silent || fail "it answers still"
code=0; service trackalert status || code=$?
[ $code = 3 ] || fail "status of what is stopped: $code"

as_user() { setpriv --reuid trackalert --regid trackalert --init-groups env STATE_DIRECTORY=$state "$@"; }
say "-s"
# The function in the background would be a shell in between, which the signals would go to.
setpriv --reuid trackalert --regid trackalert --init-groups env STATE_DIRECTORY=$state trackalert -s >/tmp/log 2>&1 &
pid=$!
wait_for "it to answer" answers
sends || fail "no report taken"
kill -HUP $pid
wait_for "the reload" grep -q -i reload /tmp/log
kill $pid
wait $pid || fail "it ended with $?"
say "-d"
as_user trackalert -d -p $state/pid || fail "-d: $?"
answers >/dev/null || fail "-d has come back before it answers"
pid=$(cat $state/pid)
kill "$pid"
wait_for "its end" silent
wait_for "the pid file to go" test ! -e $state/pid

say "upgrade"
service trackalert start
wait_for "it to answer" answers
before=$(sha256sum $config $state/reports.db* | grep -v -- '-\(wal\|shm\)')
old=$(pidof trackalert)
install_package "$second"
wait_for "the new version" answers
[ "$(sha256sum $config)" = "$(echo "$before" | head -n 1)" ] || fail "the configuration was changed"
[ "$(pidof trackalert)" != "$old" ] || fail "the old program still runs"
[ "$(console "reportStore():profile('joe@example.com').days")" = 1 ] || fail "the store has forgotten"

say "remove and purge"
apt-get remove -qy trackalert
silent || fail "it answers still"
[ -e $config ] || fail "removed the configuration"
[ -e $state/reports.db ] || fail "removed the store"
apt-get purge -qy trackalert
files >/tmp/after
diff /tmp/before /tmp/after || fail "purged, but something is left or gone"

if [ -n "$(apt-cache madison weakforced-trackalert)" ]; then
    say "from weakforced-trackalert"
    # Its daemon is not started here: the same script would find a way, but it has none of these.
    apt-get install -qy --no-install-recommends weakforced-trackalert
    before=$(sha256sum $config)
    install_package "$first"
    ! dpkg -s weakforced-trackalert 2>/dev/null | grep -q '^Status: install ok installed' || fail "both are installed"
    [ "$(sha256sum $config)" = "$before" ] || fail "its configuration was changed"
    as_user trackalert -t -C $config || fail "its configuration is not understood"
    say "and back"
    apt-get install -qy --no-install-recommends weakforced-trackalert
    [ "$(sha256sum $config)" = "$before" ] || fail "its configuration was changed"
    setpriv --reuid wforce --regid wforce --init-groups cat $config >/dev/null || fail "it can't read its configuration"
fi
say "passed"
