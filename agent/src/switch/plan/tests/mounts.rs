//! `/etc/fstab`.

use super::*;
use crate::switch::fstab::Fstab;

fn fstab(old: &str, new: &str, mounted: &[&str]) -> Situation {
    let mut situation = Situation {
        old_fstab: Fstab::parse(old),
        new_fstab: Fstab::parse(new),
        ..Situation::default()
    };
    for unit in mounted {
        let state = State {
            fragment: format!("/run/systemd/generator/{unit}"),
            ..up()
        };
        situation.states.insert((*unit).to_owned(), state);
    }
    situation
}

#[test]
fn each_line_is_mounted_remounted_or_unmounted() {
    let (m, a) = (&["x.mount"][..], &["x.automount"][..]);
    let both = &["x.automount", "x.mount"][..];
    for (old, new, mounted, want) in [
        ("a /x ext4 rw", "a /x ext4 rw", m, &[][..]),
        ("", "a /x ext4 rw", &[], &["start x.mount"]),
        ("", "a /x ext4 noauto", &[], &[]),
        (
            "",
            "a /x ext4 x-systemd.automount",
            &[],
            &["start x.automount"],
        ),
        ("a /x ext4 rw", "a /x ext4 ro", m, &["reload x.mount"]),
        ("a /x ext4 rw", "b /x ext4 rw", m, &["restart x.mount"]),
        ("a /x ext4 rw", "a /x xfs rw", m, &["restart x.mount"]),
        ("a /x ext4 rw", "b /x ext4 ro", m, &["restart x.mount"]),
        ("a /x ext4 rw", "", m, &["stop x.mount"]),
        (
            "a /x ext4 x-systemd.automount",
            "",
            both,
            &["stop x.automount", "stop x.mount"],
        ),
        (
            "a /x ext4 x-systemd.automount",
            "",
            a,
            &["stop x.automount"],
        ),
        (
            "a /x ext4 x-systemd.automount",
            "b /x ext4 x-systemd.automount",
            a,
            &[],
        ),
        (
            "a /x ext4 x-systemd.automount",
            "a /x ext4 rw",
            a,
            &["stop x.automount", "start x.mount"],
        ),
        (
            "a /x ext4 x-systemd.automount",
            "a /x ext4 rw",
            both,
            &["reload x.mount"],
        ),
        // Unmounted by hand, and unchanged or changed.
        ("a /x ext4 rw", "a /x ext4 rw", &[], &[]),
        ("a /x ext4 rw", "b /x ext4 rw", &[], &["start x.mount"]),
        ("a /x ext4 rw", "a /x ext4 noauto", &[], &[]),
        ("a /x ext4 rw", "", &[], &[]),
    ] {
        let plan = plan(&fstab(old, new, mounted));
        assert_eq!(deeds(&plan), want, "from {old:?} to {new:?}, {mounted:?}");
    }
}

#[test]
fn what_the_machine_stands_on_is_never_unmounted() {
    let root = &["-.mount"][..];
    for (old, new, want) in [
        ("a / ext4 rw", "b / ext4 rw", &["NOT restart -.mount"][..]),
        ("a / ext4 rw", "a / xfs rw", &["NOT restart -.mount"]),
        ("a / ext4 rw", "b / ext4 ro", &["reload -.mount"]),
        ("a / ext4 rw", "", &["NOT restart -.mount"]),
    ] {
        assert_eq!(deeds(&plan(&fstab(old, new, root))), want, "{new:?}");
    }
    let plan = plan(&fstab("a /nix ext4 rw", "b /nix ext4 rw", &["nix.mount"]));
    assert_eq!(deeds(&plan), ["NOT restart nix.mount"]);
}

#[test]
fn swap_is_turned_off_by_its_device_and_on_by_its_unit() {
    let old = "/swapfile none swap\nLABEL=kept none swap";
    let new = "LABEL=kept none swap\nUUID=a-b none swap\n/late none swap noauto";
    assert_eq!(
        deeds(&plan(&fstab(old, new, &[]))),
        [
            "swap off /swapfile",
            r"start dev-disk-by\x2duuid-a\x2db.swap"
        ]
    );
}

#[test]
fn a_closures_own_unit_is_above_the_line() {
    let unit = "[Mount]\nWhat=a\n";
    let mut situation = given(&[("x.mount", unit, unit)]);
    situation.old_fstab = Fstab::parse("a /x ext4 rw");
    assert_eq!(deeds(&plan(&situation)), [""; 0]);
    let mut situation = given(&[("x.mount", "-", unit)]);
    situation.new_fstab = Fstab::parse("a /x ext4 rw");
    assert_eq!(deeds(&plan(&situation)), [""; 0], "nothing wants it");
}
