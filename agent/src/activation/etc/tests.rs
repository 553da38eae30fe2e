use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

mod random;

fn machine() -> (tempfile::TempDir, Root) {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::new(tree.path());
    (tree, root)
}

fn write(path: PathBuf, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = std::fs::File::create(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

/// A file of closure `one`, and what it says of its mode and owner: this process, so that every user can test it.
pub(super) fn copied(root: &Root, closure: &str, path: &str, text: &str, mode: &str) {
    let etc = root.join(format!("/nix/store/{closure}/etc"));
    let file = format!("/nix/store/{closure}-{}", path.replace('/', "-"));
    write(root.join(&file), text);
    let place = etc.join(path);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    symlink(file, &place).unwrap();
    let found = root.join("/nix/store").metadata().unwrap();
    let beside = |ending: &str| etc.join(format!("{path}.{ending}"));
    write(beside("mode"), &format!("{mode}\n"));
    write(beside("uid"), &format!("+{}\n", found.uid()));
    write(beside("gid"), &format!("{}\n", found.gid()));
}

fn to(root: &Root, closure: &str) -> Result<usize, Vec<Problem>> {
    switch(root, &Path::new("/nix/store").join(closure))
}

fn told(switched: Result<usize, Vec<Problem>>) -> Vec<String> {
    let problems = switched.unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

/// Every file and link in `/etc` but the manifest, with what it holds, where it leads, and its mode.
fn listing(root: &Root) -> BTreeMap<PathBuf, String> {
    let etc = root.join(ETC);
    let mut all = BTreeMap::new();
    let mut todo = vec![etc.clone()];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let found = path.symlink_metadata().unwrap();
            let holds = if found.is_dir() {
                todo.push(path);
                continue;
            } else if found.is_symlink() {
                format!("-> {}", std::fs::read_link(&path).unwrap().display())
            } else if found.is_file() {
                let mode = found.mode() & 0o7777;
                format!("{mode:o} {}", std::fs::read_to_string(&path).unwrap())
            } else {
                "other".to_owned()
            };
            all.insert(path.strip_prefix(&etc).unwrap().to_owned(), holds);
        }
    }
    all.remove(Path::new(".lastgood-etc"));
    all
}

fn links(root: &Root) -> BTreeMap<PathBuf, String> {
    let mut all = listing(root);
    all.retain(|_, holds| holds.starts_with("->"));
    all
}

fn link(path: &str) -> (PathBuf, String) {
    (path.into(), format!("-> {STATIC}/{path}"))
}

#[test]
fn two_closures_one_after_the_other() {
    let (_tree, root) = machine();
    let store = |path: &str| root.join("/nix/store").join(path);
    for (path, text) in [
        ("one/etc/nginx/nginx.conf", "1"),
        ("one/etc/sysctl.d/60-one.conf", "1"),
        ("one/etc/systemd/system/nginx.service", "unit"),
        ("one/etc/systemd/network/a.network", "net"),
        ("one/etc/NIXOS", ""),
        ("zone/Europe", "z"),
        ("tmpfiles/a.conf", "t"),
        ("two/etc/nginx/nginx.conf", "2"),
    ] {
        write(store(path), text);
    }
    // As NixOS has them: links to directories, absolute.
    symlink("/nix/store/zone", store("one/etc/zoneinfo")).unwrap();
    symlink("/nix/store/tmpfiles", store("one/etc/tmpfiles.d")).unwrap();
    std::fs::create_dir_all(root.join("/etc/tmpfiles.d")).unwrap();
    write(root.join("/etc/tmpfiles.d/host.conf"), "host");
    write(root.join("/etc/hostname"), "host");
    // A run was cut off between making a link and moving it to its place.
    symlink("/nix/store/no/etc", root.join("/etc/.lastgood-static.part")).unwrap();

    assert!(to(&root, "one").unwrap() > 0);
    let stat = |closure: &str| {
        (
            PathBuf::from("static"),
            format!("-> /nix/store/{closure}/etc"),
        )
    };
    assert_eq!(
        links(&root),
        BTreeMap::from([
            link("nginx/nginx.conf"),
            link("sysctl.d/60-one.conf"),
            link("systemd/network/a.network"),
            link("tmpfiles.d/a.conf"),
            link("zoneinfo"),
            stat("one"),
        ])
    );
    let read = |path: &str| std::fs::read_to_string(root.resolve(path).unwrap()).unwrap();
    assert_eq!(read("/etc/nginx/nginx.conf"), "1");
    assert_eq!(read("/etc/zoneinfo/Europe"), "z");
    assert_eq!(to(&root, "one").unwrap(), 0);
    // Another, on its way to another closure, which is not the one that is booted then.
    symlink("/nix/store/no/etc", root.join("/etc/.lastgood-static.part")).unwrap();
    assert_eq!(to(&root, "one").unwrap(), 1);
    assert!(!root.join("/etc/.lastgood-static.part").is_symlink());

    to(&root, "two").unwrap();
    assert_eq!(
        links(&root),
        BTreeMap::from([link("nginx/nginx.conf"), stat("two")])
    );
    assert_eq!(read("/etc/nginx/nginx.conf"), "2");
    assert_eq!(read("/etc/tmpfiles.d/host.conf"), "host");
}

#[test]
fn one_file_in_the_way_stops_no_other() {
    let (_tree, root) = machine();
    for path in ["a", "b/c", "z"] {
        write(root.join("/nix/store/one/etc").join(path), "closure");
    }
    write(root.join("/etc/a"), "host");
    write(root.join("/etc/b"), "host");
    assert_eq!(
        told(to(&root, "one")),
        [
            "cannot link /etc/a: lastgood did not make /etc/a; move it away",
            "cannot link /etc/b/c: lastgood did not make /etc/b; move it away"
        ]
    );
    assert!(links(&root).contains_key(Path::new("z")));
    assert_eq!(listing(&root)[Path::new("a")], "644 host");
}

#[test]
fn somebody_s_own_static_is_not_replaced() {
    let (_tree, root) = machine();
    write(root.join("/nix/store/one/etc/a"), "closure");
    write(root.join("/etc/static/index.html"), "host");
    let problems = to(&root, "one").unwrap_err();
    assert!(matches!(problems[..], [Problem::Static]), "{problems:?}");
    assert!(root.join("/etc/static").is_dir());
    assert!(links(&root).is_empty());
}

/// As real closures have them.
#[test]
fn modes_and_owners_are_obeyed_and_not_linked() {
    let (_tree, root) = machine();
    copied(&root, "one", "app/secret.conf", "s3cret", "0600");
    copied(&root, "one", "sudoers", "root", "0440");
    copied(&root, "one", "plain", "p", "symlink");
    copied(&root, "one", "direct", "d", "direct-symlink");
    let etc = root.join("/nix/store/one/etc");
    std::fs::remove_file(etc.join("direct")).unwrap();
    symlink("/run/direct", etc.join("direct")).unwrap();
    // No order: there is no such file, or nothing that says how.
    write(etc.join("file.mode"), "m");
    write(etc.join("x"), "x");
    write(etc.join("x.uid"), "u");
    to(&root, "one").unwrap();
    let expected = BTreeMap::from([
        (PathBuf::from("app/secret.conf"), "600 s3cret".to_owned()),
        ("direct".into(), "-> /run/direct".to_owned()),
        link("file.mode"),
        link("plain"),
        ("static".into(), "-> /nix/store/one/etc".to_owned()),
        ("sudoers".into(), "440 root".to_owned()),
        link("x"),
        link("x.uid"),
    ]);
    assert_eq!(listing(&root), expected);
    assert_eq!(to(&root, "one").unwrap(), 0);
    // Whoever changes only the mode has changed nothing that could get lost.
    let mode = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(root.join("/etc/sudoers"), mode).unwrap();
    std::fs::remove_file(root.join("/etc/direct")).unwrap();
    assert_eq!(to(&root, "one").unwrap(), 2);
    assert_eq!(listing(&root), expected);
}

#[test]
fn copies_are_replaced_and_removed_while_they_are_what_was_written() {
    let (_tree, root) = machine();
    copied(&root, "one", "key", "1", "0600");
    copied(&root, "one", "old", "1", "0600");
    copied(&root, "one", "mine", "1", "0600");
    copied(&root, "one", "left", "1", "0600");
    copied(&root, "two", "key", "2", "0640");
    copied(&root, "two", "mine", "2", "0600");
    write(root.join("/nix/store/two/etc/old"), "link now");
    to(&root, "one").unwrap();
    write(root.join("/etc/mine"), "of the operator");
    write(root.join("/etc/left"), "of the operator");
    let stamp = || root.join(ETC_MANIFEST).metadata().unwrap().ino();
    let mut stamps = Vec::new();
    for _ in 0..2 {
        let told = told(to(&root, "two"));
        stamps.push(stamp());
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("/etc/mine was changed"), "{told:?}");
        assert!(told[0].contains("rm /etc/mine"), "{told:?}");
    }
    assert_eq!(stamps[0], stamps[1], "the manifest was not written again");
    let all = listing(&root);
    assert_eq!(all[Path::new("key")], "640 2");
    assert_eq!(all[Path::new("mine")], "600 of the operator");
    assert_eq!(all[Path::new("left")], "600 of the operator");
    assert_eq!(all[Path::new("old")], "-> /etc/static/old");
    // What the message says to type.
    std::fs::remove_file(root.join("/etc/mine")).unwrap();
    to(&root, "two").unwrap();
    assert_eq!(listing(&root)[Path::new("mine")], "600 2");
    std::fs::create_dir_all(root.join("/nix/store/none/etc")).unwrap();
    to(&root, "none").unwrap();
    let left: Vec<PathBuf> = listing(&root).into_keys().collect();
    assert_eq!(left, [Path::new("left"), Path::new("static")]);
}

/// A host's file that is the same by chance is not ours because of that.
#[test]
fn an_equal_file_of_the_host_s_stays_when_the_copy_is_not_wanted_any_more() {
    let (_tree, root) = machine();
    copied(&root, "one", "motd", "hello", "0644");
    std::fs::create_dir_all(root.join("/nix/store/two/etc")).unwrap();
    write(root.join("/etc/motd"), "hello");
    assert_eq!(to(&root, "one").unwrap(), 1);
    to(&root, "two").unwrap();
    assert_eq!(listing(&root)[Path::new("motd")], "644 hello");
}

#[test]
fn what_an_order_cannot_mean_costs_that_file_and_keeps_what_is_there() {
    let (_tree, root) = machine();
    for path in ["mode", "user", "group", "gone", "directory"] {
        copied(&root, "one", path, "1", "0600");
        copied(&root, "two", path, "2", "0600");
    }
    copied(&root, "two", "good", "2", "0600");
    let two = |path: &str| root.join("/nix/store/two/etc").join(path);
    write(two("mode.mode"), "rw");
    write(two("user.uid"), "nobody-knows");
    write(two("group.gid"), "nobody-knows");
    std::fs::remove_file(root.join("/nix/store/two-gone")).unwrap();
    std::fs::remove_file(root.join("/nix/store/two-directory")).unwrap();
    std::fs::create_dir(root.join("/nix/store/two-directory")).unwrap();
    to(&root, "one").unwrap();
    let told = told(to(&root, "two"));
    assert_eq!(told.len(), 5, "{told:#?}");
    for (line, wanted) in told
        .iter()
        .zip(["directory", "gone", "group", "mode", "user"])
    {
        assert!(
            line.starts_with(&format!("cannot copy /etc/{wanted}: ")),
            "{line}"
        );
        assert!(line.contains("/nix/store/two"), "{line}");
        assert_eq!(listing(&root)[Path::new(wanted)], "600 1");
    }
    assert_eq!(listing(&root)[Path::new("good")], "600 2");
}

/// Each costs one line, and all else is done.
#[test]
fn one_bad_link_costs_one_line() {
    let (_tree, root) = machine();
    let etc = root.join("/nix/store/one/etc");
    write(etc.join("good"), "1");
    for directory in ["tool", "far", "empty"] {
        std::fs::create_dir_all(root.join(ETC).join(directory)).unwrap();
    }
    write(root.join("/etc/tool/host"), "host");
    write(root.join("/etc/far/host"), "host");
    symlink("tool", etc.join("tool")).unwrap();
    symlink("/nix/store/gone", etc.join("far")).unwrap();
    // As NixOS does it: what is not there may come.
    symlink("/run/later", etc.join("dangling")).unwrap();
    symlink("loop", etc.join("loop")).unwrap();
    let told = told(to(&root, "one"));
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].starts_with("cannot link /etc/tool: cannot read /nix/store/one/etc/tool: "));
    assert!(told[1].starts_with("cannot link /etc/far: lastgood did not make /etc/far/host"));
    let expected = [
        "dangling",
        "far/host",
        "good",
        "loop",
        "static",
        "tool/host",
    ];
    assert_eq!(
        listing(&root).into_keys().collect::<Vec<_>>(),
        expected.map(PathBuf::from)
    );
}

#[test]
fn a_directory_of_the_closure_s_that_cannot_be_read_costs_what_is_in_it() {
    use nix::unistd::Uid;
    let (_tree, root) = machine();
    for path in ["one/etc/d/a", "one/etc/good", "two/etc/d/a", "two/etc/good"] {
        write(root.join("/nix/store").join(path), path);
    }
    symlink("/nix/store/gone", root.join("/nix/store/two/etc/other")).unwrap();
    to(&root, "one").unwrap();
    // A name where a directory was: whoever lists it cannot. Root could read any that has no permissions.
    let bad = root.join("/nix/store/two/etc/d");
    if Uid::effective().is_root() {
        std::fs::remove_file(bad.join("a")).unwrap();
        std::fs::remove_dir(&bad).unwrap();
        std::fs::create_dir_all(root.join("/etc/d")).unwrap();
        symlink("d", &bad).unwrap();
    } else {
        std::fs::set_permissions(&bad, std::fs::Permissions::from_mode(0o0)).unwrap();
    }
    let told = told(to(&root, "two"));
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].contains("/etc/d") && told[0].contains("/nix/store/two/etc/d"),
        "{told:?}"
    );
    assert!(
        root.join("/etc/d/a").is_symlink(),
        "nobody said that it is obsolete"
    );
    std::fs::set_permissions(&bad, std::fs::Permissions::from_mode(0o755)).unwrap_or_default();
}

/// What is not wanted and was not ours is not even looked at.
#[test]
fn of_etc_only_places_of_ours_are_looked_at() {
    let (_tree, root) = machine();
    write(root.join("/nix/store/one/etc/ssl/mine"), "1");
    write(root.join("/etc/ssl/certs/x"), "host");
    nix::unistd::mkfifo(&root.join("/etc/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let known = Known::default();
    let mut places = Places::new(&root, &known);
    let etc = Path::new("/nix/store/one/etc");
    let wanted = wanted::wanted(&root, etc, &mut places).unwrap();
    let found = places.finish(&wanted.places);
    let looked_at: Vec<PathBuf> = found.tree.into_keys().collect();
    assert_eq!(looked_at, [Path::new("ssl")]);
}

/// `mkdir d; rmdir d` in a loop, in the very directory of a file that is wanted.
#[test]
fn a_directory_that_comes_and_goes_stops_nothing() {
    let (_tree, root) = machine();
    for number in 0..50 {
        write(root.join(format!("/nix/store/one/etc/d{number}/x")), "1");
    }
    std::fs::create_dir_all(root.join("/nix/store/none/etc")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for number in 0..50 {
                    let directory = root.join(format!("/etc/d{number}"));
                    drop(std::fs::create_dir_all(&directory));
                    drop(std::fs::remove_dir(&directory));
                }
            }
        });
        let all: Vec<_> = (0..20)
            .map(|_| [to(&root, "one"), to(&root, "none")])
            .collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for switched in all.into_iter().flatten() {
            switched.unwrap();
        }
    });
}

/// The first release had none.
#[test]
fn without_a_manifest_what_was_linked_before_is_found_by_its_closure() {
    for damage in ["", "lastgood-etc 9 done", "\u{0}"] {
        let (_tree, root) = machine();
        copied(&root, "one", "key", "1", "0600");
        write(root.join("/nix/store/one/etc/app/a.conf"), "1");
        write(root.join("/nix/store/two/etc/b"), "2");
        to(&root, "one").unwrap();
        let manifest = root.join(ETC_MANIFEST);
        if damage.is_empty() {
            std::fs::remove_file(&manifest).unwrap();
            // It linked these, too.
            for name in ["key.mode", "key.uid", "key.gid"] {
                symlink(Path::new(STATIC).join(name), root.join(ETC).join(name)).unwrap();
            }
            symlink("/etc/static/x", root.join("/etc/app/.lastgood-new-a.conf")).unwrap();
        } else {
            write(manifest, damage);
        }
        to(&root, "two").unwrap();
        let left: Vec<PathBuf> = listing(&root).into_keys().collect();
        assert_eq!(left, [Path::new("b"), Path::new("static")], "{damage:?}");
        assert_eq!(to(&root, "two").unwrap(), 0);
    }
}

#[test]
fn nothing_is_written_when_nothing_is_to_be_done() {
    let (_tree, root) = machine();
    copied(&root, "one", "key", "1", "0600");
    write(root.join("/nix/store/one/etc/a"), "1");
    to(&root, "one").unwrap();
    let stamp = |path: &str| {
        let found = root.join(path).symlink_metadata().unwrap();
        (found.ino(), found.mtime_nsec(), found.ctime_nsec())
    };
    let paths = [ETC, ETC_MANIFEST, "/etc/key", "/etc/a", STATIC];
    let before = paths.map(stamp);
    assert_eq!(to(&root, "one").unwrap(), 0);
    assert_eq!(paths.map(stamp), before);
}

#[test]
fn a_trial_that_cannot_be_done_leaves_the_etc_before_it_whole() {
    let (_tree, root) = machine();
    copied(&root, "one", "key", "1", "0600");
    write(root.join("/nix/store/one/etc/a"), "1");
    write(root.join("/nix/store/two/etc/b"), "2");
    to(&root, "one").unwrap();
    let before = listing(&root);
    // Its etc cannot be read.
    assert_eq!(told(to(&root, "three")).len(), 1);
    assert_eq!(listing(&root), before);
    // What is to be done cannot be written down.
    let place = root.join(ETC_MANIFEST);
    let kept = std::fs::read_to_string(&place).unwrap();
    std::fs::remove_file(&place).unwrap();
    write(place.join("x"), "a directory");
    assert_eq!(told(to(&root, "two")).len(), 1);
    std::fs::remove_file(place.join("x")).unwrap();
    std::fs::remove_dir(&place).unwrap();
    write(place, &kept);
    assert_eq!(listing(&root), before);
    // The farm cannot be switched: what was done before is taken back.
    let part = root.join("/etc/.lastgood-static.part");
    std::fs::create_dir(&part).unwrap();
    assert_eq!(told(to(&root, "two")).len(), 1);
    std::fs::remove_dir(&part).unwrap();
    assert_eq!(listing(&root), before);
    assert_eq!(to(&root, "one").unwrap(), 0);
}
