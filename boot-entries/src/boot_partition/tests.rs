use super::mounts::{Kind, Mount};
use super::*;

/// Mounts by point and device; `x` after the device makes it an XBOOTLDR partition, `r` read-only.
fn mounts(list: &[(&str, &str)]) -> Mounts {
    let line = |(point, device): &(&str, &str)| {
        let options = if device.contains('r') { "ro" } else { "rw" };
        format!("1 1 {device} / {point} {options} - vfat /dev/x rw\n")
    };
    let text: String = list.iter().map(line).collect();
    let kind = |device: &str| {
        let kind = if device.contains('x') {
            Kind::Xbootldr
        } else {
            Kind::Other
        };
        let disk = device.split(':').next().map(PathBuf::from);
        (kind, disk)
    };
    Mounts::parse(&text, kind)
}

fn told(list: &[(&str, &str)], loader: Option<&str>, mirrors: &[&str]) -> Told {
    let mirrors: Vec<PathBuf> = mirrors.iter().map(PathBuf::from).collect();
    let found = live(&mounts(list), loader.map(|l| ("uuid", l)), &mirrors);
    let found = found.map_err(|error| error.to_string())?;
    let usable = found.usable.iter().map(|place| {
        let (esp, boot) = (place.esp.display(), place.boot.display());
        format!(
            "{esp} {boot}{}",
            if place.is_read_only { " ro" } else { "" }
        )
    });
    let unusable = found.unusable.iter().map(ToString::to_string);
    Ok((usable.collect(), unusable.collect()))
}

type Told = Result<(Vec<String>, Vec<String>), String>;

#[allow(clippy::unnecessary_wraps, reason = "what `told` is compared with")]
fn only(place: &str) -> Told {
    Ok((vec![place.to_owned()], Vec::new()))
}

#[test]
fn the_partition_that_the_loader_came_from() {
    let both = [("/efi", "8:1"), ("/boot", "9:1")];
    assert_eq!(told(&both, None, &[]), only("/efi /efi"));
    assert_eq!(told(&both, Some("9:1"), &[]), only("/boot /boot"));
    let wrong = told(&both, Some("9:2"), &[]).unwrap_err();
    assert!(
        wrong.contains("/efi is not the partition the loader came from"),
        "{wrong}"
    );
    let none = told(&[("/home", "8:1")], Some("8:1"), &[]).unwrap_err();
    assert!(none.starts_with("no EFI system partition"), "{none}");
    assert_eq!(
        told(&[("/boot", "8:1r")], None, &[]),
        only("/boot /boot ro")
    );
}

#[test]
fn an_xbootldr_partition_on_the_same_disk_is_boot() {
    let beside = [("/efi", "8:1"), ("/boot", "8:2x")];
    assert_eq!(told(&beside, Some("8:1"), &[]), only("/efi /boot"));
    let below = [("/boot", "8:2x"), ("/boot/efi", "8:1")];
    assert_eq!(told(&below, Some("8:1"), &[]), only("/boot/efi /boot"));
    let elsewhere = [("/efi", "8:1"), ("/boot", "9:2x")];
    assert_eq!(told(&elsewhere, None, &[]), only("/efi /efi"));
    let read_only = [("/efi", "8:1"), ("/boot", "8:2xr")];
    assert_eq!(told(&read_only, None, &[]), only("/efi /boot ro"));
    let alone = told(&[("/boot", "8:2x")], None, &[]).unwrap_err();
    assert!(alone.starts_with("no EFI system partition"), "{alone}");
}

#[test]
fn a_mirror_that_is_missing_never_stops_the_others() {
    let two = [("/boot", "8:1"), ("/boot2", "9:1")];
    let both = told(&two, Some("8:1"), &["/boot2"]).unwrap();
    assert_eq!(both.0, ["/boot /boot", "/boot2 /boot2"]);
    // Started from the other disk.
    let other = told(&two, Some("9:1"), &["/boot2"]).unwrap();
    assert_eq!(other.0, ["/boot2 /boot2", "/boot /boot"]);
    let (usable, unusable) = told(&two[..1], None, &["/boot2"]).unwrap();
    assert_eq!(usable, ["/boot /boot"]);
    assert!(
        unusable[0].contains("/boot2 is no mounted FAT"),
        "{unusable:?}"
    );
    let (usable, unusable) = told(&two[1..], Some("9:1"), &["/boot2"]).unwrap();
    assert_eq!(usable, ["/boot2 /boot2"]);
    assert!(
        unusable[0].starts_with("no EFI system partition"),
        "{unusable:?}"
    );
    let same = [("/boot", "8:1"), ("/boot2", "8:1")];
    let (usable, unusable) = told(&same, None, &["/boot2"]).unwrap();
    assert_eq!(usable, ["/boot /boot"]);
    assert!(
        unusable[0].contains("same file system as /boot"),
        "{unusable:?}"
    );
}

#[test]
fn an_xbootldr_partition_is_no_mirror() {
    let mounted = [("/efi", "8:1"), ("/boot", "8:2x"), ("/boot2", "8:2x")];
    for mirror in ["/boot", "/boot2"] {
        let (usable, unusable) = told(&mounted, Some("8:1"), &[mirror]).unwrap();
        assert_eq!(usable, ["/efi /boot"], "{mirror}");
        assert!(
            unusable[0].contains("same file system as /boot"),
            "{unusable:?}"
        );
    }
}

#[test]
fn one_disk_has_more_than_one_name() {
    let mount = |device: &str, disk: Option<&str>| Mount {
        device: device.to_owned(),
        is_read_only: false,
        kind: Kind::Other,
        disk: disk.map(PathBuf::from),
    };
    assert!(mount("8:1", None).is_beside(&mount("8:2", Some("/a"))));
    assert!(!mount("8:1", Some("/a")).is_beside(&mount("8:1", Some("/a"))));
}

#[test]
fn a_tree_needs_a_directory() {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::new(tree.path());
    let find = |mirrors: &[&str]| {
        let mirrors: Vec<PathBuf> = mirrors.iter().map(PathBuf::from).collect();
        super::find(&root, &LoaderVariables::default(), &mirrors)
    };
    let make = |path: &str| std::fs::create_dir_all(tree.path().join(path)).unwrap();
    assert!(matches!(find(&[]), Err(Error::NoDirectory(_))));
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
}
