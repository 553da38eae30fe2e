#!/bin/sh
# A oneshot that is stopped while it starts has failed: `systemctl stop`, and every shutdown, leaves it "failed", and its
# OnFailure= is started. The same program as any other kind of service ends well.
#
# Versions: systemd 252.39-1~deb12u2 (Debian 12).
# Behaviour: for a service systemd takes an end by SIGTERM for a clean one, because that is how it stops a daemon. For Type=oneshot it
#   does not: there only the exit status 0 is clean. It does not ask whether it has sent the signal itself. So the unit ends with
#   Result=signal, and is shown by `systemctl --failed`, until somebody starts it again.
# Why it surprises: whoever asks at a shutdown which units have failed finds each job that was under way, and cannot tell it from one
#   that died before, but by its result and signal. `OnFailure=` tells the operator of a failure that they have ordered. That the
#   program handles SIGTERM and ends with 0 helps, and nothing else does without taking every SIGTERM for success.
# A way round: `SuccessExitStatus=TERM`, where nobody else sends it; or compare Result=signal and ExecMainStatus=15.
# Fails if that changes. Needs apt, and root for a namespace of mounts and processes; touches nothing outside.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

version=252.39-1~deb12u2
apt-get download -qq "systemd=$version" "libsystemd-shared=$version" >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done

mkdir units
for kind in oneshot exec; do
    cat > "units/$kind.service" <<UNIT
[Unit]
DefaultDependencies=no
OnFailure=told-$kind.service
[Service]
Type=$kind
ExecStart=/bin/sleep infinity
UNIT
    printf '[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n' > "units/told-$kind.service"
done
sed 's/told-oneshot/told-taught/; s/^Type=.*/&\nSuccessExitStatus=TERM/' units/oneshot.service > units/taught.service
cp units/told-oneshot.service units/told-taught.service
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
for unit in oneshot exec taught; do
    systemctl start --no-block "$unit.service"
    tries=0
    until [ "$(systemctl show --property=MainPID --value "$unit.service")" != 0 ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || exit 1
        sleep 0.1
    done
    systemctl stop "$unit.service"
    # Whoever is told is started by a job of its own; a second answer of the manager comes after it.
    systemctl start default.target
    {
        systemctl show --property=ActiveState,Result --value "$unit.service" | tr '\n' ' '
        systemctl is-active "told-$unit.service" || :
    } > "$unit"
done
kill "$manager"
SH
unshare --mount --pid --fork --mount-proc sh inside.sh

failed=0
expect() { # what, wanted, found
    if [ "$2" = "$3" ]; then echo "as before: $1: $3"; else echo "CHANGED: $1: $3, was $2"; failed=1; fi
}
expect "a oneshot that is stopped while it starts" "signal failed active" "$(cat oneshot)"
expect "a service of another type" "success inactive inactive" "$(cat exec)"
expect "a oneshot with SuccessExitStatus=TERM" "success inactive inactive" "$(cat taught)"
exit $failed
