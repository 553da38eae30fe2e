#!/bin/sh
# What loader, firmware and kernel would have left, where the agent looks for it. Before systemd and not by options of
# nspawn, which mounts /proc and /sys after everything it was asked to bind.
set -eu
mount --bind /rig/cmdline /proc/cmdline
if [ -d /rig/efivars ]; then
    mount -t tmpfs -o mode=755 tmpfs /sys/firmware
    mkdir -p /sys/firmware/efi/efivars
    mount --bind /rig/efivars /sys/firmware/efi/efivars
fi
# What a story wants to happen by then.
if [ -e /rig/before ]; then
    . /rig/before
fi
# In a container systemd takes its own command line for the kernel's.
read -r words </proc/cmdline
init=${words#init=}
init=${init%% *}
case $(readlink "$init") in
*/lastgood) exec "$init" $words ;;
esac
exec /usr/lib/systemd/systemd $words
