//! The bound against directories filled slot by slot.

mod fat;
mod rollback;

use proptest::prelude::*;

use super::*;
use crate::payload::{self, Content, Kind};
use fat::Fat;
use systemd_boot_model::{ENTRIES, Partition};

#[test]
fn a_name_takes_a_slot_for_each_thirteen_units_and_one_more() {
    for (name, wanted) in [
        ("", 1),
        ("a", 2),
        ("thirteen-long", 2),
        ("fourteen-longs", 3),
        ("lastgood-3-1e4380b3.conf", 3),
        ("lastgood-3-1e4380b3+3-0.conf", 4),
        // UTF-16 units, neither characters nor bytes.
        ("ééééééééééééé", 2),
        ("𝄞𝄞𝄞𝄞𝄞𝄞𝄞", 3),
    ] {
        assert_eq!(slots(name), wanted, "{name}");
    }
    for length in 1..=255 {
        let room = (slots(&"x".repeat(length)) - 1) * 13;
        assert!(room >= length as u64 && room < length as u64 + 13);
    }
}

fn copy(number: u64, size: u64) -> Step {
    let mut content = Content::of(&mut &number.to_le_bytes()[..]).unwrap();
    content.size = size;
    let name = payload::file_name(&content, Kind::Kernel);
    Step::Copy {
        source: "/nix/store/kernel".into(),
        content,
        on: Partition::Boot,
        path: format!("{}/{name}", payload::DIRECTORY),
    }
}

fn entry(number: u64, counter: &str, length: usize) -> Step {
    Step::Text {
        on: Partition::Boot,
        text: "x".repeat(length),
        path: format!("{ENTRIES}/lastgood-{number}-0123abcd{counter}.conf"),
    }
}

fn remove(step: &Step) -> Step {
    let (Step::Copy { path, .. } | Step::Text { path, .. } | Step::Remove { path, .. }) = step;
    Step::Remove {
        on: Partition::Boot,
        path: path.clone(),
    }
}

/// How much is really needed, at the worst instant. What can happen without a plan counts once the plan has written
/// something: what is removed before that takes no room from it.
fn really(fat: &Fat, steps: &[Step], reserve: Reserve) -> i64 {
    let mut fat = fat.clone();
    fat.free = 0;
    let mut least = 0;
    let mut has_written = false;
    fat.make_all(steps, &mut |fat, step| {
        has_written |= !matches!(step, Step::Remove { .. });
        least = least.min(fat.free);
        if reserve == Reserve::Kept && has_written {
            least = least.min(fat.disaster().free);
        }
    });
    -least
}

/// Being careful costs no more than the temporary names' slots.
#[test]
fn the_first_plan_is_known_well() {
    for cluster in [512, 2048, 4096] {
        for count in 1..40 {
            let mut steps: Vec<Step> = (0..count).map(|n| copy(n, 5000 + n)).collect();
            steps.extend((0..count).map(|n| entry(n, "+3-0", 600)));
            let fat = Fat::new(cluster);
            let mut volume = fat.volume(0);
            // All of a fixed root is there from the start.
            volume.directories.get_mut("").unwrap().size = 512 * SLOT;
            let mut fat = fat;
            fat.directories_of_root(512);
            let worst = volume.worst(&steps, |_| true, Reserve::Spent).needed;
            let wanted = really(&fat, &steps, Reserve::Spent);
            let names = i64::try_from((count * 11 * SLOT).div_ceil(cluster)).unwrap();
            let most = wanted + names;
            let worst = i64::try_from(worst).unwrap();
            assert!(
                (wanted..=most).contains(&worst),
                "{cluster} {count}: {worst} for {wanted}"
            );
        }
    }
}

#[test]
fn replacing_a_file_needs_both_and_evicting_first_needs_less() {
    let mut fat = Fat::new(512);
    let (old, new) = (copy(1, 100 * 512), copy(2, 80 * 512));
    for step in [&old, &entry(1, "", 300)] {
        fat.make(step);
    }
    let volume = fat.volume(0);
    let needed = |steps: &[Step]| volume.worst(steps, |_| true, Reserve::Spent).needed;
    assert!(
        (100..104).contains(&needed(std::slice::from_ref(&old))),
        "both are there for a while"
    );
    let later = needed(&[new.clone(), remove(&old)]);
    let before = needed(&[remove(&old), new]);
    assert!((80..84).contains(&later), "{later}");
    assert_eq!(before, 0, "there is more room than before");
}

/// The loader's copies are on many disks in other letters, and a plan writes them as it finds them.
#[test]
fn a_file_is_replaced_however_it_is_spelled() {
    let put = |path: &str| Step::Text {
        on: Partition::Esp,
        text: "x".repeat(100 * 512),
        path: path.to_owned(),
    };
    let mut fat = Fat::new(512);
    fat.make(&put("EFI/BOOT/BOOTX64.EFI"));
    let volume = fat.volume(0);
    let more = |path: &str| {
        let steps = [put(path), put("EFI/more")];
        volume.worst(&steps, |_| true, Reserve::Spent).needed
    };
    assert_eq!(more("EFI/Boot/bootx64.efi"), more("EFI/BOOT/BOOTX64.EFI"));
    assert!(more("EFI/Boot/other.efi") > more("EFI/BOOT/BOOTX64.EFI") + 90);
}

#[test]
fn the_worst_instant_is_in_the_step_that_needs_most() {
    let volume = Fat::new(512).volume(0);
    let steps = [
        copy(1, 5120),
        remove(&copy(1, 5120)),
        copy(2, 51200),
        remove(&copy(2, 51200)),
    ];
    assert_eq!(volume.worst(&steps, |_| true, Reserve::Kept).step, 2);
    assert_eq!(volume.worst(&[], |_| true, Reserve::Kept), Worst::default());
}

#[test]
fn a_foreign_counter_does_not_make_everything_too_small() {
    let step = |name: &str| Step::Text {
        on: Partition::Boot,
        text: String::new(),
        path: format!("{ENTRIES}/{name}"),
    };
    let volume = Fat::new(512).volume(0);
    let needed = |name: &str| volume.worst(&[step(name)], |_| true, Reserve::Kept).needed;
    assert!(needed("debian+4000000000.conf") < 16);
    assert!(needed("debian+3.conf") > needed("debian.conf"));
    assert!(needed("debian+0-9.conf") > 0);
}

/// A past: what was done in the directory before, by the writer and by firmware.
fn past(cluster: u64, history: &[(u8, u64)]) -> Fat {
    let mut fat = Fat::new(cluster);
    for (what, number) in history {
        let names = fat
            .volume(0)
            .directories
            .remove(ENTRIES)
            .unwrap_or_default()
            .names;
        let some = names
            .iter()
            .nth(usize::try_from(*number).unwrap() % names.len().max(1));
        match (what % 5, some) {
            (0, _) => fat.make(&entry(number % 9, "+3-0", 300)),
            (1, _) => fat.make(&copy(number % 9, number * 100)),
            (2, Some(name)) => {
                let path = format!("{ENTRIES}/{name}");
                let on = Partition::Boot;
                fat.make(&Step::Remove { on, path });
            }
            (3, Some(name)) if name.contains("+3") || name.contains("+2") => drop(fat.count(name)),
            _ => fat.make(&entry(number % 90_000, "", 200)),
        }
    }
    fat
}

fn step() -> impl Strategy<Value = Step> {
    (0_u8..6, 0_u64..12, 1_u64..3000).prop_map(|(what, number, size)| {
        let length = usize::try_from(size).unwrap();
        match what {
            0 => copy(number, size),
            1 => entry(number, "+3-0", length),
            2 => entry(number, "", length),
            3 => remove(&copy(number, 0)),
            4 => remove(&entry(number, "+3-0", 0)),
            _ => Step::Text {
                on: Partition::Boot,
                text: "x".repeat(length),
                path: "loader/loader.conf".to_owned(),
            },
        }
    })
}

/// Directories without a free slot, and everybody proven: only the reserve makes room for a verdict.
#[test]
fn a_verdict_fits_in_whatever_is_full() {
    for (count, cluster) in (1..70).flat_map(|count| [(count, 512), (count, 2048)]) {
        let mut fat = Fat::new(cluster);
        for number in 0..count {
            fat.make(&entry(number, "", 600));
        }
        let last = [entry(count, "", 600)];
        let needed = fat.volume(0).worst(&last, |_| true, Reserve::Kept).needed;
        let really = really(&fat, &last, Reserve::Kept);
        let needed = i64::try_from(needed).unwrap();
        assert!(really <= needed, "{count} {cluster}: {really} > {needed}");
    }
}

proptest! {
    /// Whatever was done before, what a plan is said to need is enough.
    #[test]
    fn what_is_said_to_be_needed_is_enough(
        history in prop::collection::vec((any::<u8>(), any::<u32>().prop_map(u64::from)), 0..60),
        steps in prop::collection::vec(step(), 1..12),
        power in 9_u32..13,
        is_kept in any::<bool>(),
    ) {
        let reserve = if is_kept { Reserve::Kept } else { Reserve::Spent };
        let fat = past(1 << power, &history);
        let worst = fat.volume(0).worst(&steps, |_| true, reserve);
        let really = really(&fat, &steps, reserve);
        let needed = i64::try_from(worst.needed).unwrap();
        prop_assert!(really <= needed, "{} are needed, {} were said to be", really, needed);
    }
}
