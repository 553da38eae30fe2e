use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

use plan::{Have, Want};

/// Files of a small tree: path, and what is there (0: a link; 1 to 3: an order).
fn files() -> impl Strategy<Value = Vec<(PathBuf, u8, u8)>> {
    let path = prop::collection::vec(prop::sample::select(vec!["a", "b", "a-b"]), 1..4);
    let path = path.prop_map(|names| names.iter().collect::<PathBuf>());
    prop::collection::vec((path, 0..4_u8, 0..3_u8), 0..6).prop_map(|all| {
        let mut taken: BTreeSet<PathBuf> = BTreeSet::new();
        let mut kept = Vec::new();
        for (path, kind, text) in all {
            if taken
                .iter()
                .all(|other| !other.starts_with(&path) && !path.starts_with(other))
            {
                taken.insert(path.clone());
                kept.push((path, kind, text));
            }
        }
        kept
    })
}

fn build(root: &Root, closure: &str, files: &[(PathBuf, u8, u8)]) {
    std::fs::create_dir_all(root.join(format!("/nix/store/{closure}/etc"))).unwrap();
    for (path, kind, text) in files {
        let (path, text) = (path.to_str().unwrap(), format!("closure {text}"));
        match kind {
            0 | 1 => write(root.join(format!("/nix/store/{closure}/etc/{path}")), &text),
            2 => copied(root, closure, path, &text, "0640"),
            _ => copied(root, closure, path, &text, "direct-symlink"),
        }
    }
}

/// What a machine without anything else would have.
fn wants(root: &Root, closure: &str) -> Want {
    let known = Known::default();
    let mut places = Places::new(root, &known);
    let etc = Path::new("/nix/store").join(closure).join("etc");
    wanted::wanted(root, &etc, &mut places).unwrap().places
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_there_no_file_of_the_host_s_changes(
        host in files(), first in files(), second in files(), cut in 0..12_usize
    ) {
        let (_tree, root) = machine();
        for (path, kind, text) in &host {
            let place = root.join(ETC).join(path);
            if *kind == 0 {
                std::fs::create_dir_all(place).unwrap();
            } else {
                write(place, &format!("closure {text}"));
            }
        }
        std::fs::create_dir_all(root.join(ETC)).unwrap();
        let of_host = listing(&root);
        build(&root, "one", &first);
        build(&root, "two", &second);
        drop(to(&root, "one"));
        cut_off(&root, "two", cut);
        let problems = match to(&root, "two") {
            Ok(_) => Vec::new(),
            Err(problems) => problems,
        };
        let all = listing(&root);
        for (path, holds) in &of_host {
            prop_assert_eq!(all.get(path), Some(holds), "{:?}", path);
        }
        let want = wants(&root, "two");
        let known = Known::default();
        for path in all.keys().filter(|path| !of_host.contains_key(*path)) {
            prop_assert!(want.contains_key(path) || path == Path::new("static"), "{path:?}");
        }
        for (path, ours) in &want {
            let is_told = problems.iter().any(|problem| problem.to_string().contains(&format!("/etc/{}:", path.display())));
            let place = root.join(ETC).join(path);
            let is_there = match ours {
                Ours::Static => std::fs::read_link(&place).ok() == Some(Path::new(STATIC).join(path)),
                Ours::Link(to) => std::fs::read_link(&place).ok().as_ref() == Some(to),
                Ours::Copy(copy) => {
                    let found = boot_entries::payload::Content::of_file(&place).ok();
                    found == Some(copy.content) && place.metadata().unwrap().mode() & 0o7777 == 0o640
                }
            };
            prop_assert!(is_there || is_told, "{path:?} {problems:?}");
            prop_assert!(known.ours(path, &Have::Other).is_none());
        }
        // A second run changes nothing, and says the same.
        let again = to(&root, "two");
        prop_assert_eq!(again.map_err(|problems| problems.len()), if problems.is_empty() { Ok(0) } else { Err(problems.len()) });
        // And back: what was ours is there again.
        drop(to(&root, "one"));
        let back = listing(&root);
        let (_other, fresh) = machine();
        for (path, kind, text) in &host {
            let place = fresh.join(ETC).join(path);
            if *kind == 0 {
                std::fs::create_dir_all(place).unwrap();
            } else {
                write(place, &format!("closure {text}"));
            }
        }
        build(&fresh, "one", &first);
        drop(to(&fresh, "one"));
        // A directory that was made stays. Where one was, the files of a linked directory may be linked one by one.
        prop_assert_eq!(back, listing(&fresh));
    }
}

/// A run to `closure` that is killed after so many steps.
fn cut_off(root: &Root, closure: &str, count: usize) {
    let closure = Path::new("/nix/store").join(closure);
    let from = farm(root).unwrap();
    let to = closure.join("etc");
    let before = known(root, from.as_deref());
    let mut places = Places::new(root, &before.known);
    let wanted = wanted::wanted(root, &to, &mut places).unwrap();
    let found = places.finish(&wanted.places);
    let unknown = BTreeSet::new();
    let situation = Situation {
        have: &found.tree,
        known: &before.known,
        want: &wanted.places,
        unknown: &unknown,
        from: from.as_deref(),
        to: &to,
    };
    let steps = plan::plan(&situation).steps;
    manifest::write(root, &intended(&situation, &steps)).unwrap();
    for step in steps.iter().take(count) {
        apply(root, step).unwrap();
    }
}
