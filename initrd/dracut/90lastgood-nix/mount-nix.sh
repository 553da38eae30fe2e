#!/bin/sh
# After the root is mounted, before init= is looked for in it.
command -v getarg >/dev/null || . /lib/dracut-lib.sh

nix=$(getarg lastgood.nix=)
if [ -n "$nix" ]; then
    nix=$(label_uuid_to_dev "$nix")
    fstype=$(getarg lastgood.nixfstype=)
    flags=$(getarg lastgood.nixflags=)
    # To be written to, unlike the root: nobody remounts it later.
    mount -t "${fstype:-auto}" -o "rw${flags:+,$flags}" "$nix" "$NEWROOT/nix" || die "cannot mount $nix at /nix"
fi
