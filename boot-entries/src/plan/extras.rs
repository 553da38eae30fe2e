//! Extra files: put there before anything that may need them, taken away when nobody asks for them any more.

use std::collections::{BTreeMap, BTreeSet};

use super::{Intent, Step};
use crate::extra::{self, Extra, Extras, RECORD, Record};
use crate::owner::Owner;
use systemd_boot_model::Partition;

/// The steps for extra files, by their places in a plan.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// What interrupted runs left.
    pub(super) garbage: Vec<Step>,
    /// The record of everything that is, or is about to be, ours; then the files.
    pub(super) files: Vec<Step>,
    /// Those that are entries.
    pub(super) entries: Vec<Step>,
    /// What is no longer wanted, and the record without it.
    pub(super) removals: Vec<Step>,
    /// What is left alone, and why.
    pub(super) notes: Vec<String>,
}

/// Paths, and the digests of what we have put there.
type Digests = BTreeMap<String, BTreeSet<String>>;

pub(super) fn steps(there: &Extras, intent: &Intent) -> Steps {
    let garbage = there.leftovers.iter().cloned().map(remove);
    let mut steps = Steps {
        garbage: garbage.collect(),
        ..Steps::default()
    };
    let known = Known::new(there, intent);
    let mut record = known.ours.clone();
    let mut wanted = Digests::new();
    for extra in &intent.extras {
        if let Some(why) = known.left_out(extra, &wanted) {
            steps.notes.push(why);
            continue;
        }
        let digest = extra.content.digest.to_string();
        let digests = BTreeSet::from([digest.clone()]);
        wanted.insert(extra.path.clone(), digests.clone());
        if there.present.get(&extra.path) == Some(&extra.content) {
            record.insert(extra.path.clone(), digests);
            continue;
        }
        // On record before it is there: a file nobody knows of would stay for ever. And so would the one that it
        // replaces.
        record.entry(extra.path.clone()).or_default().insert(digest);
        let list = if extra.is_entry() {
            &mut steps.entries
        } else {
            &mut steps.files
        };
        list.push(copy(extra));
    }
    for path in &intent.extras_left {
        if let Some(digests) = known.ours.get(path) {
            wanted.insert(path.clone(), digests.clone());
        }
    }
    if there.is_damaged {
        steps.notes.push(format!(
            "{RECORD} on $BOOT is damaged: files that were on it, and are not wanted now, stay"
        ));
    }
    if record != known.ours {
        steps.files.insert(0, known.write(&record));
    }
    known.remove_unwanted(&wanted, &mut steps);
    let is_known = !known.ours.is_empty() || there.is_damaged;
    if wanted.is_empty() && known.others.is_empty() && is_known {
        steps.removals.push(remove(RECORD.to_owned()));
    } else if wanted != record {
        steps.removals.push(known.write(&wanted));
    }
    steps
}

/// What is on record.
struct Known<'a> {
    there: &'a Extras,
    owner: Option<&'a Owner>,
    /// By us.
    ours: Digests,
    /// By other systems.
    others: Record,
}

impl<'a> Known<'a> {
    fn new(there: &'a Extras, intent: &'a Intent) -> Self {
        let mut known = Self {
            there,
            owner: intent.ownership.owner.as_ref(),
            ours: BTreeMap::new(),
            others: Record::new(),
        };
        for ((path, owner), digests) in there.record.clone() {
            if intent.ownership.has(owner.as_ref()) {
                known.ours.insert(path, digests);
            } else {
                known.others.insert((path, owner), digests);
            }
        }
        known
    }

    /// Why `extra` is not put on `$BOOT` beside what is `wanted` already. None: it is.
    fn left_out(&self, extra: &Extra, wanted: &Digests) -> Option<String> {
        let path = &extra.path;
        if let Some(why) = self.there.blocked.get(path) {
            return Some(format!("{path} cannot be put on $BOOT: {why}"));
        }
        if let Some(other) = wanted.keys().find(|other| is_inside(other, path)) {
            return Some(format!(
                "{path} is left out: one of it and {other} would have to be a directory"
            ));
        }
        // FAT does not tell large letters from small ones: each run would put one in the place of the other.
        if let Some(other) = wanted.keys().find(|other| is_same(other, path)) {
            return Some(format!(
                "{path} is left out: on $BOOT it would be the same file as {other}"
            ));
        }
        let is_free = self.is_ours(path) && !self.is_other_systems(path);
        let differs = |content| content != &extra.content;
        let is_foreign = !is_free && self.there.present.get(path).is_some_and(differs);
        is_foreign.then(|| format!("{path} on $BOOT is somebody else's file: left alone"))
    }

    /// What is ours and no longer wanted: entries before what they start.
    fn remove_unwanted(&self, wanted: &Digests, steps: &mut Steps) {
        let unwanted = |path: &&String| !wanted.keys().any(|wanted| is_same(wanted, path));
        let mut gone: Vec<&String> = self
            .ours
            .keys()
            .filter(unwanted)
            .filter(|path| !self.is_other_systems(path) && self.there.present.contains_key(*path))
            .collect();
        gone.sort_by_key(|path| !path.starts_with(systemd_boot_model::ENTRIES));
        for path in gone {
            if self.is_ours(path) {
                steps.removals.push(remove(path.clone()));
            } else {
                steps.notes.push(format!(
                    "{path} on $BOOT was changed by somebody else: left alone"
                ));
            }
        }
    }

    /// Whether what lies under `path` is what we put there, or nothing does. An empty file is what a power cut leaves
    /// of one of ours.
    fn is_ours(&self, path: &str) -> bool {
        self.there.present.get(path).is_none_or(|content| {
            let put = self.ours.get(path);
            put.is_some_and(|put| content.size == 0 || put.contains(&content.digest.to_string()))
        })
    }

    /// Whether another system has asked for what lies under `path`, too.
    fn is_other_systems(&self, path: &str) -> bool {
        self.others.keys().any(|(other, _)| is_same(other, path))
    }

    /// Puts `ours` on record, and leaves what others have put there.
    fn write(&self, ours: &Digests) -> Step {
        let mut record = self.others.clone();
        for (path, digests) in ours {
            record.insert((path.clone(), self.owner.cloned()), digests.clone());
        }
        Step::Text {
            text: extra::text_of(&record),
            on: Partition::Boot,
            path: RECORD.to_owned(),
        }
    }
}

/// Whether two paths on `$BOOT` are those of one file.
fn is_same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Whether one of two paths on `$BOOT` is below the other.
fn is_inside(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(str::to_ascii_lowercase);
    let is_below = |path: &str, above: &str| {
        path.strip_prefix(above)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    is_below(&one, &other) || is_below(&other, &one)
}

fn copy(extra: &Extra) -> Step {
    Step::Copy {
        source: extra.source.clone(),
        content: extra.content,
        on: Partition::Boot,
        path: extra.path.clone(),
    }
}

fn remove(path: String) -> Step {
    let on = Partition::Boot;
    Step::Remove { on, path }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extra::text_of;
    use crate::owner::Ownership;
    use crate::payload::Content;

    fn content(text: &str) -> Content {
        Content::of(&mut text.as_bytes()).unwrap()
    }

    fn extra(path: &str, text: &str) -> Extra {
        Extra {
            path: path.to_owned(),
            source: "/nix/store/x".into(),
            content: content(text),
        }
    }

    fn intent(extras: &[Extra]) -> Intent {
        Intent {
            extras: extras.to_vec(),
            ..Intent::default()
        }
    }

    /// Carries `steps` out; every prefix of them is a state a crash may leave.
    fn run(there: &mut Extras, intent: &Intent) -> Vec<String> {
        let steps = super::steps(there, intent);
        let all = [steps.files, steps.entries, steps.removals].concat();
        for step in &all {
            match step {
                Step::Copy { content, path, .. } => {
                    there.present.insert(path.clone(), *content);
                }
                Step::Text { text, .. } => {
                    (there.record, there.is_damaged) = crate::extra::read(text);
                }
                Step::Remove { path, .. } if path == RECORD => {
                    there.record.clear();
                    there.is_damaged = false;
                }
                Step::Remove { path, .. } => {
                    there.present.remove(path);
                }
            }
            for (path, content) in &there.present {
                let is_recorded = there.record.keys().any(|(known, _)| known == path);
                let known = is_recorded || *content == self::content("theirs");
                assert!(known, "{path} is on no record");
            }
        }
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn they_come_change_and_go() {
        let mut there = Extras::default();
        let tool = extra("EFI/tool.efi", "one");
        let entry = extra("loader/entries/tool.conf", "entry");
        let done = run(&mut there, &intent(&[entry.clone(), tool.clone()]));
        assert_eq!(done.len(), 3, "{done:?}");
        assert!(
            done[1].contains("tool.efi") && done[2].contains("tool.conf"),
            "{done:?}"
        );
        assert_eq!(run(&mut there, &intent(&[entry, tool])), [""; 0]);
        run(&mut there, &intent(&[extra("EFI/tool.efi", "two")]));
        assert_eq!(
            there.present.values().collect::<Vec<_>>(),
            [&content("two")]
        );
        run(&mut there, &intent(&[]));
        assert_eq!(there, Extras::default());
    }

    /// The directory is anybody's: nothing but the names of our own is looked for.
    #[test]
    fn what_an_interrupted_run_left_beside_them_goes_first() {
        let left = "EFI/tools/.lastgood-tool.efi.part";
        assert_eq!(crate::extra::leftover_of("EFI/tools/tool.efi"), left);
        let there = Extras {
            leftovers: [left.to_owned()].into(),
            ..Extras::default()
        };
        let steps = super::steps(&there, &intent(&[extra("EFI/tools/tool.efi", "one")]));
        assert_eq!(steps.garbage, [super::remove(left.to_owned())]);
    }

    /// What FAT may have of a record that was being replaced.
    #[test]
    fn a_torn_record_is_a_damaged_one() {
        let tool = extra("EFI/tool.efi", "one");
        let digest = tool.content.digest.to_string();
        let text = text_of(&Record::from([((tool.path, None), [digest].into())]));
        assert!(!extra::read(&text).1);
        for length in 0..text.len() {
            assert!(extra::read(&text[..length]).1, "{length}");
        }
        assert!(extra::read(&"\0".repeat(text.len())).1);
    }

    /// A power cut in the middle of a change leaves the old one, the new one, or an empty file.
    #[test]
    fn a_change_that_was_cut_short_is_nobody_elses() {
        let new = extra("EFI/tool.efi", "two");
        for left in ["one", "two", ""] {
            let mut there = Extras::default();
            run(&mut there, &intent(&[extra("EFI/tool.efi", "one")]));
            let steps = super::steps(&there, &intent(std::slice::from_ref(&new)));
            let [Step::Text { text, .. }, Step::Copy { .. }] = &steps.files[..] else {
                panic!("{:?}", steps.files);
            };
            (there.record, there.is_damaged) = extra::read(text);
            there.present.insert(new.path.clone(), content(left));
            for request in [intent(std::slice::from_ref(&new)), intent(&[])] {
                let mut there = there.clone();
                assert_eq!(super::steps(&there, &request).notes, [""; 0], "{left}");
                run(&mut there, &request);
                assert_eq!(there.present.len(), request.extras.len());
                assert_eq!(run(&mut there, &request), [""; 0], "{left}");
            }
        }
    }

    #[test]
    fn two_names_of_one_file() {
        let request = |paths: [&str; 2]| intent(&paths.map(|path| extra(path, path)));
        let mut there = Extras::default();
        let both = request(["EFI/tool.efi", "EFI/TOOL.efi"]);
        assert_eq!(steps(&there, &both).notes.len(), 1);
        run(&mut there, &both);
        assert_eq!(there.present.len(), 1);
        assert_eq!(run(&mut there, &both), [""; 0]);
        // The same file by another name: what FAT shows under that is what lies under the old one.
        let content = there.present["EFI/tool.efi"];
        there.present.insert("EFI/TOOL.efi".to_owned(), content);
        let renamed = Extra {
            content,
            ..extra("EFI/TOOL.efi", "")
        };
        let renamed = steps(&there, &intent(&[renamed]));
        let [Step::Text { text, .. }] = &renamed.removals[..] else {
            panic!("{:?}", renamed.removals);
        };
        assert!(text.ends_with(" EFI/TOOL.efi\n") && text.lines().count() == 1);
    }

    #[test]
    fn a_record_that_makes_no_sense_is_written_anew() {
        for request in [intent(&[]), intent(&[extra("EFI/tool.efi", "one")])] {
            let mut there = Extras {
                is_damaged: true,
                present: BTreeMap::from([("EFI/tool.efi".to_owned(), content("one"))]),
                ..Extras::default()
            };
            assert_eq!(steps(&there, &request).notes.len(), 1);
            there.present.retain(|_, _| !request.extras.is_empty());
            run(&mut there, &request);
            assert!(!there.is_damaged && there.record.len() == request.extras.len());
            assert_eq!(steps(&there, &request).notes, [""; 0]);
            assert_eq!(run(&mut there, &request), [""; 0]);
        }
    }

    #[test]
    fn what_cannot_be_put_there_is_left_out() {
        let both = intent(&[extra("Tools/a.efi", "one"), extra("tools", "two")]);
        let mut there = Extras::default();
        assert_eq!(steps(&there, &both).notes.len(), 1);
        run(&mut there, &both);
        assert_eq!(there.present.len(), 1);
        let mut there = Extras {
            blocked: BTreeMap::from([("tools".to_owned(), "is a directory".to_owned())]),
            ..Extras::default()
        };
        let request = intent(&[extra("tools", "two")]);
        assert_eq!(steps(&there, &request).notes.len(), 1);
        assert_eq!(run(&mut there, &request), [""; 0]);
    }

    /// Another system's closure asks for a file of its own, and for one that ours asks for as well.
    #[test]
    fn what_another_system_has_put_there_stays() {
        let as_system = |owner: &str, extras: &[Extra]| Intent {
            ownership: Ownership {
                owner: owner.parse().ok(),
                marks_all: true,
            },
            ..intent(extras)
        };
        let [tool, both] = ["EFI/tool.efi", "EFI/both.efi"].map(|path| extra(path, "x"));
        let mut there = Extras::default();
        run(&mut there, &as_system("00000001", &[tool, both.clone()]));
        let before = there.clone();
        assert_eq!(run(&mut there, &as_system("00000002", &[])), [""; 0]);
        run(
            &mut there,
            &as_system("00000002", &[both, extra("EFI/2.efi", "x")]),
        );
        assert_eq!(there.present.len(), 3);
        let other = as_system("00000002", &[extra("EFI/both.efi", "changed")]);
        assert_eq!(steps(&there, &other).notes.len(), 1);
        run(&mut there, &other);
        run(&mut there, &as_system("00000002", &[]));
        assert_eq!(there, before);
        // Nor does a system take for its own what was written before there were marks, if it has only written with one.
        let unmarked = |((path, _), digest)| ((path, None), digest);
        there.record = there.record.into_iter().map(unmarked).collect();
        assert_eq!(run(&mut there, &as_system("00000002", &[])), [""; 0]);
        run(&mut there, &intent(&[]));
        assert_eq!(there, Extras::default());
    }

    #[test]
    fn what_is_somebody_elses_stays() {
        let theirs = || ("EFI/tool.efi".to_owned(), content("theirs"));
        let mut there = Extras {
            present: BTreeMap::from([theirs()]),
            ..Extras::default()
        };
        let request = intent(&[extra("EFI/tool.efi", "ours")]);
        assert_eq!(steps(&there, &request).notes.len(), 1);
        assert_eq!(run(&mut there, &request), [""; 0]);
        // Ours once, changed since.
        let digests = BTreeSet::from(["0123".to_owned()]);
        there
            .record
            .insert(("EFI/tool.efi".to_owned(), None), digests);
        assert_eq!(steps(&there, &intent(&[])).notes.len(), 1);
        run(&mut there, &intent(&[]));
        assert_eq!(there.present, BTreeMap::from([theirs()]));
        assert!(there.record.is_empty());
    }
}
