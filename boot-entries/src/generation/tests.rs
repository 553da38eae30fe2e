use super::*;
use proptest::prelude::*;
use std::os::unix::fs::symlink;

#[test]
fn link_names_are_read_from_the_end() {
    let id = GenerationId::of_link("foo-bar-3-link").unwrap();
    assert_eq!((id.profile(), id.number()), ("foo-bar", 3));
    for no in [
        "system",
        "system--link",
        "-3-link",
        "system-03-link",
        "system-3",
        "system-x-link",
    ] {
        assert_eq!(GenerationId::of_link(no), None, "{no}");
    }
}

#[test]
fn ids_round_trip() {
    for text in [
        "7",
        "web:7",
        "a-b:0",
        "7/x",
        "web:7/a b+3-0",
        "7//",
        "7/web:3/x",
        "a:b:7/ü",
    ] {
        assert_eq!(text.parse::<GenerationId>().unwrap().to_string(), text);
    }
    for no in [
        "", "x", ":3", "-1", "+1", "a/b:3", "3:", "3/", "/x", "3/a\nb", "a\tb:3",
    ] {
        assert!(no.parse::<GenerationId>().is_err(), "{no}");
    }
}

#[test]
fn holes_other_profiles_and_foreign_links() {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::new(tree.path());
    let profiles = tree.path().join("nix/var/nix/profiles");
    std::fs::create_dir_all(profiles.join("system-profiles")).unwrap();
    for (link, target) in [
        ("system-12-link", "/nix/store/l"),
        ("system-3-link", "/nix/store/c"),
        ("system", "system-3-link"),
        ("default-1-link", "/nix/store/d"),
        ("system-profiles/web-1-link", "/nix/store/w"),
        ("system-profiles/web", "web-1-link"),
    ] {
        symlink(target, profiles.join(link)).unwrap();
    }
    let read = Profiles::read(&root).unwrap();
    let ids: Vec<String> = read.generations.iter().map(|g| g.id.to_string()).collect();
    assert_eq!(ids, ["3", "12", "web:1"]);
    assert_eq!(read.current_system(), Some(&GenerationId::system(3)));
    assert_eq!(read.current.len(), 2);
}

#[test]
fn a_link_that_leads_nowhere_is_one_generations_trouble() {
    let tree = tempfile::tempdir().unwrap();
    let profiles = tree.path().join("nix/var/nix/profiles");
    std::fs::create_dir_all(&profiles).unwrap();
    std::fs::File::create(tree.path().join("file")).unwrap();
    for (number, target) in [
        (1, "system-1-link".to_owned()),
        (2, "/file/below".to_owned()),
        (3, "../../../../../../../../nix/store/c".to_owned()),
        (4, format!("/{}", "x".repeat(300))),
        (5, "/nix/store/gone".to_owned()),
    ] {
        symlink(target, profiles.join(format!("system-{number}-link"))).unwrap();
    }
    let read = Profiles::read(&Root::new(tree.path())).unwrap();
    let closures: Vec<_> = read.generations.iter().map(|g| &g.toplevel).collect();
    assert_eq!(
        closures,
        [
            Path::new("/nix/var/nix/profiles/system-1-link"),
            Path::new("/nix/var/nix/profiles/system-2-link"),
            Path::new("/nix/store/c"),
            Path::new("/nix/var/nix/profiles/system-4-link"),
            Path::new("/nix/store/gone"),
        ]
    );
}

proptest! {
    /// Whatever a specialisation is called: it is refused, or its id means the same again after a round trip
    /// through text and JSON.
    #[test]
    fn any_name_round_trips_or_is_refused(
        profile in r"([\PC&&[^/]]|[:0-9]){1,9}|[^/\x00]{1,20}", number: u64, name in r"(\PC|[/:0-9]){1,9}|(?s).{0,300}",
    ) {
        let link = format!("{profile}-{number}-link");
        if let Some(id) = GenerationId::of_link(&link).and_then(|id| id.specialised(&name)) {
            let text = id.to_string();
            prop_assert_eq!(text.parse::<GenerationId>().unwrap(), id.clone());
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<GenerationId>(&json).unwrap(), id.clone());
            prop_assert_eq!(text.lines().count(), 1);
            prop_assert_ne!(id.base(), id);
        }
    }
}

#[test]
fn no_profile_is_an_empty_list() {
    let tree = tempfile::tempdir().unwrap();
    assert_eq!(
        Profiles::read(&Root::new(tree.path())).unwrap(),
        Profiles::default()
    );
}

/// A link that somebody made by hand, or with a number that is none: it is no generation, and is not passed over in
/// silence.
#[test]
fn what_looks_like_a_generation_and_is_none_is_told() {
    let tree = tempfile::tempdir().unwrap();
    let odd = [
        "system-+7-link",
        "system--1-link",
        "system-007-link",
        "system-18446744073709551616-link",
        "system-profiles/system-3-link",
        "system-profiles/web-007-link",
    ];
    let good = [
        "system-18446744073709551615-link",
        "system-profiles/web-7-link",
    ];
    let others = [
        "system-web-007-link",
        "system-link",
        "default-007-link",
        "system-profiles/web-link",
    ];
    std::fs::create_dir_all(tree.path().join("nix/var/nix/profiles/system-profiles")).unwrap();
    for name in odd.iter().chain(&good).chain(&others) {
        let link = tree.path().join("nix/var/nix/profiles").join(name);
        symlink("/nix/store/a", link).unwrap();
    }
    let read = Profiles::read(&Root::new(tree.path())).unwrap();
    let expected = odd.map(|name| Path::new("/nix/var/nix/profiles").join(name));
    assert_eq!((read.generations.len(), read.odd), (2, expected.to_vec()));
}

#[test]
fn a_directory_of_links_into_a_closure_is_that_closure() {
    let tree = tempfile::tempdir().unwrap();
    let at = |path: &str| tree.path().join(path);
    std::fs::create_dir_all(at("nix/var/nix/profiles")).unwrap();
    for name in ["closure", "activatable-closure", "plain", "odd", "gone"] {
        std::fs::create_dir_all(at("nix/store").join(name)).unwrap();
    }
    for (closure, init) in [
        ("activatable-closure", "/nix/store/closure/init"),
        ("plain", "/usr/bin/lastgood"),
        ("odd", "/nix/store/systemd/lib/systemd/init"),
        ("gone", "/nix/store/collected/init"),
    ] {
        symlink(init, at("nix/store").join(closure).join("init")).unwrap();
    }
    std::fs::create_dir(at("nix/store/closure/etc")).unwrap();
    std::fs::File::create(at("nix/store/closure/init")).unwrap();
    let names = ["closure", "activatable-closure", "plain", "odd", "gone"];
    for (number, name) in names.iter().enumerate() {
        let link = at("nix/var/nix/profiles").join(format!("system-{number}-link"));
        symlink(Path::new("/nix/store").join(name), link).unwrap();
    }
    let read = Profiles::read(&Root::new(tree.path())).unwrap();
    let closures = read.generations.iter().map(|one| one.toplevel.clone());
    let wanted = ["closure", "closure", "plain", "odd", "gone"];
    let wanted = wanted.map(|name| Path::new("/nix/store").join(name));
    assert_eq!(closures.collect::<Vec<_>>(), wanted);
}
