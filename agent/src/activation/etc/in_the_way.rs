//! What of `/etc` would keep a closure from being put in place whole, found out before a boot does.

use std::path::Path;

use boot_entries::Root;

use super::places::Places;
use super::plan::{self, Situation};
use super::{Problem, farm, known, seal, wanted};

/// What is in the way of `closure` in the host's `/etc` as it is now. Nothing is changed.
///
/// What cannot be read, and whom files would be for, is not said: a boot may find it otherwise, because a user may come
/// with the closure.
#[must_use]
pub fn in_the_way(root: &Root, closure: &Path) -> Vec<Problem> {
    let to = closure.join("etc");
    let from = match farm(root) {
        Ok(from) => from,
        Err(problem) => return vec![problem],
    };
    if from.as_ref() == Some(&to) && seal::holds(root, &to) {
        return Vec::new();
    }
    let before = known(root, from.as_deref());
    let mut places = Places::new(root, &before.known);
    let Ok(wanted) = wanted::wanted(root, &to, &mut places) else {
        return Vec::new();
    };
    let found = places.finish(&wanted.places);
    let unknown = wanted.unknown.into_iter().chain(found.unknown).collect();
    let plan = plan::plan(&Situation {
        have: &found.tree,
        known: &before.known,
        want: &wanted.places,
        unknown: &unknown,
        from: from.as_deref(),
        to: &to,
    });
    plan.refused.into_iter().map(Problem::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_entries::durable::put_text;

    #[test]
    fn what_somebody_else_has_made_is_in_the_way_and_stays() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let closure = Path::new("/nix/store/a");
        let put = |path: &str, text: &str| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            put_text(text, &path).unwrap();
        };
        for name in [
            "motd",
            "new",
            "app/one.conf",
            "copy",
            "copy.mode",
            "whose",
            "whose.mode",
        ] {
            put(&format!("nix/store/a/etc/{name}"), "0600\n");
        }
        put("nix/store/a/etc/whose.uid", "who\n");
        let told = || {
            let problems = in_the_way(&root, closure);
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        std::fs::create_dir(tree.path().join("etc")).unwrap();
        assert_eq!(told(), [""; 0]);
        put("etc/motd", "the host's\n");
        put("etc/app", "the host's\n");
        put("etc/copy", "the host's\n");
        let before = super::super::switch(&root, closure).unwrap_err();
        let all = told();
        assert_eq!(all.len(), 3, "{all:?}");
        for path in ["app", "copy", "motd"] {
            let words = format!("lastgood did not make /etc/{path}; move it away");
            assert!(
                all.iter().any(|line| line.ends_with(&words)),
                "{path}: {all:?}"
            );
        }
        // A boot says the same, and that there is no such user.
        let said: Vec<_> = before.iter().map(ToString::to_string).collect();
        assert!(all.iter().all(|line| said.contains(line)), "{said:?}");
        assert_eq!(said.len(), 4, "{said:?}");
        // What is ours is in nobody's way.
        for path in ["motd", "app", "copy"] {
            std::fs::remove_file(tree.path().join("etc").join(path)).unwrap();
        }
        super::super::switch(&root, closure).unwrap_err();
        assert_eq!(told(), [""; 0]);
    }
}
