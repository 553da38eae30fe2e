//! Who started what runs: the loader, or somebody who put another kernel in its place (kexec). Pure.
//!
//! What runs is what the kernel's command line says. The loader's variables in the firmware stay what they were over a
//! kexec, and some over an entry that could not be started. So what they name counts only if it starts what runs
//! (invariant A12).

use std::path::{Path, PathBuf};

use boot_entries::name::{OurName as _, stem_of};
use boot_entries::{GenerationId, Subject, nixpkgs};
use systemd_boot_model::{Entry, EntryName};

/// Who started what runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartedBy {
    /// The loader: the entry that it names starts what runs.
    Loader,
    /// Not the loader: the entry that it names starts something else.
    NotTheLoader {
        /// What it names.
        named: String,
    },
    /// Nobody can tell: the loader names nothing, or something of which it is not known any more what it started.
    Unknown,
}

/// What an entry starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Starts {
    /// This closure.
    Closure(PathBuf),
    /// A kernel, and no closure.
    NoClosure,
    /// That is not in its text: an image brings a command line of its own.
    Unknown,
}

impl Starts {
    /// What `entry` starts.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        match nixpkgs::init_of(entry) {
            Some(closure) => Self::Closure(closure),
            None if entry.linux.is_none() || entry.options.contains("init=") => Self::Unknown,
            None => Self::NoClosure,
        }
    }
}

/// Who started the closure `running`, if the loader names the entry file `named`.
///
/// `starts` is what the entries of that name start, counters aside: they may have moved since. Of an entry that is
/// gone, or cannot be read, a name of ours still tells the closure: `known` are the generations that it is compared
/// with. Of any other that is gone nothing is known.
#[must_use]
pub fn started_by(
    running: &Path,
    named: Option<&str>,
    starts: &[Starts],
    known: &[Subject],
) -> StartedBy {
    let Some(named) = named else {
        return StartedBy::Unknown;
    };
    if starts
        .iter()
        .any(|one| matches!(one, Starts::Closure(closure) if closure == running))
    {
        return StartedBy::Loader;
    }
    let name = EntryName::parse(named).filter(EntryName::is_ours);
    match name.and_then(|name| names(&name, running, known)) {
        Some(true) => StartedBy::Loader,
        None if starts.is_empty() || starts.contains(&Starts::Unknown) => StartedBy::Unknown,
        Some(false) | None => StartedBy::NotTheLoader {
            named: named.to_owned(),
        },
    }
}

/// Whether a name of ours is that of a generation with the closure `running`. None: it is none of a known generation's,
/// and with which of them to compare it is not known either.
fn names(name: &EntryName, running: &Path, known: &[Subject]) -> Option<bool> {
    let number = name.generation_number()?;
    // A number that its profile does not list any more.
    let unlisted = Subject {
        generation: GenerationId::system(number),
        toplevel: running.to_owned(),
    };
    let numbered = known.iter().filter(|one| one.generation.number() == number);
    let found = numbered
        .chain([&unlisted])
        .find(|one| stem_of(one) == name.stem);
    match found {
        Some(found) => Some(found.toplevel == running),
        None => known
            .iter()
            .any(|one| one.toplevel == running)
            .then_some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use StartedBy::{Loader, Unknown};

    const RUNNING: &str = "/nix/store/3";

    fn subject(id: &str, toplevel: &str) -> Subject {
        Subject {
            generation: id.parse().unwrap(),
            toplevel: toplevel.into(),
        }
    }

    fn known() -> Vec<Subject> {
        vec![
            subject("2", "/nix/store/2"),
            subject("3", RUNNING),
            subject("web:3", "/nix/store/2"),
            subject("3/x", "/nix/store/x"),
        ]
    }

    fn file(id: &str, toplevel: &str) -> String {
        stem_of(&subject(id, toplevel)) + "+2-1.conf"
    }

    fn asked(named: &str, starts: &[Starts], known: &[Subject]) -> StartedBy {
        let named = Some(named);
        match started_by(Path::new(RUNNING), named, starts, known) {
            StartedBy::NotTheLoader { named: told } => {
                assert_eq!(Some(told.as_str()), named);
                not_the_loader()
            }
            other => other,
        }
    }

    fn not_the_loader() -> StartedBy {
        StartedBy::NotTheLoader {
            named: String::new(),
        }
    }

    fn closure(path: &str) -> Starts {
        Starts::Closure(path.into())
    }

    #[test]
    fn what_the_entry_starts_decides() {
        let theirs = "nixos-generation-9.conf";
        assert_eq!(asked(theirs, &[closure(RUNNING)], &known()), Loader);
        assert_eq!(
            asked(theirs, &[closure("/nix/store/2")], &known()),
            not_the_loader()
        );
        assert_eq!(
            asked("debian.conf", &[Starts::NoClosure], &known()),
            not_the_loader()
        );
        assert_eq!(asked("tool.conf", &[Starts::Unknown], &known()), Unknown);
        // Of two partitions' entries of one name nobody knows which it was.
        let both = [Starts::NoClosure, closure(RUNNING)];
        assert_eq!(asked("debian.conf", &both, &[]), Loader);
        let both = [Starts::NoClosure, Starts::Unknown];
        assert_eq!(asked("debian.conf", &both, &[]), Unknown);
    }

    #[test]
    fn a_name_of_ours_tells_what_an_entry_that_is_gone_started() {
        for (id, toplevel, is_running) in [
            ("3", RUNNING, true),
            // Deleted from the profile since.
            ("1", RUNNING, true),
            ("2", "/nix/store/2", false),
            ("web:3", "/nix/store/2", false),
            ("3/x", "/nix/store/x", false),
            ("7", "/nix/store/7", false),
        ] {
            let wanted = if is_running { Loader } else { not_the_loader() };
            assert_eq!(asked(&file(id, toplevel), &[], &known()), wanted, "{id}");
        }
    }

    #[test]
    fn what_nobody_can_tell_is_unknown() {
        for (named, known) in [
            ("nixos-generation-2.conf", known()),
            ("lastgood-before-0123abcd.conf", known()),
            ("tool-1.efi", known()),
            ("auto-efi-default", known()),
            ("", known()),
            (file("7", "/nix/store/7").as_str(), Vec::new()),
            (file("7", "/nix/store/7").as_str(), vec![subject("2", "/2")]),
        ] {
            assert_eq!(asked(named, &[], &known), Unknown, "{named}");
        }
        let nothing = started_by(Path::new(RUNNING), None, &[], &known());
        assert_eq!(nothing, Unknown, "no variable: a container, no EFI");
    }

    #[test]
    fn of_an_image_the_text_says_nothing() {
        for (text, starts) in [
            (
                "linux /l\noptions quiet init=/nix/store/3/init\n",
                closure(RUNNING),
            ),
            ("linux /l\noptions root=/dev/sda\n", Starts::NoClosure),
            (
                "linux /l\noptions init=/a/init init=/b/init\n",
                Starts::Unknown,
            ),
            ("efi /EFI/tool.efi\n", Starts::Unknown),
            ("title nothing\n", Starts::Unknown),
        ] {
            assert_eq!(Starts::of(&Entry::parse(text)), starts, "{text}");
        }
    }
}
