#!/bin/bash
# What a newcomer does, on a minimal Debian to which only Rust and make were added: the first commands of
# the README as they are written there, and `make check`. Then packages are built, of this version and of
# one that stands for the next. fresh.sh runs it in a system of its own.
set -euo pipefail
cd /root/trackalert

say() { echo "source.sh: $*"; }
fail() { say "$*" >&2; exit 1; }

# block N prints the Nth shell block of the README.
block() { awk -v wanted="$1" '/^```sh/ { number++; inside = number == wanted; next } /^```/ { inside = 0 } inside' README.md; }

apt-get update -q
apt-get install -qy --no-install-recommends make

run=$(block 1)
[ "$run" = "make run" ] || fail "the README's first command is: $run"
say "make run"
setsid bash -c "$run" >run.log 2>&1 &
group=$!
end=$((SECONDS + 1800))
until grep -q "ready" run.log; do
    kill -0 $group 2>/dev/null || { tail -n 40 run.log; fail "make run has ended"; }
    [ $SECONDS -lt $end ] || { tail -n 40 run.log; fail "not ready in half an hour"; }
    sleep 1
done
say "ready after $SECONDS s"
answer=$(bash -c "$(block 2)")
[ "$answer" = '{"status":"ok"}' ] || fail "the README's first report was answered: $answer"
until grep -q 'login: login="joe@example.com"' run.log; do
    [ $SECONDS -lt $end ] || { tail -n 40 run.log; fail "the policy has not logged the report"; }
    sleep 0.1
done
bash -c "$(block 3)" >/dev/null
until grep -q 'dry-run alert: .*rule="password_spray"' run.log; do
    [ $SECONDS -lt $end ] || { tail -n 40 run.log; fail "no first alert"; }
    sleep 0.1
done
kill -TERM -- -$group
wait $group || true
say "the first report and the first alert are as the README says"

say "make check"
before=$SECONDS
make check >check.log 2>&1 || { tail -n 100 check.log; fail "make check failed"; }
grep -h "^test result" check.log
say "make check took $((SECONDS - before)) s"

say "make deb"
mkdir -p /root/packages
make deb >deb.log 2>&1 || { tail -n 40 deb.log; fail "make deb failed"; }
cp target/debian/*.deb /root/packages/
make deb DEB_REVISION=2 >deb.log 2>&1 || { tail -n 40 deb.log; fail "make deb DEB_REVISION=2 failed"; }
cp target/debian/*-2_*.deb /root/packages/
ls -l /root/packages
