# What apt runs for packages that boot the distribution, on a boot partition that is a directory.
# $1: an empty directory, $2: a release's tree, $3: what is on /boot, $4: the kernel's command line, $5: what to run.
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"
root=$1/root
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
printf '%s\n' "$4" >"$1/cmdline"
mount --bind "$1/cmdline" "$root/proc/cmdline"
# bootctl wants a file system of its own there.
mount -t tmpfs tmpfs "$root/boot"
cp -a "$3/." "$root/boot/"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
# As dpkg does.
export DPKG_MAINTSCRIPT_PACKAGE=systemd-boot DPKG_MAINTSCRIPT_NAME=postinst
SYSTEMD_RELAX_ESP_CHECKS=1 SYSTEMD_RELAX_XBOOTLDR_CHECKS=1 chroot "$root" sh -euc "$5"
find "$3" -mindepth 1 -delete
cp -a "$root/boot/." "$3/"
