#!/bin/sh
# A daemon-reload by anybody ends a start that EXTEND_TIMEOUT_USEC= has carried beyond TimeoutStartSec=.
#
# Versions: systemd 257.13-1~deb13u1 (Debian 13), in systemd-nspawn. 252.39 (Debian 12) and 262.1 do the same.
# Behaviour: a service of Type=notify with TimeoutStartSec=5s says at once that it needs a minute more. systemd lets it go on,
#   as documented. Then somebody else runs `systemctl daemon-reload`, seven seconds after the start. systemd takes
#   the limit from the unit anew, counts it from the start of the unit, finds that it is over, and terminates the service in
#   the same second: "start operation timed out". One that says the same again and again escapes if it says so while systemd
#   reloads. After a reload three seconds after the start it is still there a second later.
# Why: how far a limit was put off is kept in the timer alone. A reload, like daemon-reexec (systemd's issue 43000), writes
#   the state of units down and reads it again, and that is not among it.
# Why it surprises: whoever installs a package reloads systemd, and nothing about that service has changed. The longer the
#   start, the more likely it is: a database that replays its log, a model that is loaded.
# A way round: a TimeoutStartSec= longer than the longest start, and a watch of one's own for a start that hangs.
# Fails if that changes. Needs apt, root for mmdebstrap and systemd-nspawn, and two minutes; touches nothing outside.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

apt-get install -qq --no-install-recommends mmdebstrap systemd-container >/dev/null 2>&1
mkdir sources
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    if grep -qs bookworm "$file"; then sed 's/bookworm/trixie/g' "$file" > "sources/${file##*/}"; fi
done
version=257.13-1~deb13u1
mmdebstrap --quiet --variant=essential --include="systemd=$version,systemd-sysv=$version,dbus" \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists "$1"/var/cache' trixie root sources/*
# None is taken for a first boot, which asks questions.
echo 0123456789abcdef0123456789abcdef > root/etc/machine-id

unit() { printf '%s\n' "$2" > "root/etc/systemd/system/$1"; }
unit slow@.service '[Service]
Type=notify
NotifyAccess=all
TimeoutStartSec=5s
ExecStart=/bin/sh -c "systemd-notify EXTEND_TIMEOUT_USEC=60000000; sleep 60"'
unit probe.service '[Service]
Type=oneshot
ExecStart=/probe
StandardOutput=file:/seen'
unit probe.target '[Unit]
Requires=multi-user.target probe.service'
cat > root/probe <<'PROBE'
#!/bin/sh
for after in 3 7; do
    systemctl --no-block start slow@$after.service
    sleep $after
    before=$(systemctl show --value --property=ActiveState slow@$after.service)
    systemctl daemon-reload
    # Long enough to be ended, and too short for another limit to be over.
    sleep 1
    echo "$after s after the start: $before, and after a reload" \
        "$(systemctl show --value --property=ActiveState,Result slow@$after.service | grep . | paste -sd' ')"
    systemctl kill --signal=KILL slow@$after.service
done
systemctl --no-block poweroff
PROBE
chmod +x root/probe
timeout 300 systemd-nspawn --quiet --register=no --keep-unit --directory=root --boot systemd.unit=probe.target \
    < /dev/null > log 2>&1 || :
cat root/seen
expected='3 s after the start: activating, and after a reload success activating
7 s after the start: activating, and after a reload timeout failed'
if [ "$(cat root/seen)" = "$expected" ]; then
    echo "as described: the reload has ended what had been given more time"
else
    echo "CHANGED: this is not what is described above" >&2
    exit 1
fi
