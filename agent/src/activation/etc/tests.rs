use super::*;
use std::os::unix::fs::symlink;

/// What `steps` make of `have`, by the rules of a file system: None where one would fail.
fn after(have: &Tree, steps: &[Step]) -> Option<Tree> {
    let mut tree = have.clone();
    let is_directory = |tree: &Tree, path: &Path| {
        let parent = path.parent().unwrap();
        parent.as_os_str().is_empty() || tree.get(parent) == Some(&Have::Directory)
    };
    for step in steps {
        match step {
            Step::Remove(path) => {
                if !matches!(tree.remove(path)?, Have::Ours(_)) {
                    return None;
                }
            }
            Step::RemoveDirectory(path) => {
                if below(&tree, path).next().is_some() || tree.remove(path)? != Have::Directory {
                    return None;
                }
            }
            Step::MakeDirectory(path) => {
                if !is_directory(&tree, path)
                    || tree.insert(path.clone(), Have::Directory).is_some()
                {
                    return None;
                }
            }
            Step::Link(path) => {
                let there = tree.insert(path.clone(), Have::Ours(path.clone()));
                if !is_directory(&tree, path) || !matches!(there, None | Some(Have::Ours(_))) {
                    return None;
                }
            }
        }
    }
    Some(tree)
}

/// Every tree over the names a, b and c, two deep: 13 kinds of things under each of two names, one place beside.
fn trees() -> Vec<Tree> {
    let kinds = |path: &str| {
        let path = PathBuf::from(path);
        let flat = [
            None,
            Some(Have::Foreign),
            Some(Have::Ours("b/z".into())),
            Some(Have::Ours(path.clone())),
        ];
        flat.map(|have| {
            have.map(|have| (path.clone(), have))
                .into_iter()
                .collect::<Tree>()
        })
    };
    let joined = |a: &Tree, b: &Tree| {
        a.iter()
            .chain(b)
            .map(|(p, h)| (p.clone(), h.clone()))
            .collect::<Tree>()
    };
    let mut of_a: Vec<Tree> = kinds("a").into();
    for x in kinds("a/x") {
        for y in kinds("a/y") {
            let mut tree = joined(&x, &y);
            tree.insert("a".into(), Have::Directory);
            of_a.push(tree.clone());
            for z in kinds("a/d/z") {
                let mut tree = joined(&tree, &z);
                tree.insert("a/d".into(), Have::Directory);
                of_a.push(tree);
            }
        }
    }
    // `a-b` sorts between `a` and `a/x` as text, and not as a path.
    let beside: Vec<Tree> = kinds("a-b").into();
    let all = of_a
        .iter()
        .flat_map(|a| beside.iter().map(move |b| joined(a, b)));
    all.collect()
}

fn wants() -> Vec<BTreeSet<PathBuf>> {
    let mut wants = Vec::new();
    for a in [
        &[][..],
        &["a"],
        &["a/x"],
        &["a/x", "a/y"],
        &["a/d"],
        &["a/d/z"],
        &["a/x", "a/d/z"],
        &["a/x/deep"],
    ] {
        for b in [&[][..], &["a-b"], &["a-b/c"]] {
            wants.push(a.iter().chain(b).map(PathBuf::from).collect());
        }
    }
    wants
}

#[test]
fn from_every_tree_to_every_closure_also_when_cut_off_anywhere() {
    let mut tried = 0;
    for have in trees() {
        for want in wants() {
            let Plan { steps, refused } = plan(&have, &want);
            let whole =
                after(&have, &steps).unwrap_or_else(|| panic!("{have:?} {want:?} {steps:?}"));
            // What is wanted is there or refused, and nothing else of ours is.
            let ours: BTreeSet<_> = whole
                .iter()
                .filter(|(_, have)| matches!(have, Have::Ours(_)))
                .map(|(path, _)| path.clone())
                .collect();
            let refused: BTreeSet<_> = refused.into_iter().map(|(wanted, _)| wanted).collect();
            let linked: BTreeSet<_> = want.difference(&refused).cloned().collect();
            assert_eq!(ours, linked, "{have:?} {want:?}");
            for path in &ours {
                assert_eq!(whole.get(path), Some(&Have::Ours(path.clone())));
            }
            // Nothing of others is touched, and only a wanted link takes the place of a directory.
            for (path, before) in &have {
                match before {
                    Have::Foreign => assert_eq!(whole.get(path), Some(before)),
                    Have::Directory => assert!(
                        whole.get(path) == Some(before)
                            || ours.iter().any(|link| path.starts_with(link)),
                        "{have:?} {want:?}"
                    ),
                    Have::Ours(_) => {}
                }
            }
            assert_eq!(
                plan(&whole, &want).steps,
                [],
                "a second run changes nothing"
            );
            for cut in 0..steps.len() {
                let part = after(&have, &steps[..cut]).unwrap();
                let rest = plan(&part, &want).steps;
                assert_eq!(
                    after(&part, &rest).as_ref(),
                    Some(&whole),
                    "{have:?} {want:?} {cut}"
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 10_000, "{tried}");
}

#[test]
fn a_refusal_names_what_is_in_the_way() {
    let have = |path: &str, have| Tree::from([(PathBuf::from(path), have)]);
    let want = |path: &str| BTreeSet::from([PathBuf::from(path)]);
    let mut below = have("a/x", Have::Foreign);
    below.insert("a".into(), Have::Directory);
    for (have, wanted, found) in [
        (have("a", Have::Foreign), "a", "a"),
        (have("a", Have::Foreign), "a/b/c", "a"),
        (below, "a", "a/x"),
    ] {
        let plan = plan(&have, &want(wanted));
        assert_eq!(plan.refused, [(wanted.into(), found.into())]);
        assert_eq!(plan.steps, []);
    }
}

fn write(path: PathBuf, text: &str) {
    use std::io::Write;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn listing(root: &Root) -> BTreeMap<PathBuf, PathBuf> {
    let etc = root.join(ETC);
    let links = observe(root).unwrap().into_keys();
    links
        .filter_map(|path| Some((path.clone(), std::fs::read_link(etc.join(path)).ok()?)))
        .collect()
}

#[test]
fn two_closures_one_after_the_other() {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::new(tree.path());
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
    symlink("/etc/static/x", root.join("/etc/.lastgood-new-x")).unwrap();
    symlink("/nix/store/no/etc", root.join("/etc/.lastgood-static.part")).unwrap();

    assert!(switch(&root, Path::new("/nix/store/one")).unwrap() > 0);
    let link = |path: &str| (PathBuf::from(path), Path::new(STATIC).join(path));
    let stat = |closure: &str| (PathBuf::from("static"), PathBuf::from(closure));
    assert_eq!(
        listing(&root),
        BTreeMap::from([
            link("nginx/nginx.conf"),
            link("sysctl.d/60-one.conf"),
            link("systemd/network/a.network"),
            link("tmpfiles.d/a.conf"),
            link("zoneinfo"),
            stat("/nix/store/one/etc"),
        ])
    );
    let read = |path: &str| std::fs::read_to_string(root.resolve(path).unwrap()).unwrap();
    assert_eq!(read("/etc/nginx/nginx.conf"), "1");
    assert_eq!(read("/etc/zoneinfo/Europe"), "z");
    assert_eq!(switch(&root, Path::new("/nix/store/one")).unwrap(), 0);
    // Another, on its way to another closure, which is not the one that is booted then.
    symlink("/nix/store/no/etc", root.join("/etc/.lastgood-static.part")).unwrap();
    assert_eq!(switch(&root, Path::new("/nix/store/one")).unwrap(), 1);
    assert!(!root.join("/etc/.lastgood-static.part").is_symlink());

    switch(&root, Path::new("/nix/store/two")).unwrap();
    assert_eq!(
        listing(&root),
        BTreeMap::from([link("nginx/nginx.conf"), stat("/nix/store/two/etc")])
    );
    assert_eq!(read("/etc/nginx/nginx.conf"), "2");
    assert_eq!(read("/etc/tmpfiles.d/host.conf"), "host");
}

#[test]
fn one_file_in_the_way_stops_no_other() {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::new(tree.path());
    for path in ["a", "b/c", "z"] {
        write(root.join("/nix/store/one/etc").join(path), "closure");
    }
    write(root.join("/etc/a"), "host");
    write(root.join("/etc/b"), "host");
    let problems = switch(&root, Path::new("/nix/store/one")).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "cannot link /etc/a: lastgood did not make /etc/a; move it away",
            "cannot link /etc/b/c: lastgood did not make /etc/b; move it away"
        ]
    );
    assert!(listing(&root).contains_key(Path::new("z")));
    assert_eq!(
        std::fs::read_to_string(root.join("/etc/a")).unwrap(),
        "host"
    );
}

#[test]
fn somebody_s_own_static_is_not_replaced() {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::new(tree.path());
    write(root.join("/nix/store/one/etc/a"), "closure");
    write(root.join("/etc/static/index.html"), "host");
    let problems = switch(&root, Path::new("/nix/store/one")).unwrap_err();
    assert!(matches!(problems[..], [Problem::Static]), "{problems:?}");
    assert!(root.join("/etc/static").is_dir());
    assert!(!listing(&root).contains_key(Path::new("a")));
}
