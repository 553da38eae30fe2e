#!/bin/bash
# A trial does not stay in the initrd: it is rebooted after ten minutes there, or half a minute after it has come to its
# prompt. A proven generation waits. dracut itself waits for ever for a root that does not come.
#
# The directory goes to /usr/lib/dracut/modules.d/. For another initrd with systemd: the units go to
# /usr/lib/systemd/system, is-trial to /usr/lib/lastgood, the first timer is wanted by initrd.target and the second one by
# emergency.target; it needs sh, tr, mount, and the module efivarfs.

check() {
    return 0
}

depends() {
    return 0
}

installkernel() {
    # Not by hostonly's rules: nothing mounts it while the initrd is made in a chroot.
    hostonly='' instmods efivarfs
}

install() {
    # Without systemd nothing here would start it.
    dracut_module_included systemd || return 0
    inst_multiple sh tr mount systemctl
    inst_script "$moddir/is-trial" /usr/lib/lastgood/is-trial
    local unit
    for unit in lastgood-next-try.service lastgood-deadline.timer lastgood-no-prompt.timer; do
        inst_simple "$moddir/$unit" "$systemdsystemunitdir/$unit"
    done
    $SYSTEMCTL -q --root "$initdir" add-wants initrd.target lastgood-deadline.timer
    $SYSTEMCTL -q --root "$initdir" add-wants emergency.target lastgood-no-prompt.timer
    # dracut starts its own prompt, and not the target, where a root does not come (059).
    $SYSTEMCTL -q --root "$initdir" add-wants dracut-emergency.service lastgood-no-prompt.timer
}
