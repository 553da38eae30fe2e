//! What is checked before anything is written: that the machine comes back, and that the places can be written.

use boot_entries::boot_partition::Place;
use boot_entries::name::stem_of;
use boot_entries::plan::{self, Intent, Plan, Proof, Stranding};
use boot_entries::step::Step;
use systemd_boot_model::ReleaseRange;

use super::{Aim, Complaints, Planned, Prepared, Proofs};

use crate::error::Error;
use crate::report::remedy;
use crate::state::Subject;
use crate::view::View;

/// Plans that may be carried out: the only thing that [`super::carry_out()`] takes.
#[derive(Debug)]
#[must_use]
pub struct Ready(Prepared);

impl Ready {
    /// What is to be done.
    #[must_use]
    pub fn prepared(&self) -> &Prepared {
        &self.0
    }

    /// Where it cannot be done.
    pub fn into_complaints(self) -> Complaints {
        self.0.complaints
    }

    pub(super) fn into_prepared(self) -> Prepared {
        self.0
    }
}

impl Prepared {
    /// Checks that what is requested takes nobody's way back, and that the machine starts `subject` next; leaves out
    /// places where it might not, and those that cannot be written. Nothing is changed anywhere before that.
    ///
    /// # Errors
    /// When the machine might not come back in the first place that can be written, or no place is left.
    pub fn prove(mut self, view: &View, subject: &Subject) -> Result<Ready, Error> {
        let all = std::mem::take(&mut self.planned);
        for (number, planned) in all.into_iter().enumerate() {
            match self.is_proven_in(view, &planned, subject) {
                Ok(()) => self.planned.push(planned),
                Err(refusal) if number == 0 => return Err(refusal),
                Err(refusal) => {
                    let Planned {
                        is_first, place, ..
                    } = &planned;
                    self.complaints.in_place(*is_first, place, refusal);
                }
            }
        }
        let mut ready = self.writable()?;
        ready.0.look_ahead(view);
        Ok(ready)
    }

    /// The same where nothing is promised that had to be proven: a repair, an uninstall.
    ///
    /// # Errors
    /// When no place can be written; for an uninstall, when the first one cannot be.
    pub fn without_proof(self) -> Result<Ready, Error> {
        debug_assert!(self.aim != Aim::Request, "a request is proven");
        self.writable()
    }

    fn writable(mut self) -> Result<Ready, Error> {
        for planned in std::mem::take(&mut self.planned) {
            let is_first = planned.is_first;
            match may_be_written(&planned.place, &planned.plan.steps) {
                Ok(()) => self.planned.push(planned),
                Err(error) if self.aim == Aim::Uninstall && is_first => return Err(error),
                Err(error) => self.complaints.in_place(is_first, &planned.place, error),
            }
        }
        self.unless_in_vain().map(Ready)
    }

    fn is_proven_in(&self, view: &View, planned: &Planned, subject: &Subject) -> Result<(), Error> {
        let mut proofs = planned.proofs(view, &self.intent).iter();
        proofs.try_for_each(|proof| {
            let Planned { observed, .. } = planned;
            let nothing = Plan::default();
            let before = || {
                Proof::of(
                    observed,
                    &nothing,
                    &self.intent,
                    proof.release,
                    &view.variables,
                )
            };
            proof.prove(before)?;
            if planned.is_first && self.has_next {
                starts(proof, subject)?;
            }
            Ok(())
        })
    }

    /// Adds to the complaints where a machine does not come back whatever was before. It is told when everything is
    /// done: what is wanted makes it no worse, and may be what mends it.
    pub fn look_ahead(&mut self, view: &View) {
        for planned in &self.planned {
            let mut proofs = planned.proofs(view, &self.intent).iter();
            let stranded = proofs.find_map(|proof| proof.comes_back().err());
            let stranded =
                stranded.map(|stranding| format!("{stranding}; {}", remedy::come_back(stranding)));
            let behind = || {
                let Planned { observed, plan, .. } = planned;
                let lost = view.lost_stand_in(&observed.boot, &plan::after(observed, plan))?;
                Some(lost.to_string())
            };
            let Some(why) = stranded.or_else(behind) else {
                continue;
            };
            let error = Error::Refused(why);
            self.complaints
                .in_place(planned.is_first, &planned.place, error);
        }
    }
}

impl Planned {
    /// How the loader that is there chooses, and the one that is to come: a power cut decides which it is. Where none
    /// can be seen that is told elsewhere.
    fn choosers(&self, view: &View) -> impl Iterator<Item = ReleaseRange> + use<> {
        let [before, after] = self.loader.releases();
        let before = before.or_else(|| view.release(&self.place).ok());
        let before = before.or(after).unwrap_or(ReleaseRange::V252);
        std::iter::once(before).chain(after.filter(|after| *after != before))
    }

    /// What each of these makes of the plan. It is asked more than once, and takes the model a while.
    fn proofs(&self, view: &View, intent: &Intent) -> &[Proof] {
        let proofs = self.proofs.get_or_init(|| {
            let proof = |release| {
                let Self { observed, plan, .. } = self;
                Proof::of(observed, plan, intent, release, &view.variables)
            };
            Proofs {
                variables: view.variables.clone(),
                all: self.choosers(view).map(proof).collect(),
            }
        });
        &proofs.all
    }
}

/// Writing where nothing can be written fails anyway, but with fewer words.
pub(super) fn may_be_written(place: &Place, steps: &[Step]) -> Result<(), Error> {
    if place.is_read_only && !steps.is_empty() {
        let name = place.name.display();
        return Err(Error::Refused(format!(
            "{name} is mounted read-only, and {} changes are to be made: run `mount -o remount,rw {name}`; the kernel does \
             this by itself when the file system is damaged, then `fsck.vfat` comes first",
            steps.len()
        )));
    }
    Ok(())
}

/// Whether what is requested comes true, before anything is done for it. What the firmware was asked for
/// once does not count: that passes.
fn starts(proof: &Proof, subject: &Subject) -> Result<(), Error> {
    let next = proof.starts.clone();
    let stem = stem_of(subject);
    if next.as_ref().is_some_and(|next| next.name.stem == stem) {
        return Ok(());
    }
    let id = &subject.generation;
    let (entry, why) = match &next {
        Some(next) => (next.file.as_str(), next.why.to_string()),
        None => ("nothing", "no entry can be started".to_owned()),
    };
    let what = format!(
        "with generation {id} installed and selected, {entry} would boot next all the same ({why})"
    );
    let instead = Stranding {
        last: next,
        ..Stranding::default()
    };
    Err(Error::Refused(format!(
        "refused: {what}; nothing was changed; {}, and run again",
        remedy::come_back(&instead)
    )))
}
