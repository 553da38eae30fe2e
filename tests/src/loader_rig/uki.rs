//! What a layout gets besides: unified kernel images, and entries that start one.

use systemd_boot_model::{EntryName, Partition, ReleaseRange};

use super::generate::{COUNTERS, VERSIONS, pattern_over};
use super::layout::{Image, Layout};
use super::random::Random;

const STEMS: [&str; 12] = [
    "a",
    "arch",
    "Arch-LTS",
    "nixos-generation-10",
    "nixos-generation-9",
    "Debian-6.1.0-42-amd64",
    "debian-6.1.0-9-amd64",
    "lastgood-3-0123abcd",
    "a+b",
    "x[1]",
    "0.1",
    "Z",
];
/// Listed by loaders that know it.
const REMOTE: &str = "uki-url http://[::1]/x.efi";
/// More boots than a layout is given.
const BOOTS: usize = 8;
const UNSEEN: [&str; 4] = [".a.efi", "auto-arch.efi", "AUTO-arch.efi", "a.efi.part"];
const IDS: [&str; 7] = ["nixos", "a", "b", "debian", "\"b\"", "'b'", ""];
const PROFILES: [&str; 5] = [
    "ID=rescue\n",
    "ID=Factory\nTITLE=x\n",
    "TITLE=x\n",
    "ID='r'\n",
    "",
];
const PATTERNS: [&str; 9] = [
    "*.efi", "*@*", "*@1", "*@rescue", "a*", "*.efi@?", "'*.efi'", "arch*", "@saved",
];

/// Adds to `layout` what belongs to `seed`.
pub(super) fn add(layout: &mut Layout, seed: u64) {
    // Numbers of its own: what the layout was without stays as it was.
    let mut random = Random::new(!seed);
    for entry in &mut layout.entries {
        let program = match random.below(20) {
            0 | 1 => "uki /kernel",
            2 => "uki /kernel\nprofile 1",
            3 => "profile 2\nuki /EFI/nixos/k1.efi\nuki /kernel",
            4 => "uki /gone",
            5 => REMOTE,
            6 => "uki-url :x.efi",
            7 => "uki /kernel\nlinux /kernel",
            8 => "linux /kernel\nprofile 4294967295",
            _ => continue,
        };
        // Some entry is to be listed by loaders that know none of this.
        if random.chance(50) {
            let old = ["linux /kernel", "efi /kernel"];
            for old in old {
                entry.text = entry.text.replace(old, program);
            }
        }
    }
    if random.chance(60) {
        for _ in 0..=random.below(4) {
            add_image(layout, &mut random);
        }
    }
    if !layout.images.is_empty() && random.chance(60) {
        let names: Vec<String> = layout
            .images
            .iter()
            .map(|image| image.name.clone())
            .collect();
        let pattern = match random.below(2) {
            0 => random.pick(&PATTERNS).to_owned(),
            _ => pattern_over(&names, &mut random),
        };
        match random.below(3) {
            0 => layout.conf.extend(["preferred ", &pattern, "\n"]),
            1 => layout.conf.extend(["default ", &pattern, "\n"]),
            _ => set(layout, "LoaderEntryOneShot", pattern),
        }
    }
}

/// Takes from `layout` the remote images that some loader would start. Where no network answers, the loader connects
/// every driver of the firmware anew, seven times over. On the machine's clock, which runs with its instructions, that
/// takes longer than the five minutes after which the firmware's watchdog resets the machine.
pub(super) fn start_nothing_remote(layout: &mut Layout) {
    let started = |layout: &Layout| {
        let boots = ReleaseRange::ALL.map(|release| layout.loader(release).predict(BOOTS));
        let files: Vec<String> = boots.into_iter().flatten().map(|boot| boot.file).collect();
        layout.entries.iter().position(|entry| {
            let name = EntryName::parse(&entry.name);
            let of = |file: &String| {
                EntryName::parse(file).map(|it| it.stem) == name.as_ref().map(|it| it.stem.clone())
            };
            entry.text.contains(REMOTE) && files.iter().any(of)
        })
    };
    while let Some(at) = started(layout) {
        if let Some(entry) = layout.entries.get_mut(at) {
            entry.text = entry.text.replace(REMOTE, "uki /kernel");
        }
    }
}

fn set(layout: &mut Layout, name: &'static str, value: String) {
    layout.variables.retain(|(there, _)| *there != name);
    layout.variables.push((name, value));
}

fn add_image(layout: &mut Layout, random: &mut Random) {
    let on = if layout.has_xbootldr() && random.chance(50) {
        Partition::Boot
    } else {
        Partition::Esp
    };
    let stem = random.pick(&STEMS);
    let suffix = if random.chance(6) { ".EFI" } else { ".efi" };
    let mut names = vec![format!("{stem}{}{suffix}", random.pick(&COUNTERS))];
    if random.chance(6) {
        names = vec![random.pick(&UNSEEN).to_owned()];
    }
    // What the counter would come down to, or the same image without one.
    if random.chance(15) {
        let counter = random.pick(&["", "+2-1", "+0-4", "+9-1"]);
        names.push(format!("{stem}{counter}.efi"));
    }
    let sections = sections(random);
    for name in names {
        let is_same = |other: &Image| other.on == on && other.name.eq_ignore_ascii_case(&name);
        if !layout.images.iter().any(is_same) {
            let sections = sections.clone();
            layout.images.push(Image { on, name, sections });
        }
    }
}

fn sections(random: &mut Random) -> Vec<(&'static str, String)> {
    let mut sections = vec![(".linux", "no kernel".to_owned())];
    if !random.chance(6) {
        sections.push((".osrel", release(random)));
    }
    sections.push((".cmdline", "quiet".to_owned()));
    if random.chance(35) {
        for _ in 0..=random.below(3) {
            sections.push((".profile", random.pick(&PROFILES).to_owned()));
            if random.chance(25) {
                sections.push((".osrel", release(random)));
            }
            sections.push((".cmdline", "single".to_owned()));
        }
    }
    sections
}

fn release(random: &mut Random) -> String {
    let mut text = String::from("# os-release\n");
    let mut line = |percent: usize, key: &str, value: &str, random: &mut Random| {
        if random.chance(percent) {
            text.extend([key, "=", value, "\n"]);
        }
    };
    line(50, "PRETTY_NAME", "\"An OS\"", random);
    line(50, "NAME", "OS", random);
    let (id, image) = (random.pick(&IDS), random.pick(&IDS));
    line(75, "ID", id, random);
    line(20, "IMAGE_ID", image, random);
    for key in ["IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"] {
        let version = random.pick(&VERSIONS);
        line(35, key, version, random);
    }
    text
}
