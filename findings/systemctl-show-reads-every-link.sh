#!/bin/sh
# `systemctl show -p ActiveState` of one unit that is not in memory makes systemd read every link in the directory of units,
# twice.
#
# Versions: systemd 252.39-1~deb12u2, strace 6.1-0.1 (Debian 12).
# Behaviour: systemctl asks for all properties of the unit, and prints the one that was wanted. Two of them, UnitFileState and
#   UnitFilePreset, say whether the unit is enabled. For each systemd goes through the whole directory, and reads where every
#   link in it leads. Nothing of it is kept, because a unit that is not in memory is forgotten after the answer: the next
#   question costs as much. Of a unit in memory the two are kept, and no link is read.
# Why it surprises: the work grows with the number of all other units, and not with what was asked. Where each unit is a link
#   (NixOS: hundreds) and a script asks about each of many that are down (oneshots of timers), it is quadratic; and PID 1
#   answers nobody else meanwhile.
# A way round: ask for the single property by D-Bus (`busctl get-property`), as `systemctl is-active` does.
# Fails if that changes. Needs apt, and root for a namespace of mounts and processes; touches nothing outside.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

version=252.39-1~deb12u2
apt-get download -qq "systemd=$version" "libsystemd-shared=$version" strace=6.1-0.1 libunwind8=1.6.2-3 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done

count=100
mkdir units store
for number in $(seq $count); do
    mkdir "store/$number"
    cat > "store/$number/u$number.service" <<'UNIT'
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
UNIT
    ln -s "$work/store/$number/u$number.service" units/
done
printf '[Unit]\n' > units/default.target

# A manager as users have it, by itself: it insists on a machine that was booted by systemd, and on a directory of its own.
cat > inside.sh <<'SH'
set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user
mkdir -m 700 /run/user/0
export XDG_RUNTIME_DIR=/run/user/0 SYSTEMD_UNIT_PATH="$PWD/units"
libraries=$PWD/root/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH="$libraries/systemd:$libraries"
root/lib/systemd/systemd --user > manager.log 2>&1 &
manager=$!
systemctl() { root/bin/systemctl --user "$@"; }
tries=0
until [ -S /run/user/0/systemd/private ] && systemctl is-system-running > /dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat manager.log; exit 1; }
    sleep 0.1
done
systemctl --version | head -n 1
traced() { # where to, what
    out=$1; shift; : > strace.log
    root/usr/bin/strace -o "$out" -e trace=readlinkat -p "$manager" 2> strace.log &
    strace=$!
    until grep -q attached strace.log; do sleep 0.1; done
    "$@" > /dev/null
    kill "$strace"
    wait "$strace" 2> /dev/null || :
}
systemctl start u1.service
systemctl show --property=ActiveState u1.service > /dev/null
traced loaded systemctl show --property=ActiveState u1.service
traced unloaded systemctl show --property=ActiveState u2.service
traced again systemctl show --property=ActiveState u2.service
traced single systemctl is-active u2.service || :
kill "$manager"
SH
unshare --mount --pid --fork --mount-proc sh inside.sh

failed=0
expect() { # what, wanted, found
    if [ "$2" = "$3" ]; then echo "as before: $1: $3"; else echo "CHANGED: $1: $3, was $2"; failed=1; fi
}
links() { grep -c '"u[0-9]*\.service"' "$1" || :; }
expect "links of $count units read to show one that is in memory" 0 "$(links loaded)"
expect "links read to show one that is not" $((2 * count)) "$(links unloaded)"
expect "links read to show it once more" $((2 * count)) "$(links again)"
expect "links read for is-active" 0 "$(links single)"
exit $failed
