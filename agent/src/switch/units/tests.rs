use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;

use super::*;
use crate::switch::set::Definition;
use crate::switch::situation::{Active, State};

/// A tree with a store, and two closures in it as NixOS makes them.
struct Tree {
    directory: tempfile::TempDir,
}

const STORE: &str = "/nix/store";

impl Tree {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("nix/store")).unwrap();
        Self { directory }
    }

    fn root(&self) -> Root {
        Root::new(self.directory.path())
    }

    fn here(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.trim_start_matches('/'))
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.here(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs::File::create(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn link(&self, path: &str, to: &str) {
        let path = self.here(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
    }

    /// A closure, and the directory that its `etc/systemd/system` leads to.
    fn closure(&self, name: &str) -> (PathBuf, String) {
        let units = format!("{STORE}/{name}-units");
        fs::create_dir_all(self.here(&units)).unwrap();
        self.link(
            &format!("{STORE}/{name}/etc"),
            &format!("{STORE}/{name}-etc"),
        );
        self.link(&format!("{STORE}/{name}-etc/systemd/system"), &units);
        (PathBuf::from(format!("{STORE}/{name}")), units)
    }
}

fn up() -> State {
    State {
        active: Active::Active,
        fragment: "/etc/systemd/system/x".to_owned(),
        ..State::default()
    }
}

#[test]
fn a_closure_is_read_as_nixos_links_it() {
    let tree = Tree::new();
    let (closure, units) = tree.closure("new");
    tree.file(
        &format!("{STORE}/a/web.service"),
        "[Service]\nExecStart=/a\n",
    );
    tree.file(&format!("{STORE}/o/web.service"), "[Service]\nNice=1\n");
    tree.link(
        &format!("{units}/web.service"),
        &format!("{STORE}/a/web.service"),
    );
    tree.link(
        &format!("{units}/web.service.d/overrides.conf"),
        &format!("{STORE}/o/web.service"),
    );
    tree.file(&format!("{units}/web.service.d/README"), "no drop-in");
    tree.link(&format!("{units}/www.service"), "web.service");
    tree.link(&format!("{units}/off.service"), "/dev/null");
    tree.link(&format!("{STORE}/d/getty@tty1.service"), "/dev/null");
    tree.link(
        &format!("{units}/getty@tty1.service"),
        &format!("{STORE}/d/getty@tty1.service"),
    );
    tree.file(&format!("{units}/empty.service"), "");
    tree.file(&format!("{units}/own.service"), "[Unit]\n");
    tree.link(
        &format!("{units}/multi-user.target.wants/web.service"),
        "../web.service",
    );
    tree.link(&format!("{STORE}/dir/x.conf"), "/dev/null");
    tree.link(&format!("{units}/t@.service.d"), &format!("{STORE}/dir"));
    tree.file(&format!("{units}/README"), "no unit");
    let root = tree.root();
    let mut read = list(&root, &closure, Home::Etc);
    assert_eq!(read.problems, [""; 0]);
    assert_eq!(read.texts.len(), 0, "nothing is opened");
    let file = |path: &str| Leads::File(PathBuf::from(path));
    assert_eq!(read.files["web.service"], file("/nix/store/a/web.service"));
    assert_eq!(
        read.files["www.service"],
        Leads::Alias("web.service".to_owned())
    );
    assert_eq!(read.files["off.service"], Leads::Nowhere);
    assert_eq!(
        read.files["own.service"],
        file("/nix/store/new-units/own.service")
    );
    assert_eq!(read.files.len(), 6);
    assert_eq!(read.drop_ins["web.service"].len(), 1);
    assert_eq!(read.drop_ins["t@.service"]["x.conf"], Leads::Nowhere);
    assert!(read.wanted["multi-user.target"].contains("web.service"));

    let all = read
        .files
        .values()
        .chain(read.drop_ins.values().flat_map(|files| files.values()));
    let all = all.filter_map(|leads| match leads {
        Leads::File(path) => Some(path.clone()),
        _ => None,
    });
    let all = all.collect();
    load(&root, &mut read, &all);
    assert_eq!(read.problems, [""; 0]);
    let Definition::Whole(web) = read.definition(read.canonical("www.service")) else {
        panic!("{:?}", read.definition("web.service"));
    };
    assert_eq!(web.values("Service", "Nice"), ["1"]);
    assert_eq!(web.values("Service", "ExecStart"), ["/a"]);
    for masked in ["off.service", "getty@tty1.service", "empty.service"] {
        assert_eq!(read.definition(masked), Definition::Masked, "{masked}");
    }
    assert_eq!(read.definition("none.service"), Definition::Absent);
}

#[test]
fn what_cannot_be_read_costs_that_and_no_other() {
    let tree = Tree::new();
    let (closure, units) = tree.closure("new");
    tree.link(
        &format!("{units}/gone.service"),
        "/nix/store/gone/gone.service",
    );
    tree.file(&format!("{units}/web.service"), "[Unit]\n");
    tree.link(&format!("{units}/bad.service.d"), "/nix/store/gone");
    fs::create_dir_all(tree.here(&format!("{units}/dir.service"))).unwrap();
    let states = States::from([("web.service".to_owned(), up())]);
    let (old, new) = read(
        &tree.root(),
        Path::new("/nix/store/none"),
        &closure,
        Home::Etc,
        &states,
        &BTreeSet::new(),
    );
    assert_eq!(old.problems.len(), 1, "{:?}", old.problems);
    assert!(old.problems[0].contains("/nix/store/none/etc/systemd/system"));
    assert_eq!(new.problems.len(), 3, "{:?}", new.problems);
    assert!(matches!(
        new.definition("web.service"),
        Definition::Whole(_)
    ));
    assert_eq!(new.definition("gone.service"), Definition::Unread);
    // A closure without units for users has none, and that is no problem.
    assert_eq!(list(&tree.root(), &closure, Home::User), Units::default());
}

#[test]
fn only_what_differs_is_opened() {
    let tree = Tree::new();
    let (old, old_units) = tree.closure("old");
    let (new, new_units) = tree.closure("new");
    let unit = |units: &str, name: &str, from: &str, text: &str| {
        let file = format!("{STORE}/{from}/{name}");
        if !tree.here(&file).try_exists().unwrap() {
            tree.file(&file, text);
        }
        tree.link(&format!("{units}/{name}"), &file);
    };
    for units in [&old_units, &new_units] {
        for number in 0..20 {
            unit(units, &format!("same-{number}.service"), "s", "[Service]\n");
        }
        unit(
            units,
            "multi-user.target",
            "s",
            "[Unit]\nWants=late.service\n",
        );
        unit(
            units,
            "hangs.service",
            "s",
            "[Unit]\nRequires=web.service\n",
        );
        unit(units, "asked.service", "s", "[Unit]\n");
    }
    unit(&old_units, "web.service", "a", "[Service]\nExecStart=/a\n");
    unit(&new_units, "web.service", "b", "[Service]\nExecStart=/b\n");
    let mut states = States::from([
        ("multi-user.target".to_owned(), up()),
        ("hangs.service".to_owned(), up()),
        (
            "web.service".to_owned(),
            State {
                stops: BTreeSet::from(["hangs.service".to_owned()]),
                ..up()
            },
        ),
    ]);
    for number in 0..20 {
        states.insert(format!("same-{number}.service"), up());
    }
    let also = BTreeSet::from(["asked.service".to_owned()]);
    let (old, new) = read(&tree.root(), &old, &new, Home::Etc, &states, &also);
    let opened: BTreeSet<&Path> = old
        .texts
        .keys()
        .chain(new.texts.keys())
        .map(PathBuf::as_path)
        .collect();
    let want = [
        "/nix/store/a/web.service",
        "/nix/store/b/web.service",
        "/nix/store/s/asked.service",
        "/nix/store/s/hangs.service",
        "/nix/store/s/multi-user.target",
    ];
    assert_eq!(opened.into_iter().collect::<Vec<_>>(), want.map(Path::new));
}

/// A closure that was built anew: other paths, the same words.
#[test]
fn files_that_hold_the_same_are_the_same() {
    let tree = Tree::new();
    let (old, old_units) = tree.closure("old");
    let (new, new_units) = tree.closure("new");
    for (units, web) in [(&old_units, "Nice=1"), (&new_units, "Nice=2")] {
        let service = |words: &str| format!("[Service]\n{words}\n");
        tree.file(&format!("{units}/same.service"), &service("Nice=0"));
        tree.file(&format!("{units}/web.service"), &service(web));
        tree.file(
            &format!("{units}/same.service.d/a.conf"),
            &service("Nice=3"),
        );
        tree.file(&format!("{units}/web.service.d/a.conf"), &service("Nice=4"));
        // It says where it is.
        tree.file(
            &format!("{units}/where.service"),
            &service("Environment=AT=%y"),
        );
        tree.file(
            &format!("{units}/below.service"),
            &service("Environment=AT=%Y"),
        );
    }
    let states = States::new();
    let (old, new) = read(
        &tree.root(),
        &old,
        &new,
        Home::Etc,
        &states,
        &BTreeSet::new(),
    );
    for (unit, differs) in [
        ("same.service", false),
        ("web.service", true),
        ("where.service", true),
        ("below.service", true),
    ] {
        assert_eq!(
            crate::switch::set::differs(&old, &new, unit),
            differs,
            "{unit}"
        );
        assert!(new.definition(unit).file().is_some(), "{unit} is read");
    }
    assert_eq!(old.drop_ins["web.service"], new.drop_ins["web.service"]);
}

/// systemd.unit(5): drop-ins of all names of a unit count.
#[test]
fn a_drop_in_of_another_name_is_one_of_the_unit() {
    let tree = Tree::new();
    let (closure, units) = tree.closure("new");
    tree.file(&format!("{units}/web.service"), "[Service]\n");
    tree.link(&format!("{units}/www.service"), "web.service");
    tree.file(&format!("{units}/www.service.d/a.conf"), "[Service]\n");
    let listed = list(&tree.root(), &closure, Home::Etc);
    let files = listed.files_of("web.service");
    assert!(files.drop_ins.contains_key("a.conf"), "{files:?}");
}

/// One is as good as the other for what is pulled in, and not for what follows when it fails.
#[test]
fn a_link_is_known_by_its_kind_and_by_whether_it_masks() {
    let tree = Tree::new();
    let (closure, units) = tree.closure("new");
    tree.link(
        &format!("{units}/a.service.wants/db.service"),
        "../db.service",
    );
    tree.link(
        &format!("{units}/b.service.requires/db.service"),
        "/dev/null",
    );
    let listed = list(&tree.root(), &closure, Home::Etc);
    let links: Vec<(&str, bool)> = listed
        .links
        .iter()
        .map(|(link, mask)| (link.as_str(), *mask))
        .collect();
    let expected = [
        ("a.service.wants/db.service", false),
        ("b.service.requires/db.service", true),
    ];
    assert_eq!(links, expected);
}
