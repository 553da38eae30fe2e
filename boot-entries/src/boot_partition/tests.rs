mod fake;

use std::os::unix::fs::symlink;

use fake::{ESP, Fake, XBOOTLDR_TYPE, uuid};

use super::*;

fn wanted(esp: Option<&str>, mirrors: &[&str]) -> Wanted {
    Wanted {
        esp: esp.map(PathBuf::from),
        mirrors: mirrors.iter().map(PathBuf::from).collect(),
    }
}

/// Usable and unusable places, and doubts.
type Told = Result<(Vec<String>, Vec<String>, Vec<String>), String>;

fn said(found: Result<Places, Error>) -> Told {
    let found = found.map_err(|error| error.to_string())?;
    let usable = found.usable.iter().enumerate().map(|(number, place)| {
        let (esp, boot) = (place.esp.display(), place.boot.display());
        let ro = if place.is_read_only { " ro" } else { "" };
        let next = if number == 0 && found.has_next {
            ""
        } else {
            " not next"
        };
        format!("{esp} {boot}{ro}{next}")
    });
    let unusable = found.unusable.iter().map(ToString::to_string);
    let doubts = found.doubts.iter().map(ToString::to_string);
    Ok((usable.collect(), unusable.collect(), doubts.collect()))
}

/// What is found among mounts as [`Fake::mount`] takes them; `x` after the device makes it an XBOOTLDR partition. The
/// loader came from the partition `loader`.
fn told(list: &[(&str, &str)], loader: Option<&str>, mirrors: &[&str]) -> Told {
    told_of(list, loader, &wanted(None, mirrors))
}

fn told_of(list: &[(&str, &str)], loader: Option<&str>, wanted: &Wanted) -> Told {
    let fake = Fake::new();
    fake.mount(list);
    for device in list.iter().map(|(_, device)| *device).chain(loader) {
        let kind = if device.contains('x') {
            XBOOTLDR_TYPE
        } else {
            ESP
        };
        fake.partition(device.trim_end_matches(['x', 'r']), kind);
    }
    said(fake.places(loader.map(uuid).as_deref(), wanted))
}

#[allow(clippy::unnecessary_wraps, reason = "what `told` is compared with")]
fn only(place: &str) -> Told {
    Ok((vec![place.to_owned()], Vec::new(), Vec::new()))
}

/// It is found, and nobody could check that it is the right one.
fn unchecked(place: &str, told: Told) {
    let (usable, unusable, doubts) = told.unwrap();
    assert_eq!(usable, [place]);
    assert!(unusable.is_empty(), "{unusable:?}");
    assert!(
        doubts.len() == 1 && doubts[0].starts_with("it could not be checked"),
        "{doubts:?}"
    );
}

#[test]
fn the_partition_that_the_loader_came_from() {
    let both = [("/efi", "8:1"), ("/boot", "9:1")];
    assert_eq!(told(&both, Some("9:1"), &[]), only("/boot /boot"));
    let wrong = told(&both, Some("9:2"), &[]).unwrap_err();
    assert!(
        wrong.contains("/efi is not the partition the loader came from"),
        "{wrong}"
    );
    let none = told(&[("/home", "8:1")], Some("8:2"), &[]).unwrap_err();
    assert!(
        none.starts_with("no EFI system partition: none of /efi"),
        "{none}"
    );
    assert_eq!(
        told(&[("/boot", "8:1r")], Some("8:1"), &[]),
        only("/boot /boot ro")
    );
}

/// The installer's own partition is another one, and may be mounted as well.
#[test]
fn what_started_an_installer_says_nothing_of_the_new_system() {
    for stick in [None, Some(("/stick", "9:1"))] {
        let fake = Fake::new();
        let mounts: Vec<(&str, &str)> = [("/boot", "8:1")].into_iter().chain(stick).collect();
        fake.mount(&mounts);
        for number in ["8:1", "9:1"] {
            fake.partition(number, ESP);
        }
        let told = || said(fake.places(Some(&uuid("9:1")), &wanted(Some("/boot"), &[])));
        // Not in a chroot it is what the loader reads next that counts.
        let before = told();
        assert!(before.is_err() || before.unwrap().0 != ["/boot /boot"]);
        fake.in_a_chroot();
        let (usable, unusable, doubts) = told().unwrap();
        assert_eq!(usable, ["/boot /boot"]);
        assert!(unusable.is_empty(), "{unusable:?}");
        assert!(
            doubts.len() == 1 && doubts[0].starts_with("this is a chroot"),
            "{doubts:?}"
        );
    }
}

#[test]
fn it_is_the_esp_wherever_it_is_mounted() {
    assert_eq!(
        told(&[("/boot1", "8:1")], Some("8:1"), &[]),
        only("/boot1 /boot1")
    );
    let with_other = [("/boot", "9:1"), ("/boot\\040one", "8:1")];
    assert_eq!(
        told(&with_other, Some("8:1"), &[]),
        only("/boot one /boot one")
    );
    // The usual places come first.
    let twice = [("/a", "8:1"), ("/boot", "8:1")];
    assert_eq!(told(&twice, Some("8:1"), &[]), only("/boot /boot"));
    let mirrored = [("/boot1", "8:1"), ("/boot2", "9:1")];
    let found = told(&mirrored, Some("8:1"), &["/boot2/"]).unwrap();
    assert_eq!(found.0, ["/boot1 /boot1", "/boot2/ /boot2/ not next"]);
    assert!(found.1.is_empty() && found.2.is_empty(), "{found:?}");
}

#[test]
fn the_first_one_can_be_named() {
    let mounted = [("/boot1", "8:1"), ("/boot2", "9:1"), ("/efi", "7:1")];
    let named = wanted(Some("/boot1/"), &["/boot2", "/boot1"]);
    for (loader, usable) in [
        ("8:1", ["/boot1/ /boot1/", "/boot2 /boot2 not next"]),
        ("9:1", ["/boot2 /boot2", "/boot1/ /boot1/ not next"]),
    ] {
        let found = told_of(&mounted, Some(loader), &named).unwrap();
        assert_eq!(found.0, usable);
        assert!(found.1.is_empty() && found.2.is_empty(), "{found:?}");
    }
    // It is not what the loader reads.
    let (usable, unusable, _) = told_of(&mounted, Some("7:1"), &named).unwrap();
    assert_eq!(usable[0], "/efi /efi");
    assert!(
        unusable[0].starts_with("/boot1/ is not the partition"),
        "{unusable:?}"
    );
    let gone = told_of(&mounted[1..], Some("9:1"), &named).unwrap();
    assert_eq!(gone.0, ["/boot2 /boot2"]);
    assert!(
        gone.1[0].contains("/boot1/, which lastgood.toml names, is not"),
        "{gone:?}"
    );
}

#[test]
fn mirrors_of_each_other_are_asked_for_a_first_one() {
    let mounted = [("/boot1", "8:1"), ("/boot2", "9:1")];
    let (usable, unusable, doubts) = told(&mounted, Some("9:1"), &["/boot1", "/boot2"]).unwrap();
    assert_eq!(usable, ["/boot2 /boot2", "/boot1 /boot1 not next"]);
    assert!(unusable.is_empty(), "{unusable:?}");
    assert!(
        doubts.len() == 1 && doubts[0].contains("`[boot] esp`"),
        "{doubts:?}"
    );
}

#[test]
fn what_cannot_be_checked_is_told() {
    let mounted = [("/efi", "8:1"), ("/boot", "9:1")];
    unchecked("/efi /efi", told(&mounted, None, &[]));
    let fake = Fake::new();
    fake.mount(&mounted);
    fake.partition("8:1", ESP);
    unchecked(
        "/efi /efi",
        said(fake.places(Some("gone"), &wanted(None, &[]))),
    );
    // Without udev nothing is known of any partition.
    let fake = Fake::new();
    fake.mount(&mounted);
    unchecked(
        "/efi /efi",
        said(fake.places(Some(&uuid("9:1")), &wanted(None, &[]))),
    );
}

/// Whoever may mount something may call it as they like.
#[test]
fn a_name_that_is_no_text_hides_no_other_mount() {
    let fake = Fake::new();
    fake.mount(&[("/efi", "8:1")]);
    fake.partition("8:1", ESP);
    fake.mounted_as_well(b"9 9 0:9 / /media/caf\xe9 rw - fuse d rw\n");
    let found = said(fake.places(Some(&uuid("8:1")), &wanted(None, &[])));
    assert_eq!(found, only("/efi /efi"));
}

#[test]
fn one_half_of_a_raid_is_what_the_loader_came_from() {
    let fake = Fake::new();
    fake.mount(&[("/efi", "9:127"), ("/boot", "9:126")]);
    for disk in ["8", "65"] {
        fake.partition(&format!("{disk}:1"), ESP);
        fake.partition(&format!("{disk}:2"), XBOOTLDR_TYPE);
    }
    fake.raid("9:127", "md127", &["8:1", "65:1"]);
    fake.raid("9:126", "md126", &["8:2", "65:2"]);
    for loader in ["8:1", "65:1"] {
        let found = said(fake.places(Some(&uuid(loader)), &wanted(None, &[])));
        assert_eq!(found, only("/efi /boot"), "{loader}");
    }
    // The whole disk is none of its halves.
    fake.partition("66:1", ESP);
    let wrong = said(fake.places(Some(&uuid("66:1")), &wanted(None, &[]))).unwrap_err();
    assert!(wrong.contains("/efi is not the partition"), "{wrong}");
}

#[test]
fn an_xbootldr_partition_on_the_same_disk_is_boot() {
    let beside = [("/efi", "8:1"), ("/boot", "8:2x")];
    assert_eq!(told(&beside, Some("8:1"), &[]), only("/efi /boot"));
    let below = [("/boot", "8:2x"), ("/boot/efi", "8:1")];
    assert_eq!(told(&below, Some("8:1"), &[]), only("/boot/efi /boot"));
    let elsewhere = [("/efi", "8:1"), ("/boot", "9:2x")];
    assert_eq!(told(&elsewhere, Some("8:1"), &[]), only("/efi /efi"));
    let read_only = [("/efi", "8:1"), ("/boot", "8:2xr")];
    assert_eq!(told(&read_only, Some("8:1"), &[]), only("/efi /boot ro"));
    let alone = told(&[("/boot", "8:2x")], None, &[]).unwrap_err();
    assert!(alone.starts_with("no EFI system partition"), "{alone}");
}

#[test]
fn an_xbootldr_partition_that_is_not_mounted_is_not_passed_over() {
    let fake = Fake::new();
    fake.partition("8:1", ESP);
    fake.partition("8:2", XBOOTLDR_TYPE);
    fake.partition("9:1", ESP);
    let refused = |mounts: &[(&str, &str)], loader: Option<&str>| {
        fake.mount(mounts);
        let why = said(fake.places(loader, &wanted(None, &[]))).unwrap_err();
        for word in [
            "/dev/d8p2 is an XBOOTLDR partition",
            "disk of ",
            "/boot",
            "sfdisk --part-type",
        ] {
            assert!(why.contains(word), "{word:?} is not in {why}");
        }
    };
    let loader = uuid("8:1");
    refused(&[("/efi", "8:1")], Some(&loader));
    refused(&[("/efi", "8:1")], None);
    refused(&[("/boot", "8:1")], Some(&loader));
    refused(&[("/boot", "8:1"), ("/boot/loader", "8:2")], Some(&loader));
    // It keeps no mirror from being written, and is what the loader reads.
    fake.mount(&[("/efi", "8:1"), ("/boot2", "9:1")]);
    let (usable, unusable, _) =
        said(fake.places(Some(&loader), &wanted(None, &["/boot2"]))).unwrap();
    assert_eq!(usable, ["/boot2 /boot2 not next"]);
    assert!(unusable[0].contains("/dev/d8p2"), "{unusable:?}");
    // Mounted where it belongs, or on a disk that the loader does not read.
    fake.mount(&[("/efi", "8:1"), ("/boot", "8:2")]);
    assert_eq!(
        said(fake.places(Some(&loader), &wanted(None, &[]))),
        only("/efi /boot")
    );
    fake.mount(&[("/efi", "9:1")]);
    let found = said(fake.places(Some(&uuid("9:1")), &wanted(None, &[])));
    assert_eq!(found, only("/efi /efi"));
}

#[test]
fn a_mirror_that_is_missing_never_stops_the_others() {
    let two = [("/boot", "8:1"), ("/boot2", "9:1")];
    let both = told(&two, Some("8:1"), &["/boot2"]).unwrap();
    assert_eq!(both.0, ["/boot /boot", "/boot2 /boot2 not next"]);
    // Started from the other disk.
    let other = told(&two, Some("9:1"), &["/boot2"]).unwrap();
    assert_eq!(other.0, ["/boot2 /boot2", "/boot /boot not next"]);
    let (usable, unusable, _) = told(&two[..1], Some("8:1"), &["/boot2"]).unwrap();
    assert_eq!(usable, ["/boot /boot"]);
    assert!(
        unusable[0].contains("/boot2 is no mounted FAT"),
        "{unusable:?}"
    );
    let (usable, unusable, _) = told(&two[1..], Some("9:1"), &["/boot2"]).unwrap();
    assert_eq!(usable, ["/boot2 /boot2"]);
    assert!(
        unusable[0].starts_with("no EFI system partition"),
        "{unusable:?}"
    );
    let same = [("/boot", "8:1"), ("/boot2", "8:1")];
    let (usable, unusable, _) = told(&same, Some("8:1"), &["/boot2"]).unwrap();
    assert_eq!(usable, ["/boot /boot"]);
    assert!(
        unusable[0].contains("same file system as /boot"),
        "{unusable:?}"
    );
}

/// The partition that the loader came from is not mounted, or something else is in its place.
#[test]
fn a_first_place_that_is_missing_never_stops_mirrors() {
    let mirrored = [("/boot2", "9:1")];
    let (usable, unusable, _) = told(&mirrored, Some("8:1"), &["/boot2"]).unwrap();
    assert_eq!(usable, ["/boot2 /boot2 not next"]);
    assert!(
        unusable[0].starts_with("no EFI system partition"),
        "{unusable:?}"
    );
    let another = [("/boot", "7:1"), ("/boot2", "9:1")];
    let (usable, unusable, _) = told(&another, Some("8:1"), &["/boot2"]).unwrap();
    assert_eq!(usable, ["/boot2 /boot2 not next"]);
    assert!(
        unusable[0].contains("/boot is not the partition"),
        "{unusable:?}"
    );
    // Whatever the loader came from, nobody knows.
    let (usable, ..) = told(&mirrored, None, &["/boot2"]).unwrap();
    assert_eq!(usable, ["/boot2 /boot2 not next"]);
}

#[test]
fn an_xbootldr_partition_is_no_mirror() {
    let mounted = [("/efi", "8:1"), ("/boot", "8:2x"), ("/boot2", "8:2x")];
    for mirror in ["/boot", "/boot2"] {
        let (usable, unusable, _) = told(&mounted, Some("8:1"), &[mirror]).unwrap();
        assert_eq!(usable, ["/efi /boot"], "{mirror}");
        assert!(
            unusable[0].contains("same file system as /boot"),
            "{unusable:?}"
        );
    }
}

#[test]
fn a_tree_needs_a_directory() {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::new(tree.path());
    let find_in = |wanted: &Wanted| super::find(&root, &LoaderVariables::default(), wanted);
    let find = |mirrors: &[&str]| find_in(&wanted(None, mirrors));
    let make = |path: &str| std::fs::create_dir_all(tree.path().join(path)).unwrap();
    assert!(matches!(find(&[]), Err(Error::NoDirectory { .. })));
    make("efi");
    make("boot/efi");
    assert_eq!(find(&[]).unwrap().usable[0].name, Path::new("/boot"));
    make("efi/loader");
    let place = find(&[]).unwrap().usable.remove(0);
    assert!(
        place.name == Path::new("/efi") && !place.has_xbootldr(),
        "{place:?}"
    );
    make("boot/loader");
    crate::durable::put_text("type1\n", &tree.path().join("boot").join(MARK)).unwrap();
    let place = find(&[]).unwrap().usable.remove(0);
    assert_eq!(place.directory(Partition::Esp), tree.path().join("efi"));
    assert_eq!(place.directory(Partition::Boot), tree.path().join("boot"));
    make("mirror");
    let places = find(&["/mirror", "/gone"]).unwrap();
    assert_eq!(places.usable[1].name, Path::new("/mirror"));
    assert_eq!(places.unusable.len(), 1);
    let named = find_in(&wanted(Some("/mirror"), &["/mirror/", "/efi"])).unwrap();
    let of = |number: usize| named.usable[number].name.as_path();
    assert_eq!([of(0), of(1)], [Path::new("/mirror"), Path::new("/efi")]);
    assert!(named.unusable.is_empty() && named.has_next, "{named:?}");
    let missing = find_in(&wanted(Some("/gone"), &["/efi"])).unwrap();
    assert!(
        !missing.has_next && missing.usable.len() == 1,
        "{missing:?}"
    );
    let told = missing.unusable[0].to_string();
    assert!(
        told.contains("/gone, which lastgood.toml names, is not a directory in it"),
        "{told}"
    );
    symlink("mirror", tree.path().join("other")).unwrap();
    let same = find_in(&wanted(Some("/mirror"), &["/other"])).unwrap();
    assert!(
        same.unusable[0]
            .to_string()
            .contains("same file system as /mirror"),
        "{same:?}"
    );
}
