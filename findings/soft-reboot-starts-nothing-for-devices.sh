#!/bin/sh
# After a soft-reboot systemd starts none of the units that only a device wants.
#
# Versions: systemd 257.13-1~deb13u1 (Debian 13), Linux 6.1.172-1, QEMU without KVM.
# Behaviour: a udev rule gives a device TAG+="systemd" and ENV{SYSTEMD_WANTS}="wanted.service". The unit is started when the
#   device appears, as at every boot. `systemctl soft-reboot` stops it with all other units. The new user space has the
#   device as active from its first moment on, because the kernel and udev's database are the old ones; so for systemd it
#   does not appear, and the unit that it wants is not started. systemd goes on to `running`, and nothing is failed.
# Why it surprises: the manual calls a soft-reboot a reboot of user space. What udev starts is user space, and some of it is
#   all that reaches a machine: a hypervisor's guest agent (qemu-guest-agent), an interface of ifupdown (ifup@.service).
# A way round: ask for it, as by `systemctl start` of what `systemctl show --property=Wants` says of the devices.
# Fails if that changes. Needs apt, root for mmdebstrap, and some five minutes; touches nothing outside.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

apt-get install -qq --no-install-recommends mmdebstrap qemu-system-x86 cpio >/dev/null 2>&1
mkdir sources kernel
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    if grep -qs bookworm "$file"; then sed 's/bookworm/trixie/g' "$file" > "sources/${file##*/}"; fi
done
version=257.13-1~deb13u1
mmdebstrap --quiet --variant=essential --include="systemd=$version,systemd-sysv=$version,udev=$version,dbus" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists "$1"/var/cache' \
    trixie root sources/*
(cd kernel && apt-get download -qq linux-image-6.1.0-48-cloud-amd64=6.1.172-1 >/dev/null 2>&1 && dpkg-deb -x ./*.deb .)
ln -sf sbin/init root/init
# None is taken for a first boot, which asks questions.
echo 0123456789abcdef0123456789abcdef > root/etc/machine-id

cat > root/etc/udev/rules.d/99-wants.rules <<'RULE'
SUBSYSTEM=="mem", KERNEL=="null", TAG+="systemd", ENV{SYSTEMD_WANTS}+="wanted.service"
RULE
cat > root/probe <<'PROBE'
#!/bin/sh
udevadm settle
# The job that a device asks for, if there is one, has ended then.
systemctl start --wait settled.service
count=$(systemctl show --value --property=SoftRebootsCount)
device=sys-devices-virtual-mem-null.device
wants=$(systemctl show --value --property=Wants $device)
echo "PROBE after $count soft-reboots: $device is $(systemctl is-active $device) and wants $wants," \
    "which is $(systemctl is-active wanted.service); failed: $(systemctl list-units --failed --quiet | wc -l)" > /dev/console
if [ "$count" = 0 ]; then systemctl --no-block soft-reboot; else systemctl --no-block --force --force poweroff; fi
PROBE
chmod +x root/probe
unit() { printf '%s\n' "$2" > "root/etc/systemd/system/$1"; }
unit wanted.service '[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true'
unit settled.service '[Unit]
After=wanted.service
[Service]
Type=oneshot
ExecStart=/bin/sleep 5'
unit probe.service '[Unit]
After=systemd-udev-trigger.service multi-user.target
Wants=systemd-udev-trigger.service
[Service]
ExecStart=/probe'
unit probe.target '[Unit]
Requires=multi-user.target probe.service'
(cd root && find . -xdev -print0 | cpio --null --quiet -o -H newc) > initrd
rm -rf root

timeout 900 qemu-system-x86_64 -m 2048 -accel tcg -nographic -no-reboot -net none \
    -kernel kernel/boot/vmlinuz-* -initrd initrd \
    -append "console=ttyS0 quiet no_timer_check systemd.unit=probe.target" < /dev/null > log 2>&1 || :
seen=$(tr -d '\r' < log | sed -n 's/.*PROBE //p')
echo "$seen"
expected='after 0 soft-reboots: sys-devices-virtual-mem-null.device is active and wants wanted.service, which is active; failed: 0
after 1 soft-reboots: sys-devices-virtual-mem-null.device is active and wants wanted.service, which is inactive; failed: 0'
if [ "$seen" = "$expected" ]; then
    echo "as described: the device is there, and what it wants is not"
else
    echo "CHANGED: this is not what is described above" >&2
    exit 1
fi
