//! What the boots to come will be, once what is prepared is carried out.

use boot_entries::boot_partition::Place;
use boot_entries::entry::EntryFile;
use boot_entries::name::stem_of;
use boot_entries::plan::{Intent, Plan, Proof, Stranding};
use systemd_boot_model::ReleaseRange;

use super::Session;
use super::entries::{Planned, Prepared};
use crate::digests_file;
use crate::error::Error;
use crate::machine::Subject;
use crate::report_advise;
use crate::view::damage_of;

impl Planned {
    /// How the loader that is there chooses, and the one that is to come: a power cut decides which it is. Where none can
    /// be seen that is told elsewhere.
    fn choosers(&self, session: &Session) -> impl Iterator<Item = ReleaseRange> + use<> {
        let [before, after] = self.loader.releases();
        let before = before.or_else(|| session.release(&self.place).ok());
        let before = before.or(after).unwrap_or(ReleaseRange::V252);
        std::iter::once(before).chain(after.filter(|after| *after != before))
    }

    /// What each of these makes of the plan. It is asked more than once, and takes the model a while.
    fn proofs(&self, session: &Session, intent: &Intent) -> &[Proof] {
        self.proofs.get_or_init(|| {
            let proof = |release| {
                let Self { observed, plan, .. } = self;
                Proof::of(observed, plan, intent, release, &session.variables)
            };
            self.choosers(session).map(proof).collect()
        })
    }
}

impl Session {
    /// Checks that what is requested takes nobody's way back, and that the machine starts `subject` next. A mirror where it might
    /// not is left as it is.
    ///
    /// # Errors
    /// When it might not in the first place that can be written.
    pub fn prove(&self, prepared: &mut Prepared, subject: &Subject) -> Result<(), Error> {
        let all = std::mem::take(&mut prepared.planned);
        for (number, planned) in all.into_iter().enumerate() {
            let mut proofs = planned.proofs(self, &prepared.intent).iter();
            let proved: Result<(), Error> = proofs.try_for_each(|proof| {
                let Planned { observed, .. } = &planned;
                let (intent, nothing) = (&prepared.intent, Plan::default());
                let before =
                    || Proof::of(observed, &nothing, intent, proof.release, &self.variables);
                proof.prove(before)?;
                if planned.is_first && prepared.has_next {
                    starts(proof, subject)?;
                }
                Ok(())
            });
            match proved {
                Ok(()) => prepared.planned.push(planned),
                Err(refusal) if number == 0 => return Err(refusal),
                Err(refusal) => {
                    let complaints = &mut prepared.complaints;
                    complaints.in_place(planned.is_first, &planned.place, refusal);
                }
            }
        }
        Ok(())
    }

    /// Adds to the complaints of `prepared` where a machine does not come back whatever was before. It is told when
    /// everything is done: what is wanted makes it no worse, and may be what mends it.
    pub fn look_ahead(&self, prepared: &mut Prepared) {
        for planned in &prepared.planned {
            let mut proofs = planned.proofs(self, &prepared.intent).iter();
            let stranded = proofs.find_map(|proof| proof.comes_back().err());
            let Some(stranding) = stranded else { continue };
            let error = Error::Refused(format!(
                "{stranding}; {}",
                report_advise::come_back(stranding)
            ));
            let complaints = &mut prepared.complaints;
            complaints.in_place(planned.is_first, &planned.place, error);
        }
    }

    /// Whether all of our payload that `file` in `place` needs is there, to the byte.
    pub(super) fn is_whole(&self, place: &Place, file: &EntryFile) -> bool {
        damage_of(
            place,
            file,
            &mut digests_file::load(&self.root, self.listed.len()),
        )
        .is_none()
    }
}

/// Whether the request that is to be granted comes true, before anything is done for it. What the firmware was asked for
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
        report_advise::come_back(&instead)
    )))
}
