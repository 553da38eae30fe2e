//! Numbers that come back, and closures that several generations share.

use super::*;
use boot_entries::closure::Documents;
use std::path::Path;
use systemd_boot_model::LoaderVariables;

fn subject(id: &str, toplevel: &str) -> Subject {
    Subject {
        generation: id.parse().unwrap(),
        toplevel: toplevel.into(),
    }
}

fn generation(id: &str, toplevel: &str) -> Generation {
    Generation {
        id: id.parse().unwrap(),
        toplevel: toplevel.into(),
    }
}

fn view(listed: &[(&str, &str)]) -> View {
    View {
        documents: Documents::default(),
        root: Root::new("/nowhere"),
        ledger: Ledger::default(),
        state: State::default(),
        profiles: Profiles::default(),
        listed: listed
            .iter()
            .map(|(id, toplevel)| generation(id, toplevel))
            .collect(),
        troubles: Vec::new(),
        variables: LoaderVariables::default(),
        configs: config::Known::default(),
        places: KnownPlaces::default(),
        digests: RefCell::default(),
    }
}

#[test]
fn a_number_that_came_back_is_there_twice_and_means_the_new_closure() {
    let mut view = view(&[("3", "/nix/store/new")]);
    let (old, new) = (
        subject("3", "/nix/store/old"),
        subject("3", "/nix/store/new"),
    );
    let proven = crate::state::Event::Proven {
        subject: old.clone(),
        baseline: crate::state::baseline::Baseline::default(),
    };
    view.state = view.state.after(&proven);
    view.profiles.current = vec![new.generation.clone()];
    let all: Vec<Subject> = view.generations().iter().map(Generation::subject).collect();
    assert_eq!(all, [new.clone(), old.clone()]);
    assert_eq!(view.subject(&old.generation).unwrap(), new);
    assert!(view.is_current(&new) && !view.is_current(&old));
    let intent = crate::entries::intent::of(&view, &view.state);
    assert_eq!(intent.last_good, Some(old.clone()));
    assert_eq!(intent.standings[&old], boot_entries::plan::Standing::Proven);
    assert_eq!(
        intent.standings[&new],
        boot_entries::plan::Standing::Untested
    );
    assert_eq!(
        view.subject_of_closure(Path::new("/nix/store/old")),
        Some(old)
    );
}

#[test]
fn what_is_kept_beyond_the_profiles_is_in_its_place() {
    let mut view = view(&[("2", "/nix/store/two"), ("10", "/nix/store/ten")]);
    view.state = view.state.after(&crate::state::Event::Proven {
        subject: subject("1", "/nix/store/gone"),
        baseline: crate::state::baseline::Baseline::default(),
    });
    let all: Vec<String> = view
        .generations()
        .iter()
        .map(|g| g.id.to_string())
        .collect();
    assert_eq!(all, ["1", "2", "10"]);
    assert_eq!(&*view.generations_in(&State::default()), &*view.listed);
}

#[test]
fn a_boot_of_a_shared_closure_is_the_selected_ones_then_the_named_ones_then_the_newest_ones() {
    let mut view = view(&[
        ("3", "/s"),
        ("3/x", "/s"),
        ("4", "/s"),
        ("4/x", "/s"),
        ("5", "/t"),
    ]);
    let of = |view: &View| {
        view.subject_of_closure(Path::new("/s"))
            .unwrap()
            .generation
            .to_string()
    };
    assert_eq!(of(&view), "4");
    let named = stem_of(&subject("3/x", "/s"));
    view.variables.selected = Some(format!("{named}+2-1.conf"));
    assert_eq!(of(&view), "3/x", "base and specialisation share the number");
    view.state.selected = Some(subject("4/x", "/s"));
    assert_eq!(of(&view), "4/x");
    assert_eq!(view.subject_of_closure(Path::new("/u")), None);
}

#[test]
fn a_specialisation_that_is_not_there_is_told_apart() {
    let view = view(&[("3", "/s"), ("3/x", "/t")]);
    let told = |id: &str| view.subject(&id.parse().unwrap()).unwrap_err().to_string();
    assert!(told("3/y").contains("has no specialisation \"y\""));
    assert!(told("4/x").contains("is in no profile"));
}

/// A directory that comes and goes says whether somebody looks.
#[test]
fn places_are_looked_up_once_a_run_for_each_question() {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::new(tree.path());
    std::fs::create_dir_all(root.join("/boot/loader")).unwrap();
    let view = View {
        root,
        ..view(&[("3", "/nix/store/3")])
    };
    assert_eq!(view.places(&view.state).unwrap().usable.len(), 1);
    std::fs::remove_dir_all(tree.path().join("boot")).unwrap();
    assert_eq!(view.places(&view.state).unwrap().usable.len(), 1);
    let other = super::View::read(&Root::new(tree.path())).unwrap();
    assert!(other.places(&other.state).is_err());
}

#[test]
fn what_was_built_after_all_that_was_to_be_booted_is_only_built() {
    let mut view = view(&[
        ("1", "/1"),
        ("2", "/2"),
        ("3", "/3"),
        ("3/x", "/x"),
        ("web:1", "/w"),
    ]);
    let of = |view: &View, written: &[(&str, &str)]| {
        let stem = |(id, toplevel): &(&str, &str)| stem_of(&subject(id, toplevel));
        let names = written.iter().map(stem).collect();
        let all = view.only_built(&names);
        let all: Vec<String> = all.iter().map(|one| one.generation.to_string()).collect();
        all.join(" ")
    };
    assert_eq!(of(&view, &[]), "1 2 3 3/x web:1");
    assert_eq!(of(&view, &[("2", "/2")]), "3 3/x web:1");
    assert_eq!(of(&view, &[("1", "/1"), ("web:1", "/w")]), "2 3 3/x");
    // A specialisation of what has an entry is to have one.
    assert_eq!(of(&view, &[("3", "/3")]), "web:1");
    view.state.selected = Some(subject("2", "/2"));
    assert_eq!(of(&view, &[]), "3 3/x web:1", "the first is missing");
}

/// After a kexec the loader's variables name what ran before; and a distribution's own boot was started from no entry
/// of ours, whatever the firmware remembers.
#[test]
fn a_boot_was_started_from_what_the_loader_names_only_if_that_starts_what_runs() {
    let two = "/nix/store/two";
    let named =
        |id: &str, toplevel: &str| boot_entries::name::stem_of(&subject(id, toplevel)) + ".conf";
    for (cmdline, selected, is_it) in [
        ("quiet init=/nix/store/two/init", named("2", two), true),
        (
            "quiet init=/nix/store/two/init",
            named("3", "/nix/store/three"),
            false,
        ),
        ("root=/dev/vda2", named("2", two), false),
        (
            "quiet init=/nix/store/two/init",
            "debian.conf".to_owned(),
            false,
        ),
    ] {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("proc")).unwrap();
        let mut file = std::fs::File::create(tree.path().join("proc/cmdline")).unwrap();
        std::io::Write::write_all(&mut file, cmdline.as_bytes()).unwrap();
        let mut view = view(&[("2", two), ("3", "/nix/store/three")]);
        view.root = Root::new(tree.path());
        view.variables.selected = Some(selected.clone());
        let expected = is_it.then_some(selected.as_str());
        assert_eq!(view.started_from(), expected, "{cmdline} {selected}");
    }
}
