#!/bin/sh
# The root is mounted when all devices are there that somebody waits for.
command -v getarg >/dev/null || . /lib/dracut-lib.sh

nix=$(getarg lastgood.nix=)
[ -z "$nix" ] || wait_for_dev "$(label_uuid_to_dev "$nix")"
