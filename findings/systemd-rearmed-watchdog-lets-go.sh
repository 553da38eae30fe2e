#!/bin/sh
# A hardware watchdog that systemd disarms and arms again no longer resets the machine when PID 1 dies.
#
# Versions: systemd 252.39-1~deb12u2, Linux 6.1.172-1 (Debian 12, cloud kernel, softdog), QEMU without KVM.
# Behaviour: armed once, PID 1 holds the device open, and whoever kills PID 1 has the kernel say "watchdog did not stop!":
#   it goes on counting, and resets the machine. Disarmed and armed again (RuntimeWatchdogUSec= by D-Bus to 0 and back, and
#   likewise daemon-reexec) systemd logs the same lines, sysfs says `active`, and PID 1 feeds it. But when PID 1 dies the
#   device just stops, and the machine stays as it is for ever.
# Why: to disarm it, systemd asks the driver to stop and then writes the "magic" V and closes. The kernel's core notes the V
#   as leave to stop at the next close, and takes that leave back only in a close of a device that still counts, or by a
#   write of something else. By then the device has stopped already, and systemd feeds it by ioctl and never writes. So the
#   leave outlives the close, the open after it, and PID 1. Bit 0x100 of `status` in sysfs shows it, and nothing else does.
# Why it surprises: the watchdog is there for just this death, and all that one would look at says that it is armed.
# A way round: while it is disarmed, open the device, write V and close it: it counts then, so the leave is taken back.
# Fails if that changes. Needs apt, root for mmdebstrap, and some five minutes; touches nothing outside.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

apt-get install -qq --no-install-recommends mmdebstrap qemu-system-x86 cpio >/dev/null 2>&1
sources=$(grep -ls bookworm /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources || :)
mmdebstrap --quiet --variant=essential \
    --include=systemd=252.39-1~deb12u2,systemd-sysv=252.39-1~deb12u2,dbus,kmod,udev=252.39-1~deb12u2 \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists "$1"/var/cache' \
    bookworm root $sources
mkdir kernel
(cd kernel && apt-get download -qq linux-image-6.1.0-48-cloud-amd64=6.1.172-1 >/dev/null 2>&1 && dpkg-deb -x ./*.deb .)
release=$(ls kernel/lib/modules)
drivers=lib/modules/$release/kernel/drivers/watchdog
mkdir -p "root/$drivers"
cp "kernel/$drivers/watchdog.ko" "kernel/$drivers/softdog.ko" "root/$drivers/"
ln -sf sbin/init root/init
# None is taken for a first boot, which asks questions.
echo 0123456789abcdef0123456789abcdef > root/etc/machine-id

cat > root/probe <<'PROBE'
#!/bin/sh
dog=/sys/class/watchdog/watchdog0
manager="org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager RuntimeWatchdogUSec t"
look() {
    leave=no
    [ $(($(cat $dog/status) & 0x100)) = 0 ] || leave=yes
    echo "PROBE $1: $(cat $dog/state), leave to stop: $leave" > /dev/console
}
trap 'echo o > /proc/sysrq-trigger' EXIT
for module in watchdog softdog; do insmod "/lib/modules/$(uname -r)/kernel/drivers/watchdog/$module.ko"; done
busctl set-property $manager 60000000
look "armed once"
if grep -q again /proc/cmdline; then
    busctl set-property $manager 0
    busctl set-property $manager 60000000
    look "armed again"
fi
kill -SEGV 1
# Until PID 1 has let go of the device, or the kernel has said that it goes on.
for turn in $(seq 600); do
    grep -q inactive $dog/state && break
    dmesg | grep -q 'watchdog did not stop' && break
    sleep 0.1
done
look "PID 1 is dead"
PROBE
chmod +x root/probe
cat > root/etc/systemd/system/probe.service <<'UNIT'
[Unit]
Requires=dbus.socket
After=dbus.socket
[Service]
ExecStart=/probe
UNIT
mkdir -p root/etc/systemd/system/probe.target.wants
printf '[Unit]\nRequires=probe.service\n' > root/etc/systemd/system/probe.target
(cd root && find . -xdev -print0 | cpio --null --quiet -o -H newc) > initrd
rm -rf root

boot() {
    timeout 400 qemu-system-x86_64 -m 1536 -accel tcg -nographic -no-reboot -net none \
        -kernel "kernel/boot/vmlinuz-$release" -initrd initrd \
        -append "console=ttyS0 quiet no_timer_check systemd.unit=probe.target $1" < /dev/null > "$1.log" 2>&1 || :
    tr -d '\r' < "$1.log" | sed -n 's/.*PROBE/  /p'
}

echo "armed once:"
once=$(boot once)
echo "$once"
echo "disarmed, and armed again:"
again=$(boot again)
echo "$again"
expected_once='   armed once: active, leave to stop: no
   PID 1 is dead: active, leave to stop: no'
expected_again='   armed once: active, leave to stop: no
   armed again: active, leave to stop: yes
   PID 1 is dead: inactive, leave to stop: no'
if [ "$once" = "$expected_once" ] && [ "$again" = "$expected_again" ]; then
    echo "as described: armed again, it stops when PID 1 dies"
else
    echo "CHANGED: this is not what is described above" >&2
    exit 1
fi
