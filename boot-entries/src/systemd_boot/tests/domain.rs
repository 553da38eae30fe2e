//! The whole small domain: whatever each of the two copies is and whatever there is to install.

use std::path::{Path, PathBuf};

use crate::payload::Content;
use crate::step::Step;
use crate::systemd_boot::{
    Action, Decision, FALLBACK, Image, Installed, Place, Policy, SYSTEMD, Source, State, Version,
    decide,
};
use systemd_boot_model::Partition;

/// In their order.
const VERSIONS: [&str; 3] = ["9", "10", "252.39-1~deb12u2"];

fn images() -> Vec<Image> {
    let mut all = Vec::new();
    for version in VERSIONS {
        for is_signed in [false, true] {
            for build in ["a", "b"] {
                let bytes = format!("{version} {is_signed} {build}");
                all.push(Image {
                    version: Version::parse(version).unwrap(),
                    is_signed,
                    content: Content::of(&mut bytes.as_bytes()).unwrap(),
                });
            }
        }
    }
    all
}

fn states() -> Vec<State> {
    let mut all: Vec<State> = images().into_iter().map(State::Whole).collect();
    all.push(State::Absent);
    all.push(State::Foreign("is another program".to_owned()));
    all.push(State::Damaged("is cut short".to_owned()));
    all
}

fn installed(systemd: &State, fallback: &State) -> Installed {
    let place = |path: &str, state: &State| Place {
        path: path.to_owned(),
        state: state.clone(),
    };
    Installed {
        esp: PathBuf::from("/esp"),
        systemd: place(SYSTEMD, systemd),
        fallback: place(FALLBACK, fallback),
        leftovers: Vec::new(),
    }
}

fn steps_of(decision: &Decision) -> &[Step] {
    match &decision.action {
        Action::Nothing => &[],
        Action::Write(steps) | Action::Install { steps, .. } => steps,
    }
}

/// Makes a step, if its source holds then what it is promised to hold.
fn make(installed: &mut Installed, source: Option<&Source>, step: &Step) {
    let Step::Copy {
        source: from,
        content,
        path,
        ..
    } = step
    else {
        panic!("{step}");
    };
    let copies = [&installed.systemd, &installed.fallback];
    let copies = copies.map(|copy| Some((installed.esp.join(&copy.path), copy.image()?.clone())));
    let source = source.map(|source| (source.path.clone(), source.image.clone()));
    let mut there = copies.into_iter().chain([source]).flatten();
    let (_, image) = there.find(|(path, _)| path == from).unwrap();
    assert_eq!(image.content, *content);
    let place = if path == SYSTEMD {
        &mut installed.systemd
    } else {
        &mut installed.fallback
    };
    assert_eq!(place.path, *path);
    place.state = State::Whole(image);
}

/// What firmware can start; with `only_signed`, firmware that checks signatures.
fn starts(state: &State, only_signed: bool) -> bool {
    match state {
        State::Whole(image) => image.is_signed || !only_signed,
        State::Foreign(_) => true,
        State::Absent | State::Damaged(_) => false,
    }
}

fn check(before: &Installed, source: Option<&Source>, policy: Policy) -> Result<usize, String> {
    let decision = decide(before, source, policy);
    let steps = steps_of(&decision);
    let mut now = before.clone();
    let secure = [&before.systemd, &before.fallback]
        .iter()
        .any(|place| place.image().is_some_and(|image| image.is_signed));
    for step in steps {
        let Step::Copy { path, .. } = step else {
            return Err("it writes something else".to_owned());
        };
        let (written, other) = if *path == SYSTEMD {
            (now.systemd.state.clone(), now.fallback.state.clone())
        } else {
            (now.fallback.state.clone(), now.systemd.state.clone())
        };
        if matches!(written, State::Foreign(_)) {
            return Err("it overwrites somebody else's program".to_owned());
        }
        // The one that is being written may be lost. If the other is not ours to write to, there is only this one.
        if starts(&written, secure) && !starts(&other, secure) {
            return Err(format!("nothing can be started while {path} is written"));
        }
        make(&mut now, source, step);
    }
    for (before, after) in [
        (&before.systemd, &now.systemd),
        (&before.fallback, &now.fallback),
    ] {
        if let (Some(before), Some(after)) = (before.image(), after.image()) {
            if after.version < before.version {
                return Err(format!("{} becomes older", before.version));
            }
            if before.is_signed && !after.is_signed {
                return Err("a signed one becomes one that is not".to_owned());
            }
        }
    }
    if decision.after.as_ref() != now.image() {
        return Err(format!("it says that it leads to {:?}", decision.after));
    }
    let again = decide(&now, source, policy);
    if !steps_of(&again).is_empty() {
        return Err(format!("a second run would do {:?}", steps_of(&again)));
    }
    policy_is_kept(before, &now, source, policy)?;
    Ok(steps.len())
}

fn policy_is_kept(
    before: &Installed,
    after: &Installed,
    source: Option<&Source>,
    policy: Policy,
) -> Result<(), String> {
    let images = |installed: &Installed| {
        let copies = [&installed.systemd, &installed.fallback];
        copies.map(|copy| copy.image().cloned())
    };
    let (was, is) = (images(before), images(after));
    let is_equal = is[0] == is[1];
    let is_foreign = [&before.systemd, &before.fallback]
        .iter()
        .any(|place| matches!(place.state, State::Foreign(_)));
    let is_mixed = was.iter().flatten().any(|image| image.is_signed)
        && was.iter().flatten().any(|image| !image.is_signed);
    match policy {
        Policy::Mend => {
            let came = is.iter().flatten().find(|image| {
                was.iter().flatten().all(|old| old.version != image.version)
                    && was.iter().any(Option::is_some)
            });
            came.map_or(Ok(()), |image| Err(format!("{} came", image.version)))
        }
        Policy::Update if is_foreign => Ok(()),
        Policy::Update if !is_equal && !is_mixed => Err("the two are not equal".to_owned()),
        Policy::Update => {
            let newest = was.iter().flatten().map(|image| &image.version).max();
            let secure = was.iter().flatten().any(|image| image.is_signed);
            let source = source.filter(|source| source.image.is_signed || !secure);
            let is_better = |image: &Image| {
                let is_signed_now = image.is_signed && !secure;
                Some(&image.version) > newest || Some(&image.version) == newest && is_signed_now
            };
            let newer = source.filter(|source| is_better(&source.image));
            match newer {
                Some(newer) if is != [Some(newer.image.clone()), Some(newer.image.clone())] => {
                    Err("the newer one is not installed".to_owned())
                }
                _ => Ok(()),
            }
        }
    }
}

#[test]
fn nothing_is_ever_at_risk_and_a_second_run_does_nothing() {
    let sources = images().into_iter().map(|image| Source {
        path: PathBuf::from("/store/systemd-bootx64.efi"),
        image,
    });
    let sources: Vec<Option<Source>> = sources.map(Some).chain([None]).collect();
    let (mut count, mut writes) = (0, 0);
    for systemd in states() {
        for fallback in states() {
            for source in &sources {
                for policy in [Policy::Mend, Policy::Update] {
                    let before = installed(&systemd, &fallback);
                    match check(&before, source.as_ref(), policy) {
                        Ok(steps) => writes += steps,
                        Err(why) => {
                            let decision = decide(&before, source.as_ref(), policy);
                            panic!("{why}: {before:#?} {source:#?} {policy:?} {decision:#?}");
                        }
                    }
                    count += 1;
                }
            }
        }
    }
    assert_eq!(count, 15 * 15 * 13 * 2);
    assert!(writes > 3000, "{writes}");
}

/// What holds an update back is told, and nothing else is: `bootctl` would install it.
#[test]
fn a_newer_one_without_a_signature_is_told_where_the_older_one_has_one() {
    let held_back = |there: Image, offered: Image, policy| {
        let path = PathBuf::from("/store/loader");
        let source = Source {
            path,
            image: offered,
        };
        let there = installed(&State::Whole(there), &State::Absent);
        decide(&there, Some(&source), policy).held_back
    };
    for there in images() {
        for offered in images() {
            let is_held = there.is_signed && !offered.is_signed && offered.version > there.version;
            for policy in [Policy::Mend, Policy::Update] {
                let told = held_back(there.clone(), offered.clone(), policy);
                let is_asked = policy == Policy::Update;
                assert_eq!(told.is_some(), is_held && is_asked, "{there:?} {offered:?}");
            }
        }
    }
}

#[test]
fn the_same_version_with_a_signature_replaces_one_without() {
    let signed = image("10", true, "a");
    let store = Path::new("/store/loader").to_owned();
    let both = [FALLBACK, SYSTEMD].map(|path| (path.to_owned(), store.clone()));
    for build in ["a", "b"] {
        let there = State::Whole(unsigned("10", build));
        assert_eq!(written(&there, &there, Some(signed.clone())), both);
    }
    let newer = State::Whole(unsigned("252.39-1~deb12u2", "a"));
    assert_eq!(written(&newer, &newer, Some(signed)), []);
}

fn unsigned(version: &str, build: &str) -> Image {
    image(version, false, build)
}

fn image(version: &str, is_signed: bool, build: &str) -> Image {
    let bytes = format!("{version} {is_signed} {build}");
    let content = Content::of(&mut bytes.as_bytes()).unwrap();
    let image = images().into_iter().find(|image| image.content == content);
    image.unwrap()
}

/// The paths that are written, and where from.
fn written(systemd: &State, fallback: &State, source: Option<Image>) -> Vec<(String, PathBuf)> {
    let path = PathBuf::from("/store/loader");
    let source = source.map(|image| Source { path, image });
    let decision = decide(
        &installed(systemd, fallback),
        source.as_ref(),
        Policy::Update,
    );
    let steps = steps_of(&decision).iter().map(|step| match step {
        Step::Copy {
            source, on, path, ..
        } if *on == Partition::Esp => (path.clone(), source.clone()),
        _ => panic!("{step}"),
    });
    steps.collect()
}

#[test]
fn the_one_that_is_worse_off_comes_first() {
    let whole = |version| State::Whole(unsigned(version, "a"));
    let damaged = State::Damaged("is cut short".to_owned());
    let new = || Some(unsigned("252.39-1~deb12u2", "a"));
    let order = |systemd: &State, fallback: &State| -> Vec<String> {
        let all = written(systemd, fallback, new());
        all.into_iter().map(|(path, _)| path).collect()
    };
    assert_eq!(order(&damaged, &whole("9")), [SYSTEMD, FALLBACK]);
    assert_eq!(order(&whole("9"), &damaged), [FALLBACK, SYSTEMD]);
    assert_eq!(order(&whole("9"), &whole("10")), [SYSTEMD, FALLBACK]);
    assert_eq!(order(&whole("10"), &whole("9")), [FALLBACK, SYSTEMD]);
    assert_eq!(order(&whole("9"), &whole("9")), [FALLBACK, SYSTEMD]);
}

#[test]
fn other_bytes_of_the_same_version_are_left_alone_while_both_copies_agree() {
    let build = |build| State::Whole(unsigned("10", build));
    assert_eq!(
        written(&build("b"), &build("b"), Some(unsigned("10", "a"))),
        []
    );
    // One of them is as it was made: the other one is the odd one.
    let store = Path::new("/store/loader").to_owned();
    let mended = [(FALLBACK.to_owned(), store.clone())];
    assert_eq!(
        written(&build("a"), &build("b"), Some(unsigned("10", "a"))),
        mended
    );
    let mended = [(SYSTEMD.to_owned(), store)];
    assert_eq!(
        written(&build("b"), &build("a"), Some(unsigned("10", "a"))),
        mended
    );
    // Nothing to compare with: the one that is started is the one to keep.
    let systemd = Path::new("/esp").join(SYSTEMD);
    assert_eq!(
        written(&build("a"), &build("b"), None),
        [(FALLBACK.to_owned(), systemd)]
    );
}

#[test]
fn a_first_installation_is_bootctls_unless_it_would_overwrite_somebody_elses_program() {
    let source = Source {
        path: PathBuf::from("/store/loader"),
        image: unsigned("10", "a"),
    };
    let by_bootctl = |fallback: &State| {
        let installed = installed(&State::Absent, fallback);
        match decide(&installed, Some(&source), Policy::Update).action {
            Action::Install { by_bootctl, steps } => Some((by_bootctl, steps.len())),
            Action::Nothing | Action::Write(_) => None,
        }
    };
    assert_eq!(by_bootctl(&State::Absent), Some((true, 2)));
    assert_eq!(by_bootctl(&State::Damaged(String::new())), Some((true, 2)));
    assert_eq!(by_bootctl(&State::Foreign(String::new())), Some((false, 1)));
    assert_eq!(by_bootctl(&State::Whole(unsigned("9", "a"))), None);
}
