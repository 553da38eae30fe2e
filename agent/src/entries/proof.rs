//! What the boots to come will be, once what is prepared is carried out.

use boot_entries::boot_partition::Place;
use boot_entries::entry::EntryFile;
use boot_entries::loader::Band;
use boot_entries::name::stem_of;
use boot_entries::plan::{Intent, Outlook, Plan, Stranding};

use super::{Planned, Prepared};
use crate::error::Error;
use crate::session::Session;
use crate::state::Subject;
use crate::store::digests;
use crate::view::flaw_of;

impl Planned {
    /// How the loader that is there chooses, and the one that is to come: a power cut decides which it is. Where none can
    /// be seen that is told elsewhere.
    fn choosers(&self, session: &Session) -> impl Iterator<Item = Band> + use<> {
        let [before, after] = self.loader.bands();
        let before = before.or_else(|| session.band(&self.place).ok());
        let before = before.or(after).unwrap_or(Band::V252);
        std::iter::once(before).chain(after.filter(|after| *after != before))
    }

    /// What each of these makes of the plan. It is asked more than once, and takes the model a while.
    fn outlooks(&self, session: &Session, intent: &Intent) -> &[Outlook] {
        self.outlooks.get_or_init(|| {
            let outlook = |band| {
                let Self { observed, plan, .. } = self;
                Outlook::of(observed, plan, intent, band, &session.variables)
            };
            self.choosers(session).map(outlook).collect()
        })
    }
}

impl Session {
    /// Checks that what is wished for takes nobody's way back, and that the machine starts `subject` next. A mirror where it might
    /// not is left as it is.
    ///
    /// # Errors
    /// When it might not in the first place that can be written.
    pub fn prove(&self, prepared: &mut Prepared, subject: &Subject) -> Result<(), Error> {
        let all = std::mem::take(&mut prepared.planned);
        for (number, planned) in all.into_iter().enumerate() {
            let mut outlooks = planned.outlooks(self, &prepared.intent).iter();
            let proved: Result<(), Error> = outlooks.try_for_each(|outlook| {
                let Planned { observed, .. } = &planned;
                let (intent, nothing) = (&prepared.intent, Plan::default());
                let before =
                    || Outlook::of(observed, &nothing, intent, outlook.band, &self.variables);
                outlook.prove(before)?;
                if planned.is_first && prepared.has_next {
                    starts(outlook, subject)?;
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
            let mut outlooks = planned.outlooks(self, &prepared.intent).iter();
            let stranded = outlooks.find_map(|outlook| outlook.comes_back().err());
            let Some(stranding) = stranded else { continue };
            let error = Error::Refused(format!("{stranding}; {}", stranding.advice()));
            let complaints = &mut prepared.complaints;
            complaints.in_place(planned.is_first, &planned.place, error);
        }
    }

    /// Whether all of our payload that `file` in `place` needs is there, to the byte.
    pub(super) fn is_whole(&self, place: &Place, file: &EntryFile) -> bool {
        flaw_of(
            place,
            file,
            &mut digests::load(&self.root, self.listed.len()),
        )
        .is_none()
    }
}

/// Whether the wish that is to be granted comes true, before anything is done for it. What the firmware was asked for
/// once does not count: that passes.
fn starts(outlook: &Outlook, subject: &Subject) -> Result<(), Error> {
    let next = outlook.starts.clone();
    let stem = stem_of(subject);
    if next.as_ref().is_some_and(|next| next.name.stem == stem) {
        return Ok(());
    }
    let id = &subject.generation;
    let (entry, why) = match &next {
        Some(next) => (next.file.as_str(), next.why),
        None => ("nothing", "no entry can be started"),
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
        instead.advice()
    )))
}
