//! What must hold of every state that a power cut can leave.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::end::end;
use super::volume::{Bytes, Files, Volume};
use super::{Case, Goal, calls};
use crate::durable::call::Call;
use crate::step::Step;

/// What a case promises, whenever the power fails.
pub(super) struct Claim<'a> {
    case: &'a Case,
    ground: Files,
    /// The generations that every sequence of failed boots ended in.
    before: BTreeSet<u64>,
    must_reach_proven: bool,
    /// What it leads to when nothing goes wrong.
    done: Files,
}

impl<'a> Claim<'a> {
    pub(super) fn of(case: &'a Case) -> Result<Self, String> {
        let before = end(&case.files)?;
        let mut done = case.files.clone();
        case.run(&mut done);
        Ok(Self {
            case,
            ground: case.ground(),
            must_reach_proven: !before.is_empty() && before.is_subset(&case.proven),
            before,
            done,
        })
    }

    /// Makes `steps` on `volume`, which shows `files`, and cuts the power after every call.
    pub(super) fn cut_each(
        &self,
        volume: &mut Volume,
        files: &Files,
        steps: &[Step],
        seen: &mut BTreeSet<Files>,
    ) -> Result<(), String> {
        for (step, calls) in steps.iter().zip(calls(files, steps)) {
            for (number, call) in calls.iter().enumerate() {
                volume.call(call);
                for found in volume.after_a_cut() {
                    if seen.insert(found.clone()) {
                        self.check(&found)
                            .map_err(|why| self.told(steps, step, number, call, &found, &why))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn check(&self, found: &Files) -> Result<(), String> {
        let case = self.case;
        let ends = end(found)?;
        if self.must_reach_proven && (ends.is_empty() || !ends.is_subset(&case.proven)) {
            return Err(format!("it ends in {ends:?}"));
        }
        if ends.is_empty() && !self.before.is_empty() {
            return Err("nothing boots".to_owned());
        }
        let is_touched = |path: &&PathBuf| found.get(*path) != self.ground.get(*path);
        if let Some(path) = self.ground.keys().find(is_touched) {
            return Err(format!("{} is not as it was", path.display()));
        }
        if let Err(refused) = case.try_plan(found) {
            return Err(format!("the next run is refused: {refused}"));
        }
        let mut next = found.clone();
        case.run(&mut next);
        let again = case.plan(&next).steps;
        // With room that there was not before, one more may be handed back.
        let may_be_more = case.goal == Goal::Uninstall && case.size.is_some();
        let is_same = if may_be_more {
            self.done.keys().all(|path| next.contains_key(path))
        } else {
            next.keys().eq(self.done.keys())
        };
        if again.is_empty() && is_same {
            return Ok(());
        }
        let names: Vec<_> = next.keys().collect();
        Err(format!(
            "the next run leaves {again:?} to do, and {names:?}"
        ))
    }

    fn told(
        &self,
        steps: &[Step],
        step: &Step,
        number: usize,
        call: &Call,
        found: &Files,
        why: &str,
    ) -> String {
        let list = |files: &Files| -> String {
            let line = |(path, bytes): (&PathBuf, &Bytes)| {
                format!("    {} ({} bytes)\n", path.display(), bytes.len())
            };
            files.iter().map(line).collect()
        };
        let steps: Vec<String> = steps.iter().map(Step::to_string).collect();
        format!(
            "{:?}\n  from\n{}  by {steps:#?}\n  cut at {step}, after call {number}, {call:?}:\n{}  {why}",
            self.case.intent,
            list(&self.case.files),
            list(found),
        )
    }
}
