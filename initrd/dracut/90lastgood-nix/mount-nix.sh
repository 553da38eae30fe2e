#!/bin/sh
# After the root is mounted, before init= is looked for in it.
command -v getarg >/dev/null || . /lib/dracut-lib.sh

nix=$(getarg lastgood.nix=)
if [ -n "$nix" ]; then
    nix=$(label_uuid_to_dev "$nix")
    fstype=$(getarg lastgood.nixfstype=)
    flags=$(getarg lastgood.nixflags=)
    # To be written to, unlike the root: nobody remounts it later.
    if ! mount -t "${fstype:-auto}" -o "rw${flags:+,$flags}" "$nix" "$NEWROOT/nix"; then
        # Not `die`, which halts the machine: the loader is to try the next one.
        warn "lastgood: cannot mount $nix at /nix"
        systemctl --no-block --force reboot || reboot -f -d -n
    fi
fi
