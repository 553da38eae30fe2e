use super::*;
use proptest::prelude::*;

/// A machine's `/etc`: what is there, and where `/etc/static` leads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Machine {
    tree: Tree,
    farm: Option<PathBuf>,
}

fn have(path: &Path, ours: &Ours) -> Have {
    match ours {
        Ours::Static => Have::Static,
        Ours::Link(to) => match to.strip_prefix(STATIC) {
            Ok(rest) if rest == path => Have::Static,
            _ => Have::Link(to.clone()),
        },
        Ours::Copy(copy) => Have::File(Some(copy.content), copy.owner),
    }
}

/// Takes a step by the rules of a file system. None: it fails, or does not find what it says.
fn take(machine: &mut Machine, step: &Step) -> Option<()> {
    let tree = &mut machine.tree;
    let is_in_directory = |tree: &Tree, path: &Path| {
        let parent = path.parent().unwrap();
        parent.as_os_str().is_empty() || tree.get(parent) == Some(&Have::Directory)
    };
    match step {
        Step::MakeDirectory(path) => {
            let is_new = tree.insert(path.clone(), Have::Directory).is_none();
            (is_new && is_in_directory(tree, path)).then_some(())
        }
        Step::RemoveDirectory(path) => {
            let is_empty = below(tree, path).next().is_none();
            (is_empty && tree.remove(path)? == Have::Directory).then_some(())
        }
        Step::Farm { from, to } => {
            let found = std::mem::replace(&mut machine.farm, to.clone());
            (found == *from).then_some(())
        }
        Step::Put { path, ours, was } => {
            let found = tree.insert(path.clone(), have(path, ours));
            let was = was.as_ref().map(|was| have(path, was));
            (found == was && is_in_directory(tree, path)).then_some(())
        }
        Step::Remove { path, was } => (tree.remove(path)? == have(path, was)).then_some(()),
    }
}

fn content(number: u8) -> Content {
    Content::of_text(&number.to_string())
}

fn copy(number: u8) -> Ours {
    Ours::Copy(Box::new(Copied {
        from: format!("/nix/store/{number}").into(),
        content: content(number),
        owner: owner(number),
    }))
}

fn owner(number: u8) -> Owner {
    Owner {
        uid: number.into(),
        gid: 0,
        mode: 0o600,
    }
}

/// `a-b` sorts between `a` and `a/x` as text, and not as a path.
fn path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(prop::sample::select(vec!["a", "a-b", "b"]), 1..4)
        .prop_map(|names| names.iter().collect())
}

/// Only where it can be: below directories.
fn put_in(tree: &mut Tree, path: &Path, have: Have) {
    for above in down_to(path.parent().unwrap()) {
        if *tree.entry(above.to_owned()).or_insert(Have::Directory) != Have::Directory {
            return;
        }
    }
    tree.entry(path.to_owned()).or_insert(have);
}

fn host() -> impl Strategy<Value = Tree> {
    let kind = prop::sample::select(vec![
        Have::Directory,
        Have::File(None, owner(9)),
        Have::File(Some(content(1)), owner(9)),
        Have::Link("/usr/x".into()),
        Have::Link("/run/1".into()),
        Have::Other,
    ]);
    prop::collection::vec((path(), kind), 0..5).prop_map(|all| {
        let mut tree = Tree::new();
        for (path, have) in all {
            put_in(&mut tree, &path, have);
        }
        tree
    })
}

fn want() -> impl Strategy<Value = Want> {
    let kind = prop::sample::select(vec![
        Ours::Static,
        Ours::Static,
        Ours::Link("/run/1".into()),
        Ours::Link("/run/2".into()),
        copy(1),
        copy(2),
    ]);
    prop::collection::vec((path(), kind), 0..6).prop_map(|all| {
        let mut want = Want::new();
        for (path, ours) in all {
            let is_free = |other: &PathBuf| !other.starts_with(&path) && !path.starts_with(other);
            if want.keys().all(is_free) {
                want.insert(path, ours);
            }
        }
        want
    })
}

fn situation<'a>(
    machine: &'a Machine,
    known: &'a Known,
    want: &'a Want,
    to: &'a Path,
    unknown: &'a BTreeSet<PathBuf>,
) -> Situation<'a> {
    Situation {
        have: &machine.tree,
        known,
        want,
        unknown,
        from: machine.farm.as_deref(),
        to,
    }
}

/// What is ours after `steps`, or may be after some of them.
fn knowing(known: &Known, steps: &[Step]) -> Known {
    let mut known = known.clone();
    for step in steps {
        if let Step::Put { path, ours, .. } = step {
            known.insert(path, ours);
        }
    }
    known
}

fn is_ours(known: &Known, path: &Path, have: &Have) -> bool {
    known.ours(path, have).is_some()
}

/// From any host to one closure, whatever somebody does in between, and to another one.
fn check(
    host: Tree,
    first: &Want,
    by_hand: &[(PathBuf, Option<Have>)],
    second: &Want,
) -> Result<(), TestCaseError> {
    let nobody = BTreeSet::new();
    let mut machine = Machine {
        tree: host,
        farm: None,
    };
    let mut known = Known::default();
    for (number, want) in [first, second].into_iter().enumerate() {
        let to = PathBuf::from(format!("/nix/store/{number}/etc"));
        let before = machine.clone();
        let plan = plan(&situation(&before, &known, want, &to, &nobody));
        let after_all = knowing(&known, &plan.steps);
        let refused: BTreeSet<&Path> = plan
            .refused
            .iter()
            .map(|refusal| match refusal {
                Refusal::Foreign { wanted, .. } => wanted.as_path(),
                Refusal::Changed(path) => path,
            })
            .collect();
        let mut states = vec![before.clone()];
        for step in &plan.steps {
            prop_assert!(take(&mut machine, step).is_some(), "{step:?} of {plan:?}");
            states.push(machine.clone());
        }
        prop_assert_eq!(machine.farm.as_deref(), Some(to.as_path()));
        // What is wanted is there or refused, and nothing else of ours is.
        for (path, wanted) in want {
            let is_there = machine.tree.get(path) == Some(&have(path, wanted));
            prop_assert!(is_there || refused.contains(path.as_path()), "{path:?}");
        }
        for (path, found) in &machine.tree {
            let is_kept = want.contains_key(path) || !is_ours(&after_all, path, found);
            prop_assert!(is_kept, "{path:?} {found:?}");
        }
        // Nothing of others is touched in any state, and only what is wanted takes the place of a directory.
        for (path, found) in &before.tree {
            if *found == Have::Directory {
                let gone = machine.tree.get(path) != Some(found);
                let mut above = path.ancestors();
                prop_assert!(
                    !gone || above.any(|path| want.contains_key(path)),
                    "{path:?}"
                );
            } else if !is_ours(&known, path, found) {
                for state in &states {
                    prop_assert_eq!(state.tree.get(path), Some(found), "{:?}", path);
                }
            }
        }
        // Before /etc/static is switched, nothing that was ours has changed.
        for state in states
            .iter()
            .filter(|state| state.farm == before.farm && before.farm.as_ref() != Some(&to))
        {
            for (path, found) in &before.tree {
                prop_assert_eq!(state.tree.get(path), Some(found), "{:?}", path);
            }
        }
        // It leads back.
        let mut back = machine.clone();
        for step in inverse(&plan.steps) {
            prop_assert!(
                take(&mut back, &step).is_some(),
                "back: {step:?} of {plan:?}"
            );
        }
        prop_assert_eq!(&back, &before);
        // A run that was cut off is finished by the next, and one with nothing to do does nothing.
        for state in &states {
            let mut state = state.clone();
            let rest = super::plan(&situation(&state.clone(), &after_all, want, &to, &nobody));
            for step in &rest.steps {
                prop_assert!(take(&mut state, step).is_some(), "rest: {step:?}");
            }
            prop_assert_eq!(&state, &machine);
        }
        known = after_all;
        if number == 0 {
            for (path, have) in by_hand {
                machine.tree.retain(|found, _| !found.starts_with(path));
                if let Some(have) = have {
                    put_in(&mut machine.tree, path, have.clone());
                }
            }
        }
    }
    Ok(())
}

fn by_hand() -> impl Strategy<Value = Vec<(PathBuf, Option<Have>)>> {
    let kind = prop::sample::select(vec![
        None,
        Some(Have::Directory),
        Some(Have::File(None, owner(9))),
        Some(Have::Link("/usr/y".into())),
    ]);
    prop::collection::vec((path(), kind), 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn from_every_tree_to_every_closure_and_back_also_when_cut_off_anywhere(
        host in host(), first in want(), by_hand in by_hand(), second in want()
    ) {
        check(host, &first, &by_hand, &second)?;
    }
}

fn tree(all: &[(&str, Have)]) -> Tree {
    all.iter()
        .map(|(path, have)| (PathBuf::from(path), have.clone()))
        .collect()
}

#[test]
fn a_refusal_names_what_is_in_the_way() {
    let file = || Have::File(None, owner(9));
    for (have, wanted, found) in [
        (tree(&[("a", file())]), "a", "a"),
        (tree(&[("a", file())]), "a/b/c", "a"),
        (tree(&[("a", Have::Directory), ("a/x", file())]), "a", "a/x"),
        (tree(&[("a", Have::Link("/usr/a".into()))]), "a/b", "a"),
    ] {
        let want = Want::from([(wanted.into(), Ours::Static)]);
        let machine = Machine {
            tree: have,
            farm: Some("/etc".into()),
        };
        let (known, nobody) = (Known::default(), BTreeSet::new());
        let plan = plan(&situation(
            &machine,
            &known,
            &want,
            Path::new("/etc"),
            &nobody,
        ));
        assert_eq!(plan.refused, [foreign(Path::new(wanted), Path::new(found))]);
        assert_eq!(plan.steps, []);
    }
}

#[test]
fn a_copy_that_somebody_has_changed_is_theirs() {
    let changed = Have::File(None, owner(1));
    let machine = Machine {
        tree: tree(&[("key", changed)]),
        farm: Some("/etc".into()),
    };
    let mut known = Known::default();
    known.insert(Path::new("key"), &copy(1));
    let nobody = BTreeSet::new();
    for (want, refused, left) in [
        (Some(copy(2)), 1, 0),
        (Some(Ours::Static), 1, 0),
        (None, 0, 1),
    ] {
        let want: Want = want.into_iter().map(|ours| ("key".into(), ours)).collect();
        let plan = plan(&situation(
            &machine,
            &known,
            &want,
            Path::new("/etc"),
            &nobody,
        ));
        assert_eq!(plan.steps, []);
        assert_eq!((plan.refused.len(), plan.left.len()), (refused, left));
        let is_changed = |refusal: &Refusal| matches!(refusal, Refusal::Changed(_));
        assert!(plan.refused.iter().all(is_changed));
    }
}

#[test]
fn what_cannot_be_told_is_not_touched() {
    let machine = Machine {
        tree: tree(&[
            ("a", Have::Directory),
            ("a/x", Have::Static),
            ("b", Have::Static),
            ("c", Have::Static),
        ]),
        farm: Some("/etc".into()),
    };
    let unknown = BTreeSet::from(["a".into(), "b".into()]);
    let known = Known::default();
    let want = Want::from([("a".into(), Ours::Static)]);
    let plan = plan(&situation(
        &machine,
        &known,
        &want,
        Path::new("/etc"),
        &unknown,
    ));
    let obsolete = Step::Remove {
        path: "c".into(),
        was: Ours::Static,
    };
    assert_eq!(plan.steps, [obsolete]);
    assert_eq!(plan.refused, []);
}
