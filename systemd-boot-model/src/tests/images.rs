//! Unified kernel images, and entries that start one. What each release makes of them is read off its source.

use super::*;
use crate::uki::tests::image;

const PLAIN: &str = "ID=a\nNAME=A\n";

fn uki(sections: &[(&str, &str)]) -> Uki {
    Uki::of_bytes(&image(sections))
}

fn images(release: ReleaseRange, file: &str, sections: &[(&str, &str)]) -> Vec<Listed> {
    Listed::of_image(release, Partition::Esp, file, &uki(sections))
}

fn ids(release: ReleaseRange, file: &str, sections: &[(&str, &str)]) -> Vec<String> {
    let all = images(release, file, sections);
    all.iter().map(|listed| listed.id(release)).collect()
}

#[test]
fn an_image_is_listed_by_what_it_says_of_itself() {
    let all = "PRETTY_NAME=\"P q\"\nIMAGE_ID=i\nNAME=n\nID=d\n\
               IMAGE_VERSION=1\nVERSION='2'\nVERSION_ID=3\nBUILD_ID=4\n";
    let without = |keys: &[&str]| -> String {
        let kept = all.split_inclusive('\n');
        kept.filter(|line| !keys.iter().any(|key| line.starts_with(&format!("{key}="))))
            .collect()
    };
    let first = |text: &str| {
        let mut listed = images(ReleaseRange::V260, "x.efi", &[(".osrel", text)]);
        let Entry {
            title,
            sort_key,
            version,
            ..
        } = listed.pop()?.entry;
        Some((title?, sort_key, version))
    };
    let some = |text: &str| Some(text.to_owned());
    for (gone, title, sort_key, version) in [
        (&[][..], "P q", "i", "1"),
        (&["PRETTY_NAME", "IMAGE_VERSION"], "i", "i", "2"),
        (
            &["PRETTY_NAME", "IMAGE_ID", "IMAGE_VERSION", "VERSION"],
            "n",
            "d",
            "3",
        ),
        (
            &[
                "PRETTY_NAME",
                "IMAGE_ID",
                "NAME",
                "IMAGE_VERSION",
                "VERSION",
                "VERSION_ID",
            ],
            "d",
            "d",
            "4",
        ),
    ] {
        let told = first(&without(gone)).unwrap();
        assert_eq!(
            told,
            (title.to_owned(), some(sort_key), some(version)),
            "{gone:?}"
        );
    }
    assert_eq!(first("NAME=n\n"), Some(("n".to_owned(), None, None)));
    for nameless in ["", "VERSION=1\n", "#ID=a\n", " ID =a\n"] {
        assert_eq!(first(nameless), None, "{nameless:?}");
    }
    for release in ReleaseRange::ALL {
        assert_eq!(images(release, "x.efi", &[(".linux", "x")]), []);
        for unseen in [".x.efi", "auto-x.efi", "x.efi.part", "x.conf"] {
            assert_eq!(
                images(release, unseen, &[(".osrel", PLAIN)]),
                [],
                "{unseen}"
            );
        }
    }
    let quoted = |release| {
        images(release, "x.efi", &[(".osrel", "ID='a'\n")])
            .remove(0)
            .entry
            .sort_key
    };
    assert_eq!(
        (quoted(ReleaseRange::V259), quoted(ReleaseRange::V260)),
        (some("'a'"), some("a"))
    );
}

/// Up to 257 an empty value is none.
#[test]
fn an_empty_value_is_one_from_258_on() {
    for (release, key) in [
        (ReleaseRange::V257_10, None),
        (ReleaseRange::V258, Some(String::new())),
    ] {
        let listed = images(release, "x.efi", &[(".osrel", "ID=\nNAME=A\n")]).remove(0);
        assert_eq!(listed.entry.sort_key, key);
        let listed = read(release, "a.conf", "linux /k\nsort-key \"\"\n").unwrap();
        assert_eq!(listed.entry.sort_key, key);
    }
}

#[test]
fn an_image_is_called_what_its_release_calls_it() {
    let profiles = [
        (".osrel", PLAIN),
        (".profile", "ID=main\n"),
        (".profile", "ID=Rescue\n"),
        (".profile", "TITLE=x\n"),
    ];
    for (release, plain, counted) in [
        (ReleaseRange::V252, &["x.efi"][..], &["x+3.efi"][..]),
        (
            ReleaseRange::V257,
            &["x.efi", "x.efi@rescue", "x.efi@2"],
            &["x+3.efi", "x+3.efi@rescue", "x+3.efi@2"],
        ),
        // The profile is lost with the counter, and so are small letters.
        (
            ReleaseRange::V257_10,
            &["x.efi", "x.efi@rescue", "x.efi@2"],
            &["X.efi"; 3],
        ),
        (
            ReleaseRange::V258,
            &["x.efi", "x.efi@rescue", "x.efi@2"],
            &["x+3.efi", "x+3.efi@rescue", "x+3.efi@2"],
        ),
        (
            ReleaseRange::V258_1,
            &["x.efi", "x.efi@rescue", "x.efi@2"],
            &["X.efi"; 3],
        ),
        (
            ReleaseRange::V258_3,
            &["x.efi", "x.efi@Rescue", "x.efi@2"],
            &["X.efi", "X.efi@Rescue", "X.efi@2"],
        ),
        (
            ReleaseRange::V260,
            &["x.efi", "x.efi@Rescue", "x.efi@2"],
            &["X.efi", "X.efi@Rescue", "X.efi@2"],
        ),
    ] {
        assert_eq!(ids(release, "X.EFI", &profiles), plain, "{release:?}");
        assert_eq!(ids(release, "X+3.EFI", &profiles), counted, "{release:?}");
    }
}

#[test]
fn a_profile_may_boot_something_else() {
    let sections = [
        (".osrel", PLAIN),
        (".profile", ""),
        (".profile", ""),
        (".osrel", "ID=b\n"),
        (".osrel", "ID=c\n"),
        (".profile", ""),
        (".osrel", "VERSION=1\n"),
    ];
    let keys = |release| -> Vec<String> {
        let all = images(release, "x.efi", &sections);
        all.into_iter()
            .filter_map(|listed| listed.entry.sort_key)
            .collect()
    };
    // The last one of all has no name.
    assert_eq!(images(ReleaseRange::V252, "x.efi", &sections), []);
    assert_eq!(keys(ReleaseRange::V257), ["a", "b"]);
    let mut many = vec![(".osrel", PLAIN)];
    many.extend([(".profile", ""); 300].iter());
    let many = Uki {
        parts: uki_parts(&many),
        has_kernel: true,
    };
    assert_eq!(
        Listed::of_image(ReleaseRange::V260, Partition::Esp, "x.efi", &many).len(),
        256
    );
}

fn uki_parts(sections: &[(&str, &str)]) -> Vec<Part> {
    use crate::Part;
    let part = |(name, text): &(&str, &str)| match *name {
        ".osrel" => Part::OsRelease((*text).to_owned()),
        _ => Part::Profile((*text).to_owned()),
    };
    sections.iter().map(part).collect()
}

/// In its own directory, and all profiles with it.
#[test]
fn an_image_is_counted_by_every_release() {
    let sections = [(".osrel", PLAIN), (".profile", ""), (".profile", "ID=p\n")];
    for release in ReleaseRange::ALL {
        let mut model = loader(release, images(release, "x+2.EFI", &sections));
        // Another directory.
        model.entries.push(listed("y+0-1.conf", Some("z"), "1"));
        model
            .medium
            .other_files
            .push((Partition::Boot, "x+1-1.efi".to_owned()));
        model.conf.default = Some("x*".to_owned());
        let boots = model.clone().predict(3);
        let files: Vec<&str> = boots.iter().map(|boot| boot.file.as_str()).collect();
        assert_eq!(
            files,
            ["x+2.EFI", "x+1-1.efi", "x+0-2.efi", "x+0-3.efi"],
            "{release:?}"
        );
        assert!(boots.iter().all(|boot| boot.is_image));
        model.boot();
        let same = |listed: &&Listed| listed.file == "x+1-1.efi";
        assert_eq!(
            model.entries.iter().filter(same).count(),
            model.entries.len() - 1
        );
    }
}

#[test]
fn further_profiles_are_started_unasked_by_older_releases_only() {
    let first = |release, default: Option<&str>| {
        // Of the first profile nothing is said, so that it has another place.
        let sections = [
            (".profile", ""),
            (".osrel", "ID=b\n"),
            (".profile", "ID=p\n"),
            (".osrel", PLAIN),
        ];
        let mut model = loader(release, images(release, "x.efi", &sections));
        model.conf.default = default.map(str::to_owned);
        let boot = model.boot().unwrap();
        boot.file + &boot.profile
    };
    for (release, unasked) in [
        (ReleaseRange::V257, "x.efi@p"),
        (ReleaseRange::V258_3, "x.efi@p"),
        (ReleaseRange::V258_8, "x.efi"),
        (ReleaseRange::V259, "x.efi@p"),
        (ReleaseRange::V260, "x.efi@p"),
        (ReleaseRange::V260_2, "x.efi"),
    ] {
        assert_eq!(first(release, None), unasked, "{release:?}");
        assert_eq!(first(release, Some("*@p")), "x.efi@p", "{release:?}");
    }
    let only = read(ReleaseRange::V260_2, "a.conf", "uki /k\nprofile 1\n").unwrap();
    let boot = loader(ReleaseRange::V260_2, vec![only]).boot().unwrap();
    assert_eq!(boot.why, Why::NoFirstProfile);
}

#[test]
fn profiles_have_their_order() {
    let twin = |release, profile: &str| {
        let text = format!("sort-key k\nversion 1\nuki /k\nprofile {profile}\n");
        read(release, &format!("{profile}.conf"), &text).unwrap()
    };
    let order = |release| {
        let all = ["4294967295", "2", "1", "x", "-1"].map(|profile| twin(release, profile));
        let model = loader(release, all.to_vec());
        let menu = model.menu();
        menu.iter()
            .map(|listed| listed.file.clone())
            .collect::<Vec<_>>()
    };
    let by_name = ["4294967295.conf", "2.conf", "1.conf", "x.conf", "-1.conf"];
    assert_eq!(order(ReleaseRange::V258_8), by_name);
    assert_eq!(order(ReleaseRange::V260), by_name);
    let by_profile = ["4294967295.conf", "x.conf", "-1.conf", "1.conf", "2.conf"];
    assert_eq!(order(ReleaseRange::V260_2), by_profile);
}

#[test]
fn an_entry_may_start_an_image() {
    for release in ReleaseRange::ALL {
        let is_known = release.knows_uki();
        for (text, is_listed) in [
            ("uki /k\n", is_known),
            ("uki /gone\n", false),
            ("uki /gone\nuki /k\n", is_known),
            ("uki-url http://[::1]/x\n", is_known),
            // From a network it would be.
            ("uki-url :x\n", false),
            ("uki /k\nlinux /k\n", !is_known),
            ("uki-url http://[::1]/x\nlinux /k\n", !is_known),
        ] {
            let listed = read(release, "a.conf", text);
            assert_eq!(listed.is_some(), is_listed, "{release:?} {text:?}");
        }
    }
    let boots = |text: &str| {
        let entry = read(ReleaseRange::V258_1, "a+3.conf", text).unwrap();
        booted(loader(ReleaseRange::V258_1, vec![entry]), 1)
    };
    assert_eq!(boots("uki /k\n"), ["a+3.conf", "a+2-1.conf"]);
    assert_eq!(boots("uki-url http://[::1]/x\n"), ["a+3.conf"; 2]);
}

#[test]
fn capitals_hide_a_name_from_257_on() {
    for release in ReleaseRange::ALL {
        let is_listed = release == ReleaseRange::V252;
        assert_eq!(
            read(release, "AUTO-a.conf", "linux /k\n").is_some(),
            is_listed
        );
        let listed = images(release, "Auto-a.efi", &[(".osrel", PLAIN)]);
        assert_eq!(!listed.is_empty(), is_listed);
    }
}

/// A pattern in small letters does not match an id that has others, but what was saved does.
#[test]
fn what_was_saved_is_looked_for_to_the_letter() {
    let files = [("A+3.conf", "z"), ("b.conf", "y")];
    let files = files.map(|(file, key)| listed(file, Some(key), "1"));
    for (release, last) in [
        (ReleaseRange::V257_10, "A.conf"),
        (ReleaseRange::V259, "a.conf"),
    ] {
        let mut model = loader(release, files.to_vec());
        model.conf.default = Some("@saved".to_owned());
        model.variables.last_booted = Some(last.to_owned());
        assert_eq!(model.boot().unwrap().id, last);
        model.conf.default = Some("A*".to_owned());
        model.variables.last_booted = None;
        model.entries.retain(|listed| listed.name.stem != "b");
        model.entries.insert(0, listed("B.conf", Some("0"), "1"));
        let first = if release == ReleaseRange::V259 {
            "a.conf"
        } else {
            "b.conf"
        };
        assert_eq!(model.boot().unwrap().id, first, "{release:?}");
    }
}
