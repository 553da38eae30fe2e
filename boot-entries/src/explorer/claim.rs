//! What must hold of every state that a power cut can leave.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::calls::{calls, make_all};
use super::end::{end, next};
use super::place::{Held, Volumes};
use super::volume::Files;
use super::{Case, Goal, observe, systemd_boot};
use crate::durable::call::Call;
use crate::name::stem_of;
use crate::plan::Standing;
use crate::plan::tests::id;
use crate::step::Step;

/// What a case promises, whenever the power fails.
pub(super) struct Claim<'a> {
    case: &'a Case,
    ground: Files,
    /// The generations that every sequence of failed boots ended in.
    before: BTreeSet<u64>,
    must_reach_proven: bool,
    /// What it leads to when nothing goes wrong.
    done: Held,
    /// Whether a run has nothing to do then.
    is_at_rest: bool,
}

impl<'a> Claim<'a> {
    pub(super) fn of(case: &'a Case) -> Result<Self, String> {
        let before = end(&case.held)?;
        let mut done = case.held.clone();
        case.run(&mut done);
        let last_good = case.intent.last_good.iter();
        let last_good: BTreeSet<u64> = last_good.map(|id| id.generation.number()).collect();
        if case.goal == Goal::Verdict && end(&done)? != last_good {
            return Err(format!("a verdict leads to {:?}", end(&done)?));
        }
        Ok(Self {
            case,
            ground: case.ground(),
            must_reach_proven: !before.is_empty() && before.is_subset(&case.proven),
            before,
            is_at_rest: case.plan(&done).is_empty(),
            done,
        })
    }

    /// Makes `steps` on `volumes`, which show `held`, and cuts the power after every call.
    pub(super) fn cut_each(
        &self,
        volumes: &mut Volumes,
        held: &Held,
        steps: &[Step],
        seen: &mut BTreeSet<Held>,
    ) -> Result<(), String> {
        for (step, calls) in steps.iter().zip(calls(held, steps)) {
            for (number, (on, call)) in calls.iter().enumerate() {
                volumes.call(*on, call);
                for found in volumes.after_a_cut() {
                    if seen.insert(found.clone()) {
                        self.check(&found)
                            .map_err(|why| self.told(steps, step, number, call, &found, &why))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn check(&self, found: &Held) -> Result<(), String> {
        self.check_state(found)?;
        self.check_next(found)
    }

    /// The same of what a rename may have lost: the next run writes it anew, and how often it was tried is not known any more.
    pub(super) fn check_renamed(&self, found: &Held) -> Result<(), String> {
        self.check_state(found)?;
        let mut next = found.clone();
        let steps = self.case.try_plan(found).map_err(|why| why.to_string())?;
        make_all(&mut next, &steps);
        if end(&next)? != end(&self.done)? {
            return Err("the next run leads elsewhere".to_owned());
        }
        Ok(())
    }

    fn check_state(&self, found: &Held) -> Result<(), String> {
        let case = self.case;
        let ends = end(found)?;
        if self.must_reach_proven && (ends.is_empty() || !ends.is_subset(&case.proven)) {
            return Err(format!("it ends in {ends:?}"));
        }
        if ends.is_empty() && !self.before.is_empty() {
            return Err("nothing boots".to_owned());
        }
        let is_touched = |path: &&PathBuf| found.boot.get(*path) != self.ground.get(*path);
        if let Some(path) = self.ground.keys().find(is_touched) {
            return Err(format!("{} is not as it was", path.display()));
        }
        if case.loader.is_some() && !systemd_boot::starts(found) {
            return Err("the firmware finds no loader".to_owned());
        }
        case.check_extras(&self.done, found)?;
        if case.goal == Goal::Verdict {
            self.check_verdict(found)?;
        }
        Ok(())
    }

    /// The verdict alone, which must come through whatever becomes of the rest, makes the machine end in the last good
    /// one: unless that is the one whose entry the cut has taken, which comes again with the rest.
    fn check_verdict(&self, found: &Held) -> Result<(), String> {
        let case = self.case;
        let mut judged = found.clone();
        let steps = case.verdict(found).map_err(|why| why.to_string())?;
        make_all(&mut judged, &steps);
        let last_good = case.intent.last_good.iter();
        let last_good: BTreeSet<u64> = last_good.map(|id| id.generation.number()).collect();
        let observed = observe(found).0.boot;
        let is_there = case.intent.last_good.iter().map(stem_of).any(|stem| {
            let mut files = observed.files_of(&stem);
            files.any(|(_, file)| file.has_program)
        });
        let ends = end(&judged)?;
        if is_there && ends != last_good {
            return Err(format!("after the verdict it ends in {ends:?}"));
        }
        // Nor is it tried once more on the way, on whatever partition.
        let is_rejected = |number: &u64| {
            let standing = case.intent.standings.get(&id(*number));
            standing == Some(&Standing::Rejected)
        };
        if is_there && next(&judged).iter().any(is_rejected) {
            return Err("what is rejected boots next".to_owned());
        }
        match case.verdict(&judged) {
            Ok(steps) if steps.is_empty() => Ok(()),
            more => Err(format!("the verdict is not written at once: {more:?}")),
        }
    }

    /// The next run finishes the work.
    fn check_next(&self, found: &Held) -> Result<(), String> {
        let case = self.case;
        let steps = match case.try_plan(found) {
            Err(refused) => return Err(format!("the next run is refused: {refused}")),
            Ok(steps) => steps,
        };
        let mut next = found.clone();
        make_all(&mut next, &steps);
        // Nearly always, and then it is known what the one after that does.
        if next == self.done && self.is_at_rest {
            return Ok(());
        }
        let again = case.plan(&next);
        let (done, left) = (self.done.paths(), next.paths());
        // With room that there was not before, one more may be handed back.
        let may_be_more = case.goal == Goal::Uninstall && case.size.is_some();
        let is_same = done == left || may_be_more && done.is_subset(&left);
        if case.goal == Goal::Verdict && end(&next)? != end(&self.done)? {
            return Err("the next run leads elsewhere".to_owned());
        }
        if again.is_empty() && (is_same || case.is_told(found)) {
            return Ok(());
        }
        Err(format!(
            "the next run leaves {again:?} to do, and {left:#?}"
        ))
    }

    fn told(
        &self,
        steps: &[Step],
        step: &Step,
        number: usize,
        call: &Call,
        found: &Held,
        why: &str,
    ) -> String {
        let list = |held: &Held| -> String {
            let lines = held.all().map(|(on, path, bytes)| {
                format!("    {on:?} {} ({} bytes)\n", path.display(), bytes.len())
            });
            lines.collect()
        };
        let steps: Vec<String> = steps.iter().map(Step::to_string).collect();
        format!(
            "{:?}: {:?}\n  from\n{}  by {steps:#?}\n  cut at {step}, after call {number}, {call:?}:\n{}  {why}",
            self.case.goal,
            self.case.intent,
            list(&self.case.held),
            list(found),
        )
    }
}
