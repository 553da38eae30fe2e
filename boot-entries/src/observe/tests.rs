//! What anybody may have put among the entries.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;

use super::*;
use systemd_boot_model::IMAGES;

/// A `$BOOT` with a kernel, and `files` among its entries.
fn read(files: &[(&str, &str)]) -> Result<BootFiles, Error> {
    let tree = tempfile::tempdir().unwrap();
    let entries = tree.path().join(ENTRIES);
    fs::create_dir_all(&entries).unwrap();
    fs::create_dir_all(tree.path().join("EFI/x")).unwrap();
    symlink("loop.conf", entries.join("loop.conf")).unwrap();
    fs::create_dir(entries.join("lastgood-9-01234567.conf")).unwrap();
    let mut all = files.to_vec();
    all.push(("../../EFI/x/kernel", "kernel"));
    all.push(("../loader.conf", "timeout 3\n"));
    for (name, text) in all {
        crate::durable::put_text(text, &entries.join(name)).unwrap();
    }
    BootFiles::read(&Place {
        esp: tree.path().into(),
        boot: tree.path().into(),
        ..Place::default()
    })
}

#[test]
fn no_entry_of_anybodys_stops_the_others() {
    let long = format!("linux /{}\n", "x".repeat(300));
    let huge = "#".repeat(300 * 1024);
    let ours = "lastgood-1-01234567.conf";
    let boot = read(&[
        ("good.conf", "linux /EFI/x/kernel\n"),
        ("nul.conf", "linux /EFI/x\0\0\0\n"),
        ("below-a-file.conf", "linux /loader/loader.conf/x\n"),
        ("long.conf", &long),
        ("huge.conf", &huge),
        (ours, &huge),
    ])
    .unwrap();
    let starts: Vec<(&str, bool)> = boot
        .all()
        .map(|(name, file)| (name.as_str(), file.has_program))
        .collect();
    let wanted = [
        ("below-a-file.conf", false),
        ("good.conf", true),
        (ours, false),
        ("long.conf", false),
        // Cut off there, it is a directory: for the loader as well.
        ("nul.conf", true),
    ];
    assert_eq!(starts, wanted);
    assert_eq!(boot.entries[ours].text, UNREADABLE, "it is written again");
    assert_eq!(boot.unreadable.len(), 4, "{:?}", boot.unreadable);
    let huge = boot.unreadable.iter().find(|told| told.contains("/huge"));
    assert!(huge.unwrap().contains("is larger than"), "{huge:?}");
}

#[test]
fn a_program_is_what_the_loader_takes_for_it() {
    for (text, is_there) in [
        ("linux /EFI/x/kernel\n", true),
        ("linux \\EFI\\x\\kernel\n", true),
        ("linux \"EFI/x/kernel\"\n", true),
        ("title a\rlinux EFI/x/kernel\r", true),
        ("linux /EFI/x/gone\nefi /EFI/x/kernel\n", true),
        ("efi /EFI/x/kernel\nlinux /EFI/x/gone\n", false),
        ("\0linux /EFI/x/kernel\n", false),
        ("title a\n", false),
    ] {
        let boot = read(&[("a.conf", text)]).unwrap();
        assert_eq!(boot.entries["a.conf"].has_program, is_there, "{text:?}");
    }
}

/// What is there under the names of images, and what the loader makes of it beside the entries.
#[test]
fn images_are_entries_too() {
    let image = crate::uki::tests::image(&[(".osrel", "ID=a\n")]);
    let tree = tempfile::tempdir().unwrap();
    for directory in [ENTRIES, IMAGES] {
        fs::create_dir_all(tree.path().join(directory)).unwrap();
    }
    let write = |path: &str, bytes: &[u8]| {
        let file = fs::File::create(tree.path().join(path));
        file.unwrap().write_all(bytes).unwrap();
    };
    write("EFI/Linux/a+3-0.efi", &image);
    write("EFI/Linux/b.EFI", b"MZ");
    write("EFI/Linux/c.txt", &image);
    fs::create_dir(tree.path().join("EFI/Linux/d.efi")).unwrap();
    write("loader/entries/e.conf", b"uki /EFI/Linux/b.EFI\n");
    let boot = BootFiles::read(&Place {
        esp: tree.path().into(),
        boot: tree.path().into(),
        ..Place::default()
    })
    .unwrap();
    let names: Vec<&str> = boot.images.keys().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["a+3-0.efi", "b.EFI", "d.efi"]);
    assert_eq!(boot.unreadable.len(), 1, "{:?}", boot.unreadable);
    for (release, files) in [
        (ReleaseRange::V252, &["a+3-0.efi"][..]),
        (ReleaseRange::V258, &["a+3-0.efi", "e.conf"]),
    ] {
        let loader = boot.loader(release, LoaderVariables::default());
        let menu = loader.menu();
        let listed: Vec<&str> = menu.iter().map(|listed| listed.file.as_str()).collect();
        assert_eq!(listed, files);
        let others = &loader.medium.other_files;
        assert!(
            others.contains(&(Partition::Boot, "b.EFI".to_owned())),
            "{others:?}"
        );
    }
}
