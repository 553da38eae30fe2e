//! A layout from a seed.
//!
//! What the loader finds by itself is switched off: a pattern such as `a*` could otherwise choose to restart into the
//! firmware's setup.

use systemd_boot_model::{Partition, ReleaseRange};

use super::layout::{EntryText, Layout};
use super::random::Random;
use super::uki;

const STEMS: [&str; 20] = [
    "nixos-generation-3",
    "nixos-generation-10",
    "nixos-generation-9",
    "nixos-generation-10-specialisation-big",
    "lastgood-3-0123abcd",
    "lastgood-10-89abcdef",
    "Debian-6.1.0-42-amd64",
    "debian-6.1.0-9-amd64",
    "arch",
    "Arch-LTS",
    "a",
    "a-1",
    "a_1",
    "a+b",
    "a+b-2",
    "z~rc1",
    "z.1",
    "0a1b2c3d4e5f60718293a4b5c6d7e8f9-6.12.0-1.fc42.x86_64",
    "x[1]",
    "trailing-",
];
pub(super) const COUNTERS: [&str; 18] = [
    "", "", "", "", "", "", "+3-0", "+3-0", "+3", "+2-1", "+1-2", "+0-3", "+0-1", "+0", "+03-00",
    "+10", "+x", "+3-",
];
const SORT_KEYS: [&str; 8] = [
    "nixos",
    "nixos",
    "Nixos",
    "a",
    "b",
    "lastgood-999990",
    "lastgood-999991",
    "\"b\"",
];
pub(super) const VERSIONS: [&str; 22] = [
    "1",
    "2",
    "10",
    "010",
    "1.2",
    "1.10",
    "1-1",
    "1-10",
    "1.1-1",
    "6.1.0-42-amd64",
    "6.1.0-9-amd64",
    "6.1~rc1",
    "6.1",
    "6.1^20240101",
    "6.1.",
    "6..1",
    "24.05.20240801.abcdef0",
    "24.11pre-git",
    "v1",
    "A",
    "a",
    "Generation 3 NixOS 24.05 (Linux 6.6.40), built on 2024-08-01",
];
const MACHINES: [&str; 2] = [
    "0123456789abcdef0123456789abcdef",
    "fedcba9876543210fedcba9876543210",
];
const UNSEEN: [&str; 5] = [
    ".hidden.conf",
    "auto-arch.conf",
    "AUTO-arch.conf",
    "a.conf.part",
    "README",
];
const PATTERNS: [&str; 22] = [
    "*",
    "nixos-*",
    "NIXOS-*",
    "lastgood-*",
    "debian*",
    "*.conf",
    "*+3*",
    "*-generation-?.conf",
    "*-generation-??.conf",
    "[a-m]*",
    "[!a]*",
    "[]a-]*",
    "[a-c-z]*",
    "a\\+b*",
    "x\\[1\\]*",
    "nothing*",
    "[",
    "?",
    "*specialisation*",
    "@saved",
    "@SAVED",
    "@other",
];

/// The layout that belongs to `seed`: at least one entry is listed.
#[must_use]
pub fn generate(seed: u64) -> Layout {
    let mut random = Random::new(seed);
    loop {
        let mut layout = attempt(seed, &mut random);
        uki::add(&mut layout, seed);
        uki::start_nothing_remote(&mut layout);
        let is_listed = |release: &ReleaseRange| !layout.loader(*release).entries.is_empty();
        if ReleaseRange::ALL.iter().all(is_listed) {
            return layout;
        }
    }
}

fn attempt(seed: u64, random: &mut Random) -> Layout {
    let mut layout = Layout {
        label: format!("seed {seed}"),
        programs: vec!["/kernel".to_owned(), "/EFI/nixos/k1.efi".to_owned()],
        read_only: random.chance(6),
        ..Layout::default()
    };
    let has_xbootldr = random.chance(20);
    let count = 1 + random.below(9);
    for _ in 0..count {
        let on = if has_xbootldr && random.chance(60) {
            Partition::Boot
        } else {
            Partition::Esp
        };
        add_entry(&mut layout, on, random);
    }
    layout.conf = conf(&layout, random);
    layout.variables = variables(&layout, random);
    layout
}

fn add_entry(layout: &mut Layout, on: Partition, random: &mut Random) {
    let stem = random.pick(&STEMS);
    let suffix = if random.chance(4) { ".CONF" } else { ".conf" };
    let mut name = format!("{stem}{}{suffix}", random.pick(&COUNTERS));
    if random.chance(5) {
        random.pick(&UNSEEN).clone_into(&mut name);
    }
    let text = text(random);
    // What the counter would come down to, or the same entry without one.
    let twin = random
        .chance(15)
        .then(|| format!("{stem}{}.conf", random.pick(&["", "+2-1", "+0-4", "+9-1"])));
    put(layout, on, name, text.clone());
    if let Some(twin) = twin {
        put(layout, on, twin, text);
    }
}

/// A FAT directory holds no two names that differ in capitals only.
fn put(layout: &mut Layout, on: Partition, name: String, text: String) {
    let is_same = |other: &EntryText| other.on == on && other.name.eq_ignore_ascii_case(&name);
    if !layout.entries.iter().any(is_same) {
        layout.entries.push(EntryText { on, name, text });
    }
}

fn text(random: &mut Random) -> String {
    let mut lines = vec!["title x".to_owned()];
    if random.chance(75) {
        lines.push(format!("sort-key {}", random.pick(&SORT_KEYS)));
    }
    if random.chance(85) {
        lines.push(format!("version {}", random.pick(&VERSIONS)));
    }
    if random.chance(25) {
        lines.push(format!("machine-id {}", random.pick(&MACHINES)));
    }
    if random.chance(5) {
        lines.push("# sort-key c".to_owned());
    }
    if random.chance(4) {
        lines.push(format!(
            "architecture {}",
            random.pick(&["x64", "X64", "aa64"])
        ));
    }
    let program = match random.below(100) {
        0..70 => "linux /kernel",
        70..76 => "linux /EFI/nixos/k1.efi",
        76..79 => "linux KERNEL",
        79..82 => "linux //efi//NIXOS/k1.efi",
        82..89 => "linux /gone",
        89..95 => "efi /kernel",
        95..97 => "linux /gone\nefi /kernel",
        97..99 => "initrd /kernel",
        _ => "linux\t \"/kernel\"",
    };
    lines.push(program.to_owned());
    let end = if random.chance(5) { "\r\n" } else { "\n" };
    lines.join(end) + end
}

fn conf(layout: &Layout, random: &mut Random) -> String {
    let timeout = match random.below(10) {
        0 => "timeout 2\n",
        1 => "timeout menu-hidden\n",
        2 => "",
        _ => "timeout 0\n",
    };
    let mut conf = format!("{timeout}auto-firmware no\nauto-entries no\n");
    if random.chance(70) {
        conf.extend(["default ", &pattern(layout, random), "\n"]);
    }
    if random.chance(25) {
        conf.extend(["preferred ", &pattern(layout, random), "\n"]);
    }
    conf
}

fn variables(layout: &Layout, random: &mut Random) -> Vec<(&'static str, String)> {
    let mut variables = Vec::new();
    for (name, percent) in [
        ("LoaderEntryDefault", 15),
        ("LoaderEntryOneShot", 15),
        ("LoaderEntryPreferred", 20),
    ] {
        if random.chance(percent) {
            variables.push((name, pattern(layout, random)));
        }
    }
    if random.chance(30) {
        variables.push((
            "LoaderEntryLastBooted",
            existing(layout, random).to_lowercase(),
        ));
    }
    variables
}

fn existing(layout: &Layout, random: &mut Random) -> String {
    let names: Vec<String> = layout
        .entries
        .iter()
        .map(|entry| entry.name.clone())
        .collect();
    random.pick(&names)
}

fn pattern(layout: &Layout, random: &mut Random) -> String {
    let names: Vec<String> = layout
        .entries
        .iter()
        .map(|entry| entry.name.clone())
        .collect();
    pattern_over(&names, random)
}

/// A pattern that means one of these names, or no one knows what.
pub(super) fn pattern_over(names: &[String], random: &mut Random) -> String {
    let name = random.pick(names);
    let (stem, suffix) = name.rsplit_once('.').unwrap_or((&name, "conf"));
    let stem = stem.split('+').next().unwrap_or_default().to_owned();
    match random.below(10) {
        0 => name,
        1 => name.to_uppercase(),
        2 => format!("{stem}.{suffix}"),
        3 => format!("{stem}*"),
        4 => stem,
        _ => random.pick(&PATTERNS).to_owned(),
    }
}
