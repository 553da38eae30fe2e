//! The model on small layouts.

mod images;

use crate::lines::Quotes;
use crate::order::Item;
use crate::pattern::Pattern;
use crate::*;

pub(crate) fn listed(file: &str, sort_key: Option<&str>, version: &str) -> Listed {
    Listed {
        file: file.to_owned(),
        on: Partition::Boot,
        name: EntryName::parse(file).unwrap(),
        program: Program::Linux,
        profile: 0,
        profile_id: None,
        entry: Entry {
            sort_key: sort_key.map(str::to_owned),
            version: Some(version.to_owned()),
            linux: Some("/k".to_owned()),
            ..Entry::default()
        },
    }
}

pub(crate) fn loader(release: ReleaseRange, entries: Vec<Listed>) -> Loader {
    Loader {
        release,
        entries,
        conf: LoaderConf::default(),
        variables: LoaderVariables::default(),
        medium: Medium::default(),
    }
}

fn booted(loader: Loader, failures: usize) -> Vec<String> {
    let boots = loader.predict(failures);
    boots.iter().map(|boot| boot.file.clone()).collect()
}

#[test]
fn versions_of_the_loader() {
    let of =
        |version: &str| ReleaseRange::of_loader_info(&format!("systemd-boot {version}")).unwrap();
    let keeps = |version: &str| of(version).keeps_counter_in_id();
    for early in [
        "252.39-1~deb12u2",
        "256.17",
        "257.9-1~deb13u1",
        "258~rc1",
        "258",
        "258-1",
    ] {
        assert!(keeps(early), "{early}");
    }
    for late in [
        "257.10",
        "257.13-1~deb13u1",
        "258.1",
        "259~rc1",
        "259",
        "262-1",
        "300",
    ] {
        assert!(!keeps(late), "{late}");
    }
    for (since, has) in [
        (
            ["257.11", "258.4", "259.1", "260"],
            (|release: ReleaseRange| release.quotes() == Quotes::Both) as fn(ReleaseRange) -> bool,
        ),
        (
            ["258.8", "259.6", "260.2", "261"],
            ReleaseRange::orders_profiles,
        ),
    ] {
        for version in since {
            assert!(has(of(version)), "{version}");
        }
        for version in ["252.39", "257.10", "258.3", "259"] {
            assert!(!has(of(version)), "{version}");
        }
    }
    assert!(of("260").prefers() && !of("259.8").prefers());
    for unknown in ["GRUB 2.12", "systemd-boot 251.4", "systemd-boot 249-1"] {
        assert_eq!(ReleaseRange::of_loader_info(unknown), None, "{unknown}");
        let told = too_old(unknown).map_or_else(String::new, |it| it.to_string());
        assert_eq!(told.contains("252 or later"), unknown != "GRUB 2.12");
    }
}

#[test]
fn a_trial_is_tried_three_times_and_then_the_proven_one() {
    for release in ReleaseRange::ALL {
        let entries = vec![
            listed("a-2.conf", Some("k8"), "2"),
            listed("a-3+3-0.conf", Some("k7"), "3"),
        ];
        let mut loader = loader(release, entries);
        loader.conf.default = Some("a-*".to_owned());
        assert_eq!(
            booted(loader, 4),
            [
                "a-3+3-0.conf",
                "a-3+2-1.conf",
                "a-3+1-2.conf",
                "a-2.conf",
                "a-2.conf"
            ]
        );
    }
}

#[test]
fn when_all_are_bad_the_best_bad_one_is_started_for_ever() {
    let entries = vec![
        listed("a+0-3.conf", Some("k"), "1"),
        listed("b+0-3.conf", Some("k"), "2"),
    ];
    let boots = loader(ReleaseRange::V252, entries).predict(2);
    let names: Vec<String> = boots.iter().map(|boot| boot.file.clone()).collect();
    assert_eq!(names, ["b+0-3.conf", "b+0-4.conf", "b+0-5.conf"]);
    assert_eq!(boots[0].why, Why::FirstBad);
}

/// UEFI, `EFI_FILE_PROTOCOL.SetInfo()`: a name that another file has is refused.
#[test]
fn a_counter_does_not_come_down_onto_another_file() {
    let entries = [("a+3-0.conf", "k"), ("a+2-1.conf", "k"), ("b.conf", "z")];
    let entries = entries.map(|(file, key)| listed(file, Some(key), "1"));
    let boots = booted(loader(ReleaseRange::V252, entries.to_vec()), 3);
    assert_eq!(boots, ["a+3-0.conf"; 4]);
}

#[test]
fn an_exact_default_depends_on_the_version() {
    let first = |release, file: &str| {
        let mut loader = loader(
            release,
            vec![
                listed(file, Some("k"), "9"),
                listed("z.conf", Some("a"), "1"),
            ],
        );
        loader.conf.default = Some("x.conf".to_owned());
        booted(loader, 0).remove(0)
    };
    assert_eq!(first(ReleaseRange::V252, "x+3.conf"), "z.conf");
    assert_eq!(first(ReleaseRange::V258_1, "x+3.conf"), "x+3.conf");
    // systemd#40192: pinned although bad.
    assert_eq!(first(ReleaseRange::V258_1, "x+0-3.conf"), "x+0-3.conf");
}

#[test]
fn preferred_is_new_and_passes_over_bad_ones() {
    let first = |release, file: &str| {
        let mut loader = loader(
            release,
            vec![
                listed(file, Some("z"), "1"),
                listed("b.conf", Some("a"), "1"),
            ],
        );
        loader.conf.preferred = Some("p.conf".to_owned());
        booted(loader, 0).remove(0)
    };
    assert_eq!(first(ReleaseRange::V258_1, "p.conf"), "b.conf");
    assert_eq!(first(ReleaseRange::V260, "p.conf"), "p.conf");
    assert_eq!(first(ReleaseRange::V260, "p+0-3.conf"), "b.conf");
}

#[test]
fn one_shot_wins_once() {
    let mut loader = loader(
        ReleaseRange::V252,
        vec![
            listed("a.conf", Some("a"), "1"),
            listed("b.conf", Some("b"), "1"),
        ],
    );
    loader.variables.one_shot = Some("B.conf".to_owned());
    assert_eq!(booted(loader, 1), ["b.conf", "a.conf"]);
}

#[test]
fn entries_without_a_sort_key_come_after_those_with_one() {
    let entries = vec![
        listed("old.conf", None, "9"),
        listed("new.conf", Some("z"), "1"),
    ];
    assert_eq!(booted(loader(ReleaseRange::V252, entries), 0), ["new.conf"]);
}

/// Every order has to be one: with a comparison that is no order, sorting says nothing.
#[test]
fn the_comparison_is_a_total_order() {
    let mut all = Vec::new();
    for file in ["a.conf", "a+0-1.conf", "a+2-1.conf", "b+3-0.conf", "b.conf"] {
        for key in [None, Some("k"), Some("l")] {
            for version in ["1", "10", "9"] {
                all.push(listed(file, key, version));
            }
        }
    }
    for release in ReleaseRange::ALL {
        let compare = |a, b, release| Item::new(a, release).compare(&Item::new(b, release));
        for x in &all {
            for y in &all {
                assert_eq!(compare(x, y, release), compare(y, x, release).reverse());
                if compare(x, y, release).is_gt() {
                    continue;
                }
                for z in all.iter().filter(|z| compare(y, z, release).is_le()) {
                    // Twins that differ only in having a counter at all are equal to each other but not to
                    // a third: the loader's own comparison is loose there (from 258 on).
                    let twins = |a: &Listed, b: &Listed| {
                        a.name.stem == b.name.stem
                            && a.name.tries.is_some() != b.name.tries.is_some()
                    };
                    if !(twins(x, y) || twins(y, z) || twins(x, z)) {
                        assert!(compare(x, z, release).is_le(), "{x:?} {y:?} {z:?}");
                    }
                }
            }
        }
    }
}

/// Once a boot leaves no trace, all later ones are like it; and one that leaves any is not taken for the last.
#[test]
fn what_is_foretold_at_once_is_what_boot_after_boot_leads_to() {
    let files = ["a.conf", "a+2-0.conf", "b+1.conf", "c+0-3.conf"];
    let saved = [None, Some("@saved".to_owned()), Some("b*".to_owned())];
    let mut tried = 0;
    for (release, set) in ReleaseRange::ALL
        .into_iter()
        .flat_map(|release| (0..16).map(move |set| (release, set)))
    {
        let there = files
            .iter()
            .enumerate()
            .filter(|(at, _)| set & (1 << at) != 0);
        let entries: Vec<Listed> = there.map(|(_, file)| listed(file, None, "1")).collect();
        for (default, one_shot) in saved
            .iter()
            .flat_map(|d| [None, Some("c.conf"), Some("a*")].map(|o| (d, o)))
        {
            let mut model = loader(release, entries.clone());
            model.conf.default.clone_from(default);
            model.variables.one_shot = one_shot.map(str::to_owned);
            let one_by_one: Vec<Choice> = {
                let mut model = model.clone();
                (0..=9).map_while(|_| model.boot()).collect()
            };
            assert_eq!(model.clone().predict(9), one_by_one);
            assert_eq!(
                model.end(9).as_ref(),
                one_by_one.get(8),
                "{set} {default:?}"
            );
            tried += 1;
        }
    }
    assert_eq!(tried, 1440);
}

/// The examples are systemd's own rules, worked by hand.
#[test]
fn patterns() {
    let is = |pattern: &str, text: &str| Pattern::new(pattern).matches(text);
    for (pattern, text) in [
        ("*", ""),
        ("a*c", "abbc"),
        ("a*b*c", "aXbYbc"),
        ("*ab", "aab"),
        ("?b", "ab"),
        ("[a-c]x", "bx"),
        ("[xy]", "y"),
        ("[]]", "]"),
        ("[!a]", "!"),
        ("[a-]", "-"),
        ("[a-c-f]", "-"),
        ("[a-c-f]", "f"),
        ("\\*", "*"),
        ("[\\]]", "]"),
        ("", ""),
    ] {
        assert!(is(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in [
        ("a", "ab"),
        ("ab", "a"),
        ("?", ""),
        ("[a-c]", "d"),
        ("[a-c-f]", "e"),
        ("[!a]", "b"),
        ("[a", "a"),
        ("[]", "]"),
        ("a*bc", "abcd"),
        ("ab*bc", "abc"),
        ("a\\", "a"),
        ("", "a"),
    ] {
        assert!(!is(pattern, text), "{pattern} {text}");
    }
}

#[test]
fn a_pattern_that_goes_back_for_ever_elsewhere_is_quick_here() {
    let pattern = Pattern::new(&format!("{}b", "a*".repeat(40)));
    assert!(!pattern.matches(&"a".repeat(200)));
}

fn read(release: ReleaseRange, file: &str, text: &str) -> Option<Listed> {
    let there = |path: &str| path == "/k";
    Listed::read(release, Partition::Boot, file, text, there)
}

#[test]
fn what_is_listed() {
    for release in ReleaseRange::ALL {
        assert!(read(release, "a.conf", "linux /k\n").is_some());
        assert!(read(release, "a.conf", "efi /k\narchitecture X64\n").is_some());
        for text in [
            "",
            "title a\n",
            "linux /gone\n",
            "linux /k\narchitecture aa64\n",
            "# linux /k\n",
            "linux\n",
            "title a\0\nlinux /k\n",
        ] {
            assert_eq!(read(release, "a.conf", text), None, "{text}");
        }
    }
    let both = "linux /gone\nefi /k\n";
    let old = read(ReleaseRange::V252, "a.conf", both).unwrap().entry;
    assert_eq!((old.linux, old.efi.as_deref()), (None, Some("/k")));
    assert_eq!(read(ReleaseRange::V258_1, "a.conf", both), None);
}

#[test]
fn values_lose_their_quotes_and_lines_end_in_any_way() {
    let text = "sort-key \"k y\"\rversion \"1\r\n  machine-id\t m \nlinux /k";
    let entry = read(ReleaseRange::V252, "a.conf", text).unwrap().entry;
    assert_eq!(entry.sort_key.as_deref(), Some("k y"));
    assert_eq!(entry.version.as_deref(), Some("\"1"));
    assert_eq!(entry.machine_id.as_deref(), Some("m"));
}

#[test]
fn a_file_keeps_its_spelling_until_it_is_counted() {
    let boots = booted(
        loader(
            ReleaseRange::V252,
            vec![listed("A+03-00.CONF", Some("k"), "1")],
        ),
        2,
    );
    assert_eq!(boots, ["A+03-00.CONF", "A+2-1.conf", "A+1-2.conf"]);
    let id = |release| listed("A+03-00.CONF", None, "1").id(release);
    assert_eq!(id(ReleaseRange::V252), "a+03-00.conf");
    assert_eq!(id(ReleaseRange::V258_1), "A.conf");
    assert_eq!(id(ReleaseRange::V259), "a.conf");
}

#[test]
fn a_read_only_medium_boots_the_same_for_ever() {
    let entries = [("a+3-0.conf", "k"), ("b.conf", "z")];
    let entries = entries.map(|(file, key)| listed(file, Some(key), "1"));
    let mut loader = loader(ReleaseRange::V252, entries.to_vec());
    loader.medium.read_only = true;
    assert_eq!(booted(loader, 3), ["a+3-0.conf"; 4]);
}

#[test]
fn files_that_are_not_listed_are_in_the_way_too_on_their_partition() {
    let mut loader = loader(
        ReleaseRange::V252,
        vec![listed("a+3-0.conf", Some("k"), "1")],
    );
    let other = |on| (on, "A+2-1.conf".to_owned());
    loader.medium.other_files = vec![other(Partition::Boot)];
    assert_eq!(booted(loader.clone(), 1), ["a+3-0.conf"; 2]);
    loader.medium.other_files = vec![other(Partition::Esp)];
    assert_eq!(booted(loader, 1), ["a+3-0.conf", "a+2-1.conf"]);
}

#[test]
fn an_efi_entry_is_counted_by_old_loaders_only() {
    for (release, second) in [
        (ReleaseRange::V252, "a+2-1.conf"),
        (ReleaseRange::V258_1, "a+3.conf"),
        (ReleaseRange::V260, "a+3.conf"),
    ] {
        let entry = read(release, "a+3.conf", "efi /k\n").unwrap();
        let boots = booted(loader(release, vec![entry]), 1);
        assert_eq!(boots, ["a+3.conf", second]);
    }
}

#[test]
fn saved_is_what_was_booted_last_as_long_as_it_is_called_so() {
    let entries = [("a.conf", "a"), ("b.conf", "b"), ("c+3-0.conf", "c")];
    let entries = entries.map(|(file, key)| listed(file, Some(key), "1"));
    let with = |release, last: &str| {
        let mut loader = loader(release, entries.to_vec());
        loader.conf.default = Some("@Saved".to_owned());
        loader.variables.last_booted = Some(last.to_owned());
        booted(loader, 1)
    };
    assert_eq!(with(ReleaseRange::V252, "b.conf"), ["b.conf"; 2]);
    assert_eq!(
        with(ReleaseRange::V252, "c+3-0.conf"),
        ["c+3-0.conf", "a.conf"]
    );
    assert_eq!(
        with(ReleaseRange::V258_1, "c.conf"),
        ["c+3-0.conf", "c+2-1.conf"]
    );
}

#[test]
fn a_one_shot_boot_is_not_saved() {
    let entries = ["a.conf", "b.conf", "c.conf"].map(|file| listed(file, Some("k"), "1"));
    let mut loader = loader(ReleaseRange::V252, entries.to_vec());
    loader.variables.default = Some("@saved".to_owned());
    loader.variables.last_booted = Some("b.conf".to_owned());
    loader.variables.one_shot = Some("A.conf".to_owned());
    assert_eq!(booted(loader, 2), ["a.conf", "b.conf", "b.conf"]);
}
