use super::*;
use crate::activation::etc;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;

fn write(path: PathBuf, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs::File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

const CLOSURE: &str = "/nix/store/one";

/// A machine whose `/etc` is the closure's, with links above, in directories of ours and of the host's, a direct link
/// and a copy.
fn machine() -> (tempfile::TempDir, Root) {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::new(tree.path());
    let place = |path: &str| root.join(format!("{CLOSURE}/etc/{path}"));
    for path in ["top", "a/b/deep", "host/ours"] {
        write(place(path), "1");
    }
    for (path, mode) in [("sub/copy", "0640"), ("direct", "direct-symlink")] {
        write(place(path), "1");
        write(place(&format!("{path}.mode")), mode);
        let me = fs::metadata(tree.path()).unwrap();
        write(place(&format!("{path}.uid")), &format!("+{}", me.uid()));
        write(place(&format!("{path}.gid")), &format!("+{}", me.gid()));
    }
    write(root.join("/etc/host/theirs"), "host");
    write(root.join("/etc/passwd"), "root:x:0:0::/:\n");
    etc::switch(&root, Path::new(CLOSURE)).unwrap();
    (tree, root)
}

fn is_sealed(root: &Root) -> bool {
    holds(root, &Path::new(CLOSURE).join("etc"))
}

/// What `put` is asked for, long after the last change.
fn sealed(root: &Root) {
    let farm = Path::new(CLOSURE).join("etc");
    let nothing = super::super::plan::Known::default();
    let mut places = super::super::places::Places::new(root, &nothing);
    let wanted = super::super::wanted::wanted(root, &farm, &mut places).unwrap();
    assert!(may_be_sealed(&farm, &wanted));
    let seal = of(root, &farm, &wanted).unwrap();
    durable::put_unflushed(&text(&seal), &root.join(ETC_SEAL)).unwrap();
    assert!(is_sealed(root));
}

#[test]
fn nothing_is_sealed_that_was_changed_just_now() {
    let (_tree, root) = machine();
    assert_eq!(look(&root, Path::new(ETC_SEAL)), Ok(None));
    assert_eq!(etc::switch(&root, Path::new(CLOSURE)).unwrap(), 0);
    assert_eq!(look(&root, Path::new(ETC_SEAL)), Ok(None));
    let stamp = Stamp {
        inode: 1,
        seconds: 1000,
        nanoseconds: 999_999_999,
    };
    for (now, is) in [(900, false), (1000, false), (1003, false), (1004, true)] {
        assert_eq!(is_old(&stamp, Duration::from_secs(now)), is, "{now}");
    }
    let before_1970 = Stamp {
        seconds: -1,
        ..stamp
    };
    assert!(!is_old(&before_1970, Duration::from_secs(1)));
}

#[test]
fn a_later_run_seals_and_the_next_one_looks_no_further() {
    let (_tree, root) = machine();
    std::thread::sleep(COARSE + Duration::from_secs(1));
    assert_eq!(etc::switch(&root, Path::new(CLOSURE)).unwrap(), 0);
    assert!(is_sealed(&root));
    let stamp = look(&root, Path::new(ETC_SEAL));
    assert_eq!(etc::switch(&root, Path::new(CLOSURE)).unwrap(), 0);
    assert_eq!(look(&root, Path::new(ETC_SEAL)), stamp);
}

/// Each of these is something that a run would set right, or tell.
#[test]
fn whatever_could_matter_breaks_the_seal() {
    type Change = (&'static str, fn(&Root));
    let changes: [Change; 13] = [
        ("a link above is gone", |root| {
            fs::remove_file(root.join("/etc/top")).unwrap();
        }),
        ("a link above is a file", |root| {
            fs::remove_file(root.join("/etc/top")).unwrap();
            write(root.join("/etc/top"), "1");
        }),
        ("a link above leads elsewhere", |root| {
            fs::remove_file(root.join("/etc/direct")).unwrap();
            symlink("/elsewhere", root.join("/etc/direct")).unwrap();
        }),
        ("a link below is gone", |root| {
            fs::remove_file(root.join("/etc/a/b/deep")).unwrap();
        }),
        ("a link below was replaced", |root| {
            let place = root.join("/etc/a/b/deep");
            fs::remove_file(&place).unwrap();
            symlink("/elsewhere", place).unwrap();
        }),
        ("a directory is gone", |root| {
            fs::remove_dir_all(root.join("/etc/a")).unwrap();
        }),
        ("a directory is another", |root| {
            fs::rename(root.join("/etc/a"), root.join("/etc/old")).unwrap();
            fs::create_dir_all(root.join("/etc/a/b")).unwrap();
        }),
        ("a link of ours among the host's", |root| {
            fs::remove_file(root.join("/etc/host/ours")).unwrap();
        }),
        ("a copy was changed", |root| {
            write(root.join("/etc/sub/copy"), "2");
        }),
        ("a copy's mode was changed", |root| {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(
                root.join("/etc/sub/copy"),
                fs::Permissions::from_mode(0o600),
            )
            .unwrap();
        }),
        ("the users were changed", |root| {
            write(root.join("/etc/passwd"), "");
        }),
        ("the manifest is gone", |root| {
            fs::remove_file(root.join(ETC_MANIFEST)).unwrap();
        }),
        ("the closure is gone", |root| {
            fs::remove_dir_all(root.join(CLOSURE)).unwrap();
        }),
    ];
    for (name, change) in changes {
        let (_tree, root) = machine();
        sealed(&root);
        change(&root);
        assert!(!is_sealed(&root), "{name}");
    }
    let (_tree, root) = machine();
    sealed(&root);
    assert!(!holds(&root, Path::new("/nix/store/two/etc")));
    // What is nobody's business of ours.
    for path in ["/etc/adjtime", "/etc/ssl/certs/x"] {
        write(root.join(path), "1");
    }
    assert!(is_sealed(&root));
}

#[test]
fn every_cut_and_every_flipped_byte_breaks_it() {
    let (_tree, root) = machine();
    sealed(&root);
    let whole = fs::read_to_string(root.join(ETC_SEAL)).unwrap();
    assert!(parse(&whole).is_some());
    for cut in 0..whole.len() {
        assert_eq!(parse(&whole[..cut]), None, "{cut}");
        let mut flipped = whole.clone().into_bytes();
        flipped[cut] ^= 1;
        let flipped = String::from_utf8(flipped).unwrap();
        assert_eq!(parse(&flipped), None, "{cut}");
    }
}

/// What is not in the store is looked at in every run.
#[test]
fn what_may_change_is_not_sealed() {
    let (_tree, root) = machine();
    let farm = Path::new(CLOSURE).join("etc");
    let wanted = || {
        let nothing = super::super::plan::Known::default();
        let mut places = super::super::places::Places::new(&root, &nothing);
        super::super::wanted::wanted(&root, &farm, &mut places).unwrap()
    };
    assert!(may_be_sealed(&farm, &wanted()));
    assert!(!may_be_sealed(Path::new("/srv/one/etc"), &wanted()));
    // A secret that is kept elsewhere, and is copied.
    write(root.join("/var/secret"), "1");
    let place = root.join(format!("{CLOSURE}/etc/secret"));
    symlink("/var/secret", &place).unwrap();
    assert!(may_be_sealed(&farm, &wanted()), "a link to it is a link");
    write(root.join(format!("{CLOSURE}/etc/secret.mode")), "0600");
    assert!(!may_be_sealed(&farm, &wanted()));
    // A directory that is kept elsewhere, and one of the host's in its place.
    fs::remove_file(place).unwrap();
    assert!(may_be_sealed(&farm, &wanted()));
    write(root.join("/var/many/1"), "1");
    symlink("/var/many", root.join(format!("{CLOSURE}/etc/many"))).unwrap();
    fs::create_dir(root.join("/etc/many")).unwrap();
    assert!(!may_be_sealed(&farm, &wanted()));
}

/// Nothing is wanted in it as long as it is there.
#[test]
fn an_empty_directory_that_was_gone_into_is_looked_at() {
    let (_tree, root) = machine();
    fs::create_dir(root.join("/nix/store/empty")).unwrap();
    symlink("/nix/store/empty", root.join(format!("{CLOSURE}/etc/dir"))).unwrap();
    fs::create_dir(root.join("/etc/dir")).unwrap();
    sealed(&root);
    fs::remove_dir(root.join("/etc/dir")).unwrap();
    assert!(!is_sealed(&root));
}
