#!/bin/bash
# Mounts /nix where it is not on the root; what for, and what the words on the command line mean, says the script for
# initramfs-tools beside this.
#
# The directory goes to /usr/lib/dracut/modules.d/.

check() {
    return 0
}

depends() {
    echo base fs-lib
}

install() {
    inst_hook cmdline 90 "$moddir/wait-for-nix.sh"
    inst_hook pre-pivot 10 "$moddir/mount-nix.sh"
}
