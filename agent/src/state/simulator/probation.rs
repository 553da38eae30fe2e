//! What happens some time after a verdict, and what must hold then.

use super::super::cause::{Cause, Stage};
use super::super::fault::Fault;
use super::super::{Event, State, Subject};
use super::agent::OUTSIDE;
use super::world::{Machine, Nature, World};

impl World {
    /// Whether what runs is watched now that it is proven.
    pub(super) fn is_watched(&self) -> bool {
        let is_up = matches!(&self.machine, Machine::Up(up) if up.is_judged);
        is_up && (self.state.watched().is_some() || self.state.is_to_be_left())
    }

    /// Some time goes by, or all of it.
    pub(super) fn is_in_probation(&mut self) {
        let Some(up) = self.up() else { return };
        if self.state.is_to_be_left() {
            say!(self, "whoever watches is started again");
            return self.go_back();
        }
        let one = self.generations[up.at].clone();
        let subject = one.subject;
        let own = (one.nature == Nature::Flaps)
            .then(|| Fault::of_unit(&format!("own-{}.service", up.at)));
        // Most of what comes from outside is seen to come from there.
        let outside = self.outside && self.may(30);
        let outside = outside.then(|| Fault::from_key(OUTSIDE));
        let faults: Vec<Fault> = own.into_iter().chain(outside).collect();
        if faults.is_empty() {
            say!(self, "the probation is over");
            self.record(&Event::Steady { subject });
            return self.second_chance();
        }
        let cause = Cause {
            faults,
            ..Cause::of(Stage::Probation, Fault::NoVerdict)
        };
        for event in self.state.found_unsteady(&subject, &cause) {
            self.record(&event);
            if self.may_be_cut() {
                return;
            }
        }
        if self.may(10) {
            say!(self, "whoever watches dies");
        } else if self.state.is_to_be_left() {
            self.go_back();
        } else {
            self.run_the_hook();
        }
    }

    /// Whether what runs flaps, and is rightly not gone back from once more.
    pub(super) fn stays_although_it_flaps(&self) -> bool {
        let running = self.state.running();
        let at = running.and_then(|running| self.generation(running));
        let one = at.map(|at| &self.generations[at]);
        one.is_some_and(|one| {
            one.nature == Nature::Flaps
                && (self.breaches > 0 || self.demoted.contains(&one.subject.toplevel))
        })
    }

    /// Something is gone back from for a breach of its probation.
    pub(super) fn is_demoted(&mut self, subject: &Subject, before: &State) {
        self.told.demoted += 1;
        self.breaches += 1;
        let is_first = self.demoted.insert(subject.toplevel.clone());
        self.expect(is_first, || format!("{subject:?} is demoted twice"));
        let breaches = self.breaches;
        self.expect(breaches <= 1, || {
            format!("{breaches} generations in a row are demoted")
        });
        let mut proven = before.proven.iter();
        let has_another = proven.any(|good| good.subject.toplevel != subject.toplevel);
        self.expect(has_another, || {
            format!("{subject:?} is demoted, and there is nothing to go to")
        });
    }
}
