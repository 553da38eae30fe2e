//! What to do about what the library finds wrong: it says what is wrong, and these say what to type. What to do about a
//! [`fault`] of a generation is below.

pub mod fault;

use boot_entries::name::OurName as _;
use boot_entries::plan::{Kept, REASONS, Refusal, Stranding, Substituted};
use systemd_boot_model::{ENTRIES, EndlessMenu, IMAGES, TooOld, Variable, Why};

/// A refusal in one line: what, why, and what to do.
#[must_use]
pub fn refusal(refusal: &Refusal) -> String {
    let what = match refusal {
        Refusal::Strands(_) => format!("refused: {refusal}"),
        _ => refusal.to_string(),
    };
    let unchanged = match refusal {
        Refusal::NoGenerations(_)
        | Refusal::NoSpace(_)
        | Refusal::Strands(_)
        | Refusal::NothingToHandBack => "; nothing was changed",
        Refusal::NoSuchGeneration(_) | Refusal::Unbootable(..) | Refusal::NoRankLeft => "",
    };
    format!("{what}{unchanged}; {}", what_to_do(refusal))
}

/// What to do about a refusal.
#[must_use]
pub fn what_to_do(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NoGenerations(skipped) => match skipped.len() {
            0 => "see that the directory is the right one, and that /nix is mounted",
            1..=REASONS => "build one anew",
            _ => "what is wrong with the others, `lastgood list-generations` says",
        }
        .to_owned(),
        Refusal::NoSuchGeneration(_) => {
            "`lastgood list-generations` shows what there is".to_owned()
        }
        Refusal::Unbootable(..) => "build it anew, or install another one".to_owned(),
        Refusal::NoSpace(shortage) => {
            let larger = "remove files that are not lastgood's, or make $BOOT larger";
            let mut kept = shortage.kept.iter();
            match kept.find(|(_, why)| *why == Kept::SecondProven) {
                None => larger.to_owned(),
                Some((subject, _)) => format!(
                    "{larger}, or give up {0}: `lastgood bad {0}`, or `keep-second-proven = false` under [boot] in \
                     lastgood.toml",
                    subject.generation
                ),
            }
        }
        Refusal::Strands(stranding) => format!("{}, and run again", come_back(stranding)),
        Refusal::NothingToHandBack => {
            "accept one with `lastgood good NUMBER` and run again".to_owned()
        }
        Refusal::NoRankLeft => {
            format!("remove {ENTRIES}/lastgood-* of generations no longer needed")
        }
    }
}

/// What to do for a machine to come back by itself.
#[must_use]
pub fn come_back(stranding: &Stranding) -> String {
    let Some(last) = &stranding.last else {
        return "run `lastgood verify --repair`".to_owned();
    };
    let clear = |variable: Variable| {
        let (name, verb) = (variable.name(), variable.verb());
        format!("clear {name} with `bootctl {verb} ''`")
    };
    match last.why {
        Why::DefaultVariable => clear(Variable::EntryDefault),
        Why::PreferredVariable => clear(Variable::EntryPreferred),
        Why::PreferredLine => "remove `preferred` from loader.conf".to_owned(),
        _ if stranding.damage.is_some() => {
            "build that generation again or accept another one that works with `lastgood good NUMBER`"
                .to_owned()
        }
        _ if last.is_image => format!("remove {IMAGES}/{}, or rename it", last.file),
        _ if last.name.is_ours() => {
            "accept a generation that works with `lastgood good NUMBER`".to_owned()
        }
        _ => format!("remove {ENTRIES}/{}, or rename it", last.file),
    }
}

/// That another generation takes the place of the last good one, in one line.
#[must_use]
pub fn substituted(substituted: &Substituted) -> String {
    format!("{substituted}; once another one works, `lastgood good NUMBER` accepts it")
}

/// That the loader waits without end, in one line.
#[must_use]
pub fn endless_menu(menu: &EndlessMenu) -> String {
    match menu {
        // Its own words say how to clear it.
        EndlessMenu::Variable(one) => one.to_string(),
        EndlessMenu::Conf(_) => format!("{menu}; `lastgood verify --repair` bounds it"),
    }
}

/// That the loader is too old, in one line.
#[must_use]
pub fn too_old(loader: &TooOld) -> String {
    format!(
        "{loader}; give the generation, or this machine, a newer systemd and run `lastgood install`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_entries::generation::Subject;
    use boot_entries::plan::Shortage;
    use systemd_boot_model::{Choice, EntryName};

    fn started(entry: &str, why: Why) -> Stranding {
        Stranding {
            last: EntryName::parse(entry).map(|name| Choice {
                file: entry.to_owned(),
                name,
                is_image: false,
                profile: String::new(),
                id: entry.to_owned(),
                why,
            }),
            ..Stranding::default()
        }
    }

    #[test]
    fn advice_is_about_what_chooses() {
        let ours = "lastgood-3-0123abcd+0-3.conf";
        for (entry, why, word) in [
            (ours, Why::DefaultVariable, "`bootctl set-default ''`"),
            (ours, Why::PreferredVariable, "`bootctl set-preferred ''`"),
            (ours, Why::PreferredLine, "remove `preferred`"),
            (ours, Why::FirstGood, "`lastgood good NUMBER`"),
            (
                "x.conf",
                Why::FirstGood,
                "remove loader/entries/x.conf, or rename it",
            ),
            ("", Why::FirstGood, "verify --repair"),
        ] {
            let advice = come_back(&started(entry, why));
            assert!(advice.contains(word), "{entry} {why}: {advice}");
        }
        let mut image = started(ours, Why::FirstGood);
        if let Some(last) = &mut image.last {
            last.is_image = true;
        }
        assert!(come_back(&image).contains("remove EFI/Linux/lastgood-3"));
    }

    /// Each says what, why, and what to do.
    #[test]
    fn every_refusal_ends_with_what_to_do() {
        let subject = Subject {
            generation: "3".parse().unwrap(),
            toplevel: "/nix/store/a".into(),
        };
        let short = |kept| {
            Refusal::NoSpace(Box::new(Shortage {
                needed: 2,
                free: 1,
                step: "copy a".to_owned(),
                kept: vec![(subject.clone(), kept)],
            }))
        };
        let strands = started("x.conf", Why::DefaultVariable);
        for (one, word) in [
            (Refusal::NoGenerations(Vec::new()), "/nix is mounted"),
            (
                Refusal::NoGenerations(vec![(subject.clone(), "no kernel".to_owned())]),
                "build one anew",
            ),
            (
                Refusal::NoGenerations(vec![(subject.clone(), "no kernel".to_owned()); 4]),
                "`lastgood list-generations`",
            ),
            (
                Refusal::NoSuchGeneration(subject.clone()),
                "`lastgood list-generations`",
            ),
            (
                Refusal::Unbootable(subject.clone(), "no kernel".to_owned()),
                "build it anew",
            ),
            (short(Kept::LastGood), "make $BOOT larger"),
            (short(Kept::SecondProven), "`lastgood bad 3`"),
            (
                Refusal::Strands(Box::new(strands)),
                "`bootctl set-default ''`, and run again",
            ),
            (Refusal::NothingToHandBack, "`lastgood good NUMBER`"),
            (Refusal::NoRankLeft, "remove loader/entries/lastgood-*"),
        ] {
            let line = refusal(&one);
            assert!(line.contains(&one.to_string()), "{line}");
            assert!(line.contains(word), "{line}");
            assert!(
                !one.to_string().contains('`'),
                "the library names no command: {one}"
            );
        }
        assert!(!refusal(&short(Kept::LastGood)).contains("lastgood bad"));
    }
}
